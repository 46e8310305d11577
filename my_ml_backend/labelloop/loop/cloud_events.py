"""What a cloud tells of projects' labels and data: each event is a hint, noted here before it is taken off the queue.

Labels: an annotation was written to a bucket, or deleted there. It is noted as its webhook would be, under the same
name, so that both are one changed label. Data: the storage they came to is due, and is taken in with the next
pre-annotation. Whatever is lost on the way, the sweep finds.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from labelloop.cloud.base import CloudEvent
from labelloop.data.site import Storage
from labelloop.errors import LabelLoopError
from labelloop.loop.backoff import reason_of
from labelloop.loop.hub import Hub
from labelloop.loop.intake import look_when_due
from labelloop.loop.project_registry import known_projects, site_of, why_gone
from labelloop.loop.redis_client import may_be_lost
from labelloop.loop.storages import Arrivals, Atlas, due_projects
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_AT_ONCE = 500
"""Events that are noted together: a queue hides them for half a minute at least, and this takes seconds."""

_MOST, _SECONDS = 50_000, 30.0
"""Bounds of one look at the queue: what is left waits for the next."""

_CLOCKS = 10.0
"""Seconds by which the clocks of a cloud and of this machine may differ."""


def read_events(hub: Hub) -> str:
    """Note what waits in the queue of events, and say what that was; empty where there is no queue.

    What fails is noted for ``status``, and takes nothing from what follows.
    """
    if not hub.settings.events:
        return ""
    told, trouble, projects, unknown = "", "", list[ProjectKey](), dict[ProjectKey, str]()
    try:
        projects = [one for one in known_projects(hub) if not why_gone(hub, one)]
        reading = _Reading(hub, projects)
        told, unknown = reading.read(), {**reading.atlas.unknown}
    except LabelLoopError as error:
        trouble = str(error)
        _log.warning("events: %s", error)
    except Exception as error:  # noqa: BLE001 - border: the sweep is to go on
        trouble = reason_of(error)
        _log.exception("events")
    with may_be_lost("how the queue of events stands"):
        for project in projects:
            hub.state(project).note("events", trouble or unknown.get(project, ""))
    return f"failed: {trouble}" if trouble else told


class _Reading:
    """One look at the queue."""

    def __init__(self, hub: Hub, projects: Sequence[ProjectKey]) -> None:
        self._hub, self._projects = hub, projects
        self._counted: Counter[str] = Counter()
        # First: while the tool is away, events are left where they are.
        self.atlas = Atlas.read(hub, projects)
        self._is_fresh = False

    def read(self) -> str:
        """Take, note and take off until nothing is left or the bounds are met; raises LabelLoopError."""
        try:
            self._empty()
        finally:
            # What is due may be so without any event.
            for project in due_projects(self._hub, self.atlas):
                self._hub.queue(project).prelabel(0.0)
        return ", ".join(f"{count} {what}" for what, count in sorted(self._counted.items())) or "none"

    def _empty(self) -> None:
        inbox, until = self._hub.inbox, time.monotonic() + _SECONDS
        while inbox and self._counted.total() < _MOST and time.monotonic() < until:
            events = inbox.take(_AT_ONCE)
            inbox.done(self._noted(events))
            if len(events) < _AT_ONCE:
                break

    def _noted(self, events: Sequence[CloudEvent]) -> list[CloudEvent]:
        """Note what events ask for; gives those that need not come again."""
        labels: dict[ProjectKey, list[CloudEvent]] = defaultdict(list)
        arrived: set[tuple[ProjectKey, Storage]] = set()
        again: set[str] = set()
        for event in events:
            what, concerned = self._read(event)
            self._counted[what] += 1
            if what in ("unreadable", "of a project unknown"):
                again.add(event.receipt)
            for project, storage in concerned:
                if storage.holds == "labels":
                    labels[project].append(event)
                elif not event.gone:
                    arrived.add((project, storage))
        for project, told in labels.items():
            note_labels(self._hub, project, told)
        for project, storage in arrived:
            Arrivals(self._hub.redis, project).note(storage)
        return [event for event in events if event.receipt not in again]

    def _read(self, event: CloudEvent) -> tuple[str, Sequence[tuple[ProjectKey, Storage]]]:
        """Say in a word what an event is, and which projects' storages it concerns."""
        if event.kind != "object":
            return {"unreadable": "unreadable", "approval": "of approvals"}.get(event.kind, "of nothing"), ()
        found = self.atlas.at(event.place)
        if not found and not self._is_fresh:
            # A storage may have been connected since.
            self._is_fresh, self.atlas = True, Atlas.read(self._hub, self._projects, fresh=True)
            found = self.atlas.at(event.place)
        if not found:
            return "of a project unknown" if self.atlas.unknown else "of no project", ()
        return f"of {found[0][1].holds}", found


def note_labels(hub: Hub, project: ProjectKey, events: Iterable[CloudEvent]) -> None:
    """Note the labels of which events tell as changed, each at its moment, but what the last look had seen already.

    Where an object's name does not tell which label it is, a scan is called for.
    """
    state, site, now = hub.state(project), site_of(hub, project.id), time.time()
    seen, moments = state.seen(), dict[str, float]()
    for event in events:
        # Rather a label twice than one lost: it happened at the latest then.
        at = min(now, event.at + _CLOCKS) if event.at else now
        if at > seen.scanned:
            label = site.label_at(event.place)
            moments[label] = max(at, moments.get(label, 0.0))
    if moments.pop("", None):
        state.see(replace(seen, annotations=-1))
    if moments:
        state.changes.note(moments)
        look_when_due(hub, project)
