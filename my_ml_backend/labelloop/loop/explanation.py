"""Says what the next sweep of a project will find, and what follows; nothing is noted, enqueued or changed for it."""

import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice

from labelloop.loop.comparison import ComparedTask
from labelloop.loop.hub import Hub
from labelloop.loop.outlook import decide, situation
from labelloop.loop.project_endpoint import learns
from labelloop.loop.project_registry import site_of
from labelloop.loop.recent_changes import Known, RecentChanges
from labelloop.loop.retrain_policy import Pending
from labelloop.types import ProjectKey

_SHOWN = 20
"""Tasks that are named."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the next sweep will find. ``at`` and other moments are Unix seconds, ``since`` is the site's own.

    ``then`` and ``now`` are the counters of the last sweep that added up and of this moment; ``compared`` tasks changed
    since and were compared with ``manifest`` (a hash, empty where nothing was learned yet), ``changed`` of them by why,
    the ``first`` of them by task. ``noted`` labels are noted as changed already, ``expected`` after the sweep. Where it
    does not ``add_up``, counters tell of what was not found. Everything is scanned ``scan_at``, for ``scan_why``.
    """

    at: float
    then: dict[str, int]
    now: dict[str, int]
    since: str
    manifest: str
    compared: int
    changed: dict[str, int]
    first: dict[int, str]
    noted: int
    expected: int
    adds_up: bool
    look_at: float
    scan_at: float
    scan_why: str
    swept: float | None
    next: str


def explain(hub: Hub, project: ProjectKey) -> Explanation:
    """Look at one project as a sweep does. Raises LabelLoopError."""
    now, found, known = time.time(), site_of(hub, project.id).overview(), Known.of(hub, project)
    state, look = hub.state(project), RecentChanges(hub, project, known, found, now)
    policy, pending = state.policy(), state.changes.pending()
    tasks = list((look.tasks() if learns(hub, project) else None) or ())
    changed = {one.task: one.why for one in tasks if one.why}
    expected = _expected(hub, project, tasks, changed, now, drops=look.adds_up and bool(look.since))
    after = Pending(expected, pending.first or now, now if changed else pending.last) if expected else Pending()
    stands = replace(situation(hub, project, policy, now), pending=after)
    scan_at, scan_why = known.scan_due(found, pending.changed, hub.settings.scan_seconds, now)
    counters, before = found.counters, known.seen
    return Explanation(
        at=now,
        then={"tasks": before.tasks, "annotations": before.annotations, "skipped": before.skipped},
        now={"tasks": counters.tasks, "annotations": counters.annotations, "skipped": counters.skipped},
        since=look.since,
        manifest=known.manifest,
        compared=len(tasks),
        changed=dict(Counter(changed.values())),
        first=dict(islice(sorted(changed.items()), _SHOWN)),
        noted=pending.changed,
        expected=expected,
        adds_up=look.adds_up,
        look_at=max(now, known.look_due(found, pending.changed, hub.settings)),
        scan_at=max(now, scan_at),
        scan_why=scan_why,
        swept=state.swept(),
        next=decide(policy, stands).told(now),
    )


def _expected(
    hub: Hub, project: ProjectKey, tasks: list[ComparedTask], changed: dict[int, str], now: float, *, drops: bool
) -> int:
    """Count what will be noted after the look: what is noted of its tasks goes, what it found comes."""
    gone = {name for one in tasks for name in (f"t{one.task}", *(f"a{number}" for number in one.annotations))}
    noted = {name for name, _ in hub.state(project).changes.noted(now)}
    kept = {name for name in noted - gone if name.startswith("t") or not drops}
    return len(kept) + len(changed)
