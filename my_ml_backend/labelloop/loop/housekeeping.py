"""Looks after the room that projects take: once an hour, and soon after a version has become champion.

What is beyond ``LABELLOOP_KEEP_VERSIONS`` goes (loop/pruning.py), and what lies in the store and on this machine is
noted in Redis, so that whoever asks how a project stands walks through neither.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from labelloop.errors import LabelLoopError, LeaseLost, QueueError
from labelloop.loop.caches import Caches, needed_pictures, remove
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.old_predictions import ask_for_removal
from labelloop.loop.outlook import Beside
from labelloop.loop.progress import StageProgress
from labelloop.loop.pruning import PrunePlan, prune
from labelloop.loop.redis_client import DISK, RedisClient, as_text
from labelloop.loop.reports import UNTOUCHED, end_report, without_reports
from labelloop.models.backbones import FOLDER
from labelloop.models.backup import stored_projects
from labelloop.models.features import backbones
from labelloop.models.store import Store
from labelloop.types import Json, ProjectKey

_log = logging.getLogger(__name__)

_EVERY_SECONDS, _PICTURES_SECONDS = 3600, 24 * 3600
_RESTS = 9
"""So many times what a look has taken nobody looks again: it takes a tenth of the time at most."""

_MACHINE = "machine"
"""Stands for no project: the machine of the worker that looked last."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of one project: ``versions`` and ``runs`` (manifests and all else) in the store, ``caches`` on a worker.

    ``at`` is when they were counted (Unix seconds).
    """

    versions: int
    runs: int
    caches: int
    at: float


def read_disk(redis: RedisClient, project: ProjectKey) -> Json | None:
    """Read what was noted of one project, with the machine's ``free`` bytes; None before the first look."""
    own, machine = redis.hmget(DISK, [str(project), _MACHINE])
    if own is None:
        return None
    noted: Json = json.loads(own)
    return noted | {"free": json.loads(machine)["free"] if machine else None}


def look_after(hub: Hub, projects: Collection[ProjectKey]) -> None:
    """Prune and count what is due. What goes wrong with a project is a note for ``status``, and the others go on."""
    looked = [project for project in projects if hub.state(project).claim_housekeeping(_EVERY_SECONDS)]
    for project in looked:
        began = time.monotonic()
        try:
            _look(hub, project)
        except LeaseLost:
            # A run is in progress, or a report is being written: the next sweep asks again.
            hub.state(project).ask_for_housekeeping()
        except QueueError:
            raise
        except LabelLoopError as error:
            _log.warning("project %s: what it takes is not looked after: %s", project, error)
            hub.state(project).note("disk", f"old versions are not pruned now: {error}")
        else:
            hub.state(project).note("disk", "")
            # The more versions there were, the longer it takes; meanwhile no run begins.
            if (rest := _RESTS * (time.monotonic() - began)) > hub.settings.sweep_seconds:
                hub.state(project).rest_housekeeping(rest)
    if looked:
        _forget_others(hub, {str(project) for project in projects})
        _look_at_machine(hub)


def _forget_others(hub: Hub, known: Collection[str]) -> None:
    """Forget what others took: there is no end to model runs."""
    noted = set(map(as_text, hub.redis.hkeys(DISK)))
    if gone := noted - {*known, _MACHINE}:
        hub.redis.hdel(DISK, *gone)


def _look(hub: Hub, project: ProjectKey) -> None:
    if hub.settings.keep_versions:
        with held(hub, project, "prune") as lease, without_reports(hub, project):
            plan = prune_project(hub, project, hub.settings.keep_versions, lease.check)
        if plan.objects:
            names = ", ".join(plan.versions) or "leftovers"
            _log.info("project %s: pruned %s, %d bytes", project, names, plan.size)
    ask_for_removal(hub, project)
    note_disk(hub, project)


@contextmanager
def held(hub: Hub, project: ProjectKey, what: Beside) -> Iterator[Lease]:
    """Hold a project, and let a worker look afterwards at what it needs: whoever came meanwhile was sent away.

    ``what`` is done meanwhile, for ``status``. Raises LeaseLost.
    """
    progress, now = hub.state(project).progress(), time.time()
    with Lease(hub, project) as lease:
        progress.tell(StageProgress(what, what, 0, 0, now, now))
        try:
            yield lease
        finally:
            progress.tell(None)
    hub.queue(project).consider(time.time())


def prune_project(hub: Hub, project: ProjectKey, keep: int, check: Callable[[], None] = lambda: None) -> PrunePlan:
    """Remove from the store what is beyond the ``keep`` newest versions, and this machine's copies of it.

    The caller holds the project, and lets no report be written. Raises StoreError.
    """
    plan = prune(hub.store, project, keep, check)
    caches = Caches(hub.settings.directory)
    remove(caches.bundles(project, hub.pointer(project).read().pruned))
    remove(caches.backbones())
    remove(caches.features(project, backbones(hub.store, project)))
    runs, opened = hub.runs(project), [hub.open_runs(project, challenger=one).read() for one in (False, True)]
    spared = (*opened, runs.latest(), runs.latest_challenger())
    untouched = [*caches.runs(project, {one.key for one in spared if one is not None})]
    remove(untouched)
    for one in untouched:
        end_report(hub, project, one.path.name, UNTOUCHED)
    return plan


def note_disk(hub: Hub, project: ProjectKey) -> Disk:
    """Count what a project takes, and note it."""
    versions, others = _stored(hub.store, project)
    disk = Disk(versions, others, Caches(hub.settings.directory).size_of(project), round(time.time(), 1))
    hub.redis.hset(DISK, str(project), json.dumps(asdict(disk)))
    return disk


def _stored(store: Store, project: ProjectKey) -> tuple[int, int]:
    versions = others = 0
    for path, size in store.sizes(f"{project}/"):
        if path.startswith((f"{project}/versions/", f"{project}/{FOLDER}/")):
            versions += size
        else:
            others += size
    return versions, others


def _look_at_machine(hub: Hub) -> None:
    """Note the room on this machine; once a day pictures that no labels need any more go before that."""
    directory = hub.settings.directory
    caches = Caches(directory)
    if hub.settings.keep_versions and hub.redis.set(f"{DISK}:pictures", "1", nx=True, ex=_PICTURES_SECONDS):
        try:
            remove(caches.unneeded(needed_pictures(hub, stored_projects(hub.store))))
        except LabelLoopError as error:
            _log.warning("pictures that nobody needs are not removed: %s", error)
    hub.redis.hset(DISK, _MACHINE, json.dumps({"free": shutil.disk_usage(directory).free}))
