"""Finds what no webhook told: compares Label Studio with the last manifest.

Every sweep reads the counters, and asks for the tasks that changed since the last one. Everything is scanned only where
the two contradict each other, at most every ``LABELLOOP_SCAN_SECONDS``, and once in a long while anyway.
"""

import logging
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from labelloop.data.labeling import Counters
from labelloop.data.site import Overview
from labelloop.errors import CloudAway, DeployError, LabelConfigError, LabelLoopError, NoSuchProject
from labelloop.loop.backoff import reason_of
from labelloop.loop.comparison import compare_all
from labelloop.loop.consider import consider
from labelloop.loop.deploy import look
from labelloop.loop.drift import ask_for_look
from labelloop.loop.early_features import look_for_features
from labelloop.loop.hub import Hub
from labelloop.loop.metering import look_for_agreement
from labelloop.loop.mirror import reconcile
from labelloop.loop.notify import tell_news
from labelloop.loop.old_predictions import OUTDATED
from labelloop.loop.project_endpoint import learn_unknown, learns
from labelloop.loop.project_labels import labeling_of
from labelloop.loop.project_registry import (
    confirmed_project,
    keep_project,
    known_projects,
    lose_project,
    site_of,
    why_gone,
)
from labelloop.loop.recent_changes import Known, RecentChanges
from labelloop.loop.retrain_policy import duration
from labelloop.loop.rollback import ask_for_comparison
from labelloop.loop.serving import announced_version, keep_served
from labelloop.loop.state import UNLEARNED, Seen
from labelloop.loop.webhooks import tend_webhook
from labelloop.types import FIRST_LABELS, NO_VERSION, ProjectKey

_log = logging.getLogger(__name__)

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
            if isinstance(error, LabelConfigError):
                hub.state(project).note(UNLEARNED, "a label config of which something can be learned")
        except Exception as error:  # noqa: BLE001 - border: the other projects are to be looked at
            _log.exception("sweep of %s", project)
            done[str(project)] = _failed(hub, project, reason_of(error))
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
    if found.tasks != state.seen().tasks or scan_now:
        state.note("unpredicted", "tasks may be without a prediction")
    notes = state.notes()
    for name, setting in _OF_SETTINGS.items():
        if name in notes and not getattr(hub.settings, setting):
            state.note(name, "")
    if "unpredicted" in notes:
        hub.queue(project).prelabel(0.0)
    if OUTDATED in notes:
        hub.queue(project).remove_predictions()
    if learns(hub, project):
        _find_changes(hub, project, info, now, scan_now=scan_now)
    elif "asked" in notes:
        state.note("asked", "")
    state.see(replace(state.seen(), tasks=found.tasks))
    keep_project(hub, project, info.title)
    keep_served(hub, project)
    _look(hub, project)
    with _judging(project, "what tasks show"):
        look_for_features(hub, project, found)
    tend_webhook(hub, project)
    reconcile(hub, project)
    _watch(hub, project, found)
    tell_news(hub, project)
    done = consider(hub, project)
    _mend_title(hub, project, info)
    state.note("sweep", "")
    state.note(UNLEARNED, "")
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
        ask_for_look(hub, project)
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


def _find_changes(hub: Hub, project: ProjectKey, found: Overview, now: float, *, scan_now: bool) -> None:
    """Note which labels differ from the last manifest's: of what has changed since the last look, or of everything."""
    state, known, least = hub.state(project), Known.of(hub, project), hub.settings.scan_seconds
    noted = state.changes.pending().changed
    look = RecentChanges(hub, project, known, found, now)
    due, why = known.scan_due(found, noted, least, now)
    state.note("asked", _asked_anew(hub, project, due - now) if known.asks_anew(found) and not scan_now else "")
    if scan_now or due <= now:
        _scan(hub, project, known, found, now, "it was asked for" if scan_now else why)
    elif known.look_due(found, noted, hub.settings) <= now:
        look.note()


def _asked_anew(hub: Hub, project: ProjectKey, seconds: float) -> str:
    """Note what is learned by now, and say when labels are compared with that; empty where that is at once."""
    hub.state(project).note("learns", labeling_of(hub, project).told)
    if seconds <= 0:
        return ""
    return (
        "the label config, or what is learned of it, has changed since all labels were compared: they are compared "
        f"again in {duration(seconds)}, or now by `labelloop sweep --project {project.id}`. A run before that learns "
        "by the new one"
    )


def _scan(hub: Hub, project: ProjectKey, known: Known, found: Overview, now: float, why: str) -> None:
    changes, kept, count = hub.state(project).changes, array("q"), 0

    def changed() -> Iterator[tuple[int, bool, tuple[int, ...]]]:
        nonlocal count
        for one in compare_all(hub, project, known.record, known.manifest_moment(found, now)):
            # Eight bytes a task: they come in order, and are looked for below.
            kept.append(one.task)
            if one.why:
                count += 1
                yield one.task, True, ()

    changes.compare(changed(), now, known.read_at)
    changes.drop(now, lambda name: name.startswith("t") and _holds(kept, int(name[1:])))
    _log.info("project %s: a scan, because %s, found %d changed labels", project, why, count)
    counters = found.counters
    hub.state(project).see(Seen(counters.tasks, counters.annotations, counters.skipped, now))
    hub.state(project).look(known.after_scan(found, now))


def _holds(tasks: "array[int]", task: int) -> bool:
    at = bisect_left(tasks, task)
    return at < len(tasks) and tasks[at] == task
