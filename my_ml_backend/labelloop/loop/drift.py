"""Looks whether what a champion predicts has become other than what it predicted at first, and says what follows.

The sweep asks for it, at most every ``LABELLOOP_SCAN_SECONDS`` and when enough was predicted, and it is made in the
background. What a version predicted at first, as a rule its pre-annotation of all that waited, is kept in the store;
every later sample is compared with it once. The labels that it learned from would not do: they were chosen by
uncertainty, and differ by design.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from labelloop.cloud.base import Figure
from labelloop.data.site import Interface, Site
from labelloop.errors import LabelLoopError, MediaError, StudioError
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import learns, project_endpoint
from labelloop.loop.project_registry import site_of
from labelloop.types import Json, ProjectKey
from labelloop.watch.description import describe
from labelloop.watch.features import FeatureExtractor
from labelloop.watch.judgement import LEAST, Judgement, Observed, judge
from labelloop.watch.records import Looks, Watched
from labelloop.watch.sample import SIZE, Predicted

_log = logging.getLogger(__name__)

ENOUGH = 300
"""Predictions after which a look is made; with LEAST of them, a day after the first."""

_DAY = 24 * 3600.0

_DESCRIBED = SIZE
"""Pictures of a look that are read and described."""

_READERS = 8
_READING_SECONDS = 120.0
"""For the pictures of one look; those that take longer are not described."""

TAB = "Drift"


def last_look(hub: Hub, project: ProjectKey) -> Looks:
    """Read what the last look at the announced version found; raises StoreError."""
    version = hub.pointer(project).read().announced
    return Watched(hub.store, project, version).looks() if version else Looks()


def waiting_for_a_look(hub: Hub, project: ProjectKey) -> str:
    """Say how many predictions there are of those that a look takes."""
    if hub.settings.drift == "off":
        return "LABELLOOP_DRIFT is off"
    return f"{hub.state(project).window.count()} of {ENOUGH} predictions are there for the next look"


def drift_figures(hub: Hub, project: ProjectKey, version: str) -> list[Figure]:
    """Give the figures of the last look at a version, none before it; raises StoreError."""
    found = Watched(hub.store, project, version).looks().judgement
    return found.figures(str(project)) if found else []


def ask_for_look(hub: Hub, project: ProjectKey) -> None:
    """Ask for a look where enough was predicted: it reads hundreds of pictures, and no run waits for that."""
    predicted = _predicted(hub, project, time.time())
    if predicted is not None and not hub.state(project).is_judged(hub.settings.scan_seconds):
        hub.queue(project).drift()


def look_for_drift(hub: Hub, project: ProjectKey) -> Judgement | None:
    """Judge what was predicted since the last look, where that is due; None where it is not. Raises LabelLoopError."""
    state, now = hub.state(project), time.time()
    predicted = _predicted(hub, project, now)
    if predicted is None or not state.judge(hub.settings.scan_seconds):
        return None
    version, new = predicted
    watched = Watched(hub.store, project, version)
    reference = watched.reference()
    seen = _observe(hub, project, version, new)
    if reference is None:
        watched.refer(seen)
        state.note("drift", "")
        state.window.clear()
        _log.info("project %s: what %s predicts is compared with these %d from now on", project, version, len(seen))
        return None
    found = judge(version, reference, seen, now)
    looks = _follow(hub, project, watched.looks(), found)
    watched.note(lambda before: replace(looks, looks=before.looks + 1))
    state.window.clear()
    return found


def _predicted(hub: Hub, project: ProjectKey, now: float) -> tuple[str, list[Predicted]] | None:
    """Give the announced version with what it has predicted since the last look; None where that is too little."""
    state = hub.state(project)
    if hub.settings.drift == "off":
        state.note("drift", "")
        return None
    # Before a bulk is over there is only its beginning.
    if state.window.count() < LEAST or state.is_held():
        return None
    pointers, there = hub.pointer(project).read(), state.window.read()
    version = pointers.announced
    new = [one for one in there if one.version == version]
    # What earlier versions predicted would keep out what is predicted from now on.
    state.window.remove(one for one in there if one.version not in (version, pointers.champion))
    return (version, new) if version is not None and _is_enough(new, now) else None


def _is_enough(predicted: Sequence[Predicted], now: float) -> bool:
    if len(predicted) < LEAST:
        return False
    return len(predicted) >= ENOUGH or now - min(one.at for one in predicted) > _DAY


def _follow(hub: Hub, project: ProjectKey, before: Looks, found: Judgement) -> Looks:
    """Do what the settings say about a drift, once for each time that one begins; gives what is kept of the look."""
    after = replace(before, last=found.to_json(), since=(before.since or found.at) if found.drifts else 0.0)
    hub.state(project).note("drift", str(found) if found.drifts else "")
    if not found.drifts or before.since:
        return after
    _log.warning("project %s: %s", project, found)
    if hub.settings.drift == "tab" and found.tasks:
        after = replace(after, tab=_show(hub, project, found))
    if hub.settings.drift == "retrain" and not before.asked:
        # One for each champion: labels that are the same would make the same version, and ask for the next one.
        hub.state(project).want_again(f"drift in {found.what}")
        after = replace(after, asked=True)
    return after


def _show(hub: Hub, project: ProjectKey, found: Judgement) -> str:
    """Have the tool show the tasks; a tool that does not is said, and the judgement stands."""
    try:
        return site_of(hub, project.id).show(TAB, found.tasks)
    except StudioError as error:
        _log.warning("project %s: there is no tab of the tasks that drift: %s", project, error)
        return ""


def _observe(hub: Hub, project: ProjectKey, version: str, predicted: Sequence[Predicted]) -> list[Observed]:
    """Put beside each prediction what its picture is like, and what the network makes of it, where that can be read."""
    site = site_of(hub, project.id)
    tasks = [one.task for one in predicted[:_DESCRIBED] if one.task is not None]
    found = project_endpoint(hub, project)
    shown = site.interface(found.options.subject if found.serves in ("store", "features") else None)
    rows = _describe(site, shown, tasks, _features(hub, project, version))
    return [Observed(one.task, one.at, dict(one.scores), *rows.get(one.task or 0, ([], []))) for one in predicted]


def _features(hub: Hub, project: ProjectKey, version: str) -> FeatureExtractor | None:
    """Open the version's network as far as its features; None for a model that lies elsewhere or cannot be opened."""
    if not learns(hub, project):
        return None
    try:
        return FeatureExtractor(
            hub.versions(project).fetch_bundle(version, hub.settings.directory / "cache" / "bundles")
        )
    except LabelLoopError as error:
        _log.info("project %s: drift is judged without features of %s: %s", project, version, error)
        return None


Rows = tuple[list[float], list[float]]


def _describe(
    site: Site, interface: Interface, tasks: Sequence[int], features: FeatureExtractor | None
) -> dict[int, Rows]:
    """Read the pictures of tasks and describe them, several at a time; what cannot be read, or is none, is left out."""
    deadline = time.monotonic() + _READING_SECONDS

    def row(task: Json) -> tuple[int, Rows] | None:
        try:
            content = interface.input_of(task, deadline, referable=False).content
            return task["id"], (_kept(describe(content), 4), _kept(features(content), 2) if features else [])
        except MediaError:
            return None

    with ThreadPoolExecutor(_READERS, thread_name_prefix="describe") as readers:
        return dict(filter(None, readers.map(row, site.tasks(tasks))))


def _kept(row: Iterable[float], digits: int) -> list[float]:
    return [round(float(value), digits) for value in row]
