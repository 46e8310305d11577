"""Finds what no webhook told: compares Label Studio with what the last manifest saw, cheaply first.

Counters are read at every sweep. Annotations are scanned only when the counters say that something was missed, at most
every ``LABELLOOP_SCAN_SECONDS``, and once in a long while anyway, for an edited label moves no counter.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from labelloop.data.manifest import truth_by_task
from labelloop.data.site import Counters, Overview
from labelloop.data.split import Tally, lacking_labels
from labelloop.errors import CloudAway, Damaged, DeployError, LabelLoopError, NoSuchProject, NotFound
from labelloop.kinds.base import find
from labelloop.kinds.majority import Truth
from labelloop.loop.consider import consider
from labelloop.loop.deploy import look
from labelloop.loop.drift import look_for_drift
from labelloop.loop.hub import Hub
from labelloop.loop.metering import look_for_agreement
from labelloop.loop.mirror import reconcile
from labelloop.loop.notify import tell_news
from labelloop.loop.project_endpoint import learn_unknown, learns
from labelloop.loop.project_labels import labeling_of, manifest_file
from labelloop.loop.project_registry import (
    confirmed_project,
    keep_project,
    known_projects,
    lose_project,
    site_of,
    why_gone,
)
from labelloop.loop.rollback import ask_for_comparison
from labelloop.loop.serving import announced_version, keep_served
from labelloop.loop.state import Seen
from labelloop.loop.webhooks import tend_webhook
from labelloop.models.runs import manifest_path
from labelloop.types import FIRST_LABELS, NO_VERSION, LeftOut, ProjectKey

_log = logging.getLogger(__name__)

_LONG_WHILE = 12
"""A scan is made after this many ``LABELLOOP_SCAN_SECONDS`` even when no counter has moved."""


_OF_SETTINGS = {
    "registry": "registry",
    "events": "events",
    "storages": "events",
    "metrics": "metrics",
    "notify": "notify_url",
}
"""Notes of what goes wrong with what a setting names: without it, nobody else takes them away."""


def sweep(hub: Hub, projects: Iterable[ProjectKey] | None = None, *, scan_now: bool = False) -> dict[str, str]:
    """Look at these projects, or at all, and say what was done; one project's failure does not stop the others."""
    done: dict[str, str] = {}
    for project in known_projects(hub) if projects is None else projects:
        try:
            gone = why_gone(hub, project) if projects is None else ""
            done[str(project)] = f"left alone: {gone}" if gone else sweep_project(hub, project, scan_now=scan_now)
        except NoSuchProject as error:
            lose_project(hub, project, error)
            done[str(project)] = f"failed: {error}"
        except LabelLoopError as error:
            _log.warning("sweep of %s: %s", project, error)
            done[str(project)] = _failed(hub, project, str(error))
        except Exception as error:  # noqa: BLE001 - border: the other projects are to be looked at
            _log.exception("sweep of %s", project)
            done[str(project)] = _failed(hub, project, f"{type(error).__name__}; the worker's log has the traceback")
    return done


def _failed(hub: Hub, project: ProjectKey, reason: str) -> str:
    hub.state(project).note("sweep", reason)
    return f"failed: {reason}"


def sweep_project(hub: Hub, project: ProjectKey, *, scan_now: bool = False) -> str:
    """Look at one project; ``scan_now`` scans whatever the counters say. Raises LabelLoopError."""
    now = time.time()
    project, info = confirmed_project(hub, project.id)
    state, found = hub.state(project), info.counters
    learn_unknown(hub, project)
    last = state.seen()
    if found.tasks != last.tasks or scan_now:
        state.note("unpredicted", "tasks may be without a prediction")
    notes = state.notes()
    for name, setting in _OF_SETTINGS.items():
        if name in notes and not getattr(hub.settings, setting):
            state.note(name, "")
    if "unpredicted" in notes:
        hub.queue(project).prelabel(0.0)
    if learns(hub, project) and (scan_now or _is_scan_due(hub, project, found, last, now)):
        changed = list(_scan(hub, project))
        state.changes.replace(changed, now)
        _log.info("project %s: a scan found %d changed labels", project, len(changed))
        last = Seen(found.tasks, found.annotations, found.skipped, now)
    state.see(replace(last, tasks=found.tasks))
    keep_project(hub, project)
    keep_served(hub, project)
    _look(hub, project)
    tend_webhook(hub, project)
    reconcile(hub, project)
    _watch(hub, project, found)
    tell_news(hub, project)
    done = consider(hub, project)
    _mend_title(hub, project, info)
    state.note("sweep", "")
    state.note_swept()
    return done


def _look(hub: Hub, project: ProjectKey) -> None:
    """See what is deployed; a deployer that does not tell takes nothing from the rest of the sweep."""
    try:
        look(hub, project)
    except (DeployError, CloudAway) as error:
        hub.state(project).note("deployer", str(error))
    else:
        hub.state(project).note("deployer", "")


def _watch(hub: Hub, project: ProjectKey, counters: Counters) -> None:
    """Look for drift and agreement; what keeps either from being judged takes nothing from the rest of the sweep."""
    with _judging(project, "drift"):
        look_for_drift(hub, project)
    with _judging(project, "agreement"):
        look_for_agreement(hub, project, counters)
        ask_for_comparison(hub, project)


@contextmanager
def _judging(project: ProjectKey, what: str) -> Iterator[None]:
    try:
        yield
    except NoSuchProject:
        raise
    except LabelLoopError as error:
        _log.warning("project %s: %s is not judged: %s", project, what, error)
    except Exception:  # noqa: BLE001 - border: labels are to be looked at, whatever becomes of figures
        _log.exception("project %s: %s is not judged", project, what)


def _mend_title(hub: Hub, project: ProjectKey, info: Overview) -> None:
    """Flip the title that a worker killed after announcing has left behind, or a setting that was switched off."""
    version = announced_version(hub, project)
    named = version != NO_VERSION or info.version == FIRST_LABELS
    if named and version != info.version and not hub.state(project).is_held():
        site_of(hub, project.id).announce(version)


def _is_scan_due(hub: Hub, project: ProjectKey, found: Counters, last: Seen, now: float) -> bool:
    age, least = now - last.scanned, hub.settings.scan_seconds
    if age < least:
        return False
    moved = abs(found.annotations - last.annotations) + abs(found.skipped - last.skipped)
    return moved > hub.state(project).changes.pending().changed or age > least * _LONG_WHILE


def _scan(hub: Hub, project: ProjectKey) -> Iterator[str]:
    """Name the tasks whose labels differ from the last manifest's. Both are read in order of task, one at a time."""
    labeling = labeling_of(hub, project)
    hub.state(project).note("learns", labeling.told)
    seen = Tally()
    known = _known_truth(hub, project)
    before = next(known, None)
    for example in labeling.records(find(labeling.kind).truth):
        while before is not None and before[0] < example.task:
            yield from _gone(before)
            before = next(known, None)
        held = before is not None and before[0] == example.task
        truth = before[1] if before is not None and held else None
        if held:
            before = next(known, None)
        if isinstance(example, LeftOut):
            # Left out now; a change only if the last manifest had it.
            if truth is not None:
                yield f"t{example.task}"
            continue
        seen.add(example.labels)
        # What the last manifest left out cannot be told from unchanged.
        said = Truth(example.labels, result=example.result, confirmed=example.confirmed)
        if not held or truth not in (said, None):
            yield f"t{example.task}"
    if before is not None:
        yield from _gone(before)
    for rest in known:
        yield from _gone(rest)
    if hub.pointer(project).read().champion is None:
        lacking = lacking_labels(
            seen.items,
            seen.labels,
            labeling.classes,
            hub.settings.min_labels,
            find(labeling.kind),
            per_class=hub.settings.min_labels_per_class,
        )
        hub.state(project).note("missing", lacking)


def _gone(entry: tuple[int, Truth | None]) -> Iterator[str]:
    """Name a task of the last manifest that is labeled no more, unless it had been left out."""
    task, truth = entry
    if truth is not None:
        yield f"t{task}"


def _known_truth(hub: Hub, project: ProjectKey) -> Iterator[tuple[int, Truth | None]]:
    """Read the last run's manifest: truth by task (data/manifest.py); nothing, where there is none."""
    record = hub.runs(project).latest()
    if record is None:
        return iter(())
    try:
        with manifest_file(hub, project, record.manifest) as file:
            return truth_by_task(file)
    except NotFound:
        return iter(())
    except Damaged as error:
        path = manifest_path(project, record.manifest)
        _log.warning("%s is damaged (%s): all labels count as changed, and the next run writes one anew", path, error)
        return iter(())
