"""Counts how annotators agree, and sends the figures of all projects to where people look at them and alarms watch."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from labelloop.cloud.base import Figure
from labelloop.cloud.opening import open_meter
from labelloop.data.labeling import Counters
from labelloop.data.site import spelled
from labelloop.errors import CloudError, LabelLoopError, SettingsError
from labelloop.loop.drift import drift_figures
from labelloop.loop.hub import Hub
from labelloop.loop.order import Order, read_order
from labelloop.loop.project_endpoint import subject_of
from labelloop.loop.project_registry import site_of, why_gone
from labelloop.loop.redis_client import METERED
from labelloop.loop.serving import announced_version
from labelloop.types import FIRST_LABELS, NO_VERSION, ProjectKey
from labelloop.watch.agreement import keep_agreement
from labelloop.watch.figures import outcome, run_figures, version_figures

_log = logging.getLogger(__name__)

UNCOMPARED = "uncompared"
"""The note that annotators have said something since the announced version was compared with its predecessor."""

_SECONDS = 59
"""Between two times; a sweep follows the last one after a minute by default."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What is sent of one project, and what is noted when it was."""

    figures: list[Figure]
    outcome: str
    errors: int


def tell_figures(hub: Hub, projects: Iterable[ProjectKey]) -> None:
    """Send the figures of these projects, at most once a minute. What goes wrong is noted, and nothing else.

    Raises QueueError.
    """
    if not hub.settings.metrics or not hub.redis.set(METERED, "1", nx=True, ex=_SECONDS):
        return
    there = (project for project in projects if not why_gone(hub, project))
    told = {project: found for project in there if (found := _gathered(hub, project)) is not None}
    try:
        open_meter(hub.settings.metrics).put([figure for one in told.values() for figure in one.figures])
    except (CloudError, SettingsError) as error:
        _log.warning("figures are not sent: %s", error)
        _note(hub, told, str(error))
        return
    _note(hub, told, "")
    for project, one in told.items():
        hub.state(project).counted.told(one.outcome, one.errors)


def look_for_agreement(hub: Hub, project: ProjectKey, counters: Counters) -> None:
    """Count what annotators did since the last look, where counters or noted changes tell of anything.

    Only tasks that changed since are asked for. Raises StudioError and StoreError.
    """
    version, state = announced_version(hub, project), hub.state(project)
    if version in (NO_VERSION, FIRST_LABELS):
        return

    def began() -> str:
        record = hub.versions(project).find(version)
        return _as_the_tool_writes(record.created if record is not None else "")

    since, seen = state.agreement.begin(version, began)
    pending = state.changes.pending()
    # What an edit leaves as it is, a scan finds.
    scanned = state.seen().scanned
    told = f"{counters.annotations} {counters.skipped} {pending.changed} {pending.last} {scanned}"
    if told != seen:
        order = read_order(hub.store, project, version) or Order(version)
        state.agreement.note(site_of(hub, project.id).judged(since, subject_of(hub, project)), order, since)
        if (agreed := state.agreement.read()) is not None:
            keep_agreement(hub.store, project, agreed)
        if state.agreement.comparable(version):
            state.note(UNCOMPARED, "labels of randomly served tasks are to be looked at")
        # Not before: where the store fails, the next look keeps it.
        state.agreement.looked(told)


def _as_the_tool_writes(moment: str) -> str:
    """Write a moment (ISO 8601; empty: now) as ``Site.judged`` takes it."""
    found = datetime.fromisoformat(moment) if moment else datetime.now(UTC)
    return spelled(found)


def _note(hub: Hub, told: Iterable[ProjectKey], sentence: str) -> None:
    for project in told:
        hub.state(project).note("metrics", sentence)


def _gathered(hub: Hub, project: ProjectKey) -> _Told | None:
    """Gather the figures of one project; None where they cannot be known now, which is logged."""
    try:
        return _gather(hub, project)
    except LabelLoopError as error:
        _log.warning("project %s: its figures are not known: %s", project, error)
    except Exception:  # noqa: BLE001 - border: those of the other projects are to be sent
        _log.exception("project %s: its figures are not known", project)
    return None


def _gather(hub: Hub, project: ProjectKey) -> _Told:
    counted, at, name = hub.state(project).counted, time.time(), str(project)
    announced = hub.pointer(project).read().announced
    version = hub.versions(project).find(announced) if announced else None
    drift = drift_figures(hub, project, announced) if announced else []
    last, errors = hub.runs(project).latest(), counted.endpoint_errors()
    agreed = hub.state(project).agreement.read()
    share = agreed.share if agreed is not None and agreed.begun and agreed.version == announced else None
    figures = version_figures(name, version, share, at) if version is not None else []
    figures += run_figures(name, last, version, counted.outcome(), at)
    # As it stands, and not when it was judged: alarms look at the last minutes.
    figures += [replace(one, at=at) for one in drift]
    figures.append(Figure("EndpointErrors", float(errors), name, "", at))
    return _Told(figures, outcome(last) if last is not None else "", errors)
