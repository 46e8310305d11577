"""Removes from the tool what versions have predicted that nobody needs any more: else each version adds its rows.

Annotators are shown those of the announced version alone, and a rollback goes to its predecessor. What an annotation
may have begun with stays: agreement, times and comparisons read it. The tool removes one prediction in one request, so
each sweep has some removed, in the background; whoever is killed leaves the rest to the next.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from itertools import pairwise

from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import site_of, why_gone
from labelloop.loop.promotion import champion_before
from labelloop.models.champion import Pointers
from labelloop.models.deployments import Deployments
from labelloop.models.open_batch import OpenBatches
from labelloop.types import ProjectKey

_SHARE, _IDLE_SHARE, _IDLE_SECONDS = 0.1, 0.5, 600.0
"""Of the time between two sweeps, for which predictions are removed; where no label has changed for so many seconds."""

_OPEN_SECONDS = 3600.0
"""For which an annotator may have a task open since before a version was followed by the next: who submits it names the
prediction that it began with, and Label Studio refuses one that is gone."""

_LOOK_SECONDS = 1.0
"""Between two looks whether somebody went back to one of these versions, or began to label."""

OUTDATED = "outdated"
"""The note that there are some."""


def outdated_versions(hub: Hub, project: ProjectKey, pruned: Collection[str] = ()) -> frozenset[str]:
    """Name the versions whose predictions for waiting tasks nobody needs any more, ``pruned`` as if these were it, too.

    They were champions before the predecessor of the announced one, or are pruned; with ``LABELLOOP_KEEP_PREDICTIONS``
    the pruned ones alone. Those whose place another one took within the last hour are not among them: tasks that show
    their predictions may be open yet. Raises StoreError.
    """
    pointers = hub.pointer(project).read()
    gone = {*pointers.pruned, *pruned}
    if not hub.settings.keep_predictions:
        batch = OpenBatches(hub.store, project).read()
        needed = {
            *(pointers.champion, pointers.predecessor),
            *(pointers.announced, _before(pointers, pointers.announced)),
            champion_before(hub.versions(project), pointers),
            *Deployments(hub.store, project).versions(),
            batch.version if batch.open else "",
        }
        gone |= {reign.version for reign in pointers.history if reign.version not in needed}
    return frozenset(gone - _shown_lately(pointers))


def _shown_lately(pointers: Pointers) -> set[str]:
    """Name the versions whose predictions tasks may show that annotators have opened and not submitted yet."""
    until = {
        before.version: datetime.fromisoformat(after.at).timestamp() for before, after in pairwise(pointers.history)
    }
    return {version for version, moment in until.items() if time.time() - moment < _OPEN_SECONDS}


def _before(pointers: Pointers, version: str | None) -> str | None:
    """Name the champion before the last reign of a version; None for none."""
    reigns = [reign.version for reign in pointers.history]
    while reigns and reigns[-1] != version:
        reigns.pop()
    return next((one for one in reversed(reigns) if one != version), None)


def old_predictions(hub: Hub, project: ProjectKey, versions: Collection[str]) -> Iterator[int]:
    """Number these versions' predictions for tasks that wait; none where the tool does not have the project.

    Raises StudioError.
    """
    shown = versions and not project.model_run and hub.project(project.id) == project and not why_gone(hub, project)
    return site_of(hub, project.id).outdated(versions) if shown else iter(())


def remove_predictions(
    hub: Hub, project: ProjectKey, seconds: Callable[[], float] = lambda: math.inf
) -> tuple[int, bool]:
    """Remove them for so many ``seconds``; gives how many, and whether more may be left. Raises StudioError.

    It needs no lease: nobody is shown what is removed. Where somebody goes back to one of these versions meanwhile, it
    stops, and the sweep has the tasks predicted anew that were just bereft of it.
    """
    began, removed = time.monotonic(), 0
    looked, limit, versions = began, seconds(), outdated_versions(hub, project)
    for number in old_predictions(hub, project, versions):
        now = time.monotonic()
        if now - looked > _LOOK_SECONDS:
            looked, limit = now, seconds()
            if _is_wanted(hub, project, versions):
                return removed, True
        if now - began > limit:
            return removed, True
        site_of(hub, project.id).remove_prediction(number)
        removed += 1
    _is_wanted(hub, project, versions)
    return removed, False


def _is_wanted(hub: Hub, project: ProjectKey, versions: frozenset[str]) -> bool:
    """Whether any of these versions is needed by now; then what may lack its predictions is noted for the sweep."""
    wanted = bool(versions - outdated_versions(hub, project))
    if wanted:
        hub.state(project).note("unpredicted", "tasks may be without a prediction")
    return wanted


def ask_for_removal(hub: Hub, project: ProjectKey) -> None:
    """Note, for the sweep, where there may be some. Raises StoreError and QueueError."""
    if outdated_versions(hub, project):
        hub.state(project).note(OUTDATED, "predictions of old versions are removed from Label Studio, a few at a time")


def go_on(hub: Hub, project: ProjectKey) -> str:
    """Remove as many as one sweep's share of the tool's time allows, and say how many."""
    # Anew as it goes on, for somebody may begin to label meanwhile.
    removed, left = remove_predictions(hub, project, lambda: _share(hub, project) * hub.settings.sweep_seconds)
    if not left:
        hub.state(project).note(OUTDATED, "")
    return f"{removed} predictions of old versions removed, {'the others with the next sweeps' if left else 'the last'}"


def _share(hub: Hub, project: ProjectKey) -> float:
    """Say which share of the time it may take: annotators are not to feel it."""
    last = hub.runs(project).latest()
    ran = datetime.fromisoformat(last.updated).timestamp() if last is not None else 0.0
    is_busy = hub.state(project).changes.pending().changed or time.time() - ran < _IDLE_SECONDS
    return _SHARE if is_busy else _IDLE_SHARE
