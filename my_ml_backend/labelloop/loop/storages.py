"""Where projects' labels are written to and their data come from, and the taking in of new data.

A storage of data is due until it is noted as taken in: after an event told of it, after Redis was wiped, and once in a
long while, for an event may be lost.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Self

from labelloop.data.site import Storage
from labelloop.errors import NoSuchProject, Outage, StudioError
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import site_of
from labelloop.loop.redis_client import RedisClient, as_text, key_of
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_KEPT_SECONDS = 300
"""How long the storages of a project are known before its tool is asked again."""

_RETRY_SECONDS = 600.0
_LONG_WHILE = 12
"""Data are taken in after this many ``LABELLOOP_SCAN_SECONDS`` even when no event has told of them."""


@dataclass(frozen=True, slots=True)
class Atlas:
    """All projects' storages, by their addresses; ``unknown`` says why a project could not be asked for its own."""

    storages: dict[str, list[tuple[ProjectKey, Storage]]]
    unknown: Mapping[ProjectKey, str]

    @classmethod
    def read(cls, hub: Hub, projects: Iterable[ProjectKey], *, fresh: bool = False) -> Self:
        """Read the storages of projects; raises an Outage where the tool is away.

        What was read in the last minutes is good enough, unless it has to be ``fresh``.
        """
        found: dict[str, list[tuple[ProjectKey, Storage]]] = {}
        unknown: dict[ProjectKey, str] = {}
        for project in projects:
            try:
                storages = storages_of(hub, project, fresh=fresh)
            except NoSuchProject:
                continue  # the sweep forgets it
            except StudioError as error:
                if isinstance(error, Outage):
                    raise
                unknown[project] = f"whether events are of this project is not known: {error}"
                continue
            for storage in storages:
                found.setdefault(storage.address, []).append((project, storage))
        return cls(found, unknown)

    def at(self, address: str) -> list[tuple[ProjectKey, Storage]]:
        """Say whose storage an object lies in: of storages within each other it is the innermost; two may share one."""
        above = address
        while above:
            above = above.rpartition("/")[0]
            if above in self.storages:
                return self.storages[above]
        return []


def storages_of(hub: Hub, project: ProjectKey, *, fresh: bool = False) -> list[Storage]:
    """Give the storages of a project, asking its tool now and then; raises StudioError."""
    key = key_of(project, "storages")
    if not fresh and (kept := hub.redis.get(key)):
        return [Storage(*one) for one in json.loads(kept)]
    storages = site_of(hub, project.id).storages()
    hub.redis.set(key, json.dumps([astuple(storage) for storage in storages]), ex=_KEPT_SECONDS)
    return storages


class Arrivals:
    """What of a project's storages of data has been taken in, and why one could not be."""

    def __init__(self, redis: RedisClient, project: ProjectKey) -> None:
        self._redis, self._key = redis, key_of(project, "arrived")

    def note(self, storage: Storage) -> None:
        """Note that something is new there."""
        self._redis.hincrby(self._key, f"told {storage.number}", 1)

    def told(self, storage: Storage) -> int:
        """Say how often that was noted."""
        return int(self._redis.hget(self._key, f"told {storage.number}") or 0)

    def is_due(self, storage: Storage, now: float) -> bool:
        """Whether a storage is to be taken in."""
        taken = as_text(self._redis.hget(self._key, f"taken {storage.number}") or "").split()
        return not taken or int(taken[0]) != self.told(storage) or float(taken[1]) <= now

    def take(self, storage: Storage, told: int, until: float, failure: str = "") -> None:
        """Note that what had been told so often is taken in, or why not, and that nothing is due there until then."""
        self._redis.hset(self._key, f"taken {storage.number}", f"{told} {until!r}")
        self._redis.hset(self._key, f"failed {storage.number}", failure)

    def failure(self, storage: Storage) -> str:
        """Say why a storage could not be taken in; empty otherwise."""
        return as_text(self._redis.hget(self._key, f"failed {storage.number}") or "")


def due_projects(hub: Hub, atlas: Atlas) -> Iterator[ProjectKey]:
    """Give the projects with data to be taken in."""
    now = time.time()
    for found in atlas.storages.values():
        for project, storage in found:
            if storage.holds == "data" and Arrivals(hub.redis, project).is_due(storage, now):
                yield project


def take_in(hub: Hub, project: ProjectKey) -> None:
    """Have the tool make tasks of what is new where a project's data come from, if events of a cloud are heard at all.

    A storage that fails is noted for ``status``, is tried again later, and takes nothing from what follows.
    """
    if not hub.settings.events:
        return
    arrivals, failures = Arrivals(hub.redis, project), list[str]()
    try:
        for storage in storages_of(hub, project):
            if storage.holds == "data":
                if arrivals.is_due(storage, time.time()):
                    _take_in(hub, project, storage)
                failures.append(arrivals.failure(storage))
    except StudioError as error:
        failures.append(str(error))
    hub.state(project).note("storages", "; ".join(filter(None, failures)))


def _take_in(hub: Hub, project: ProjectKey, storage: Storage) -> None:
    arrivals, now = Arrivals(hub.redis, project), time.time()
    # Before it is taken in: what is told meanwhile may have been passed by.
    told = arrivals.told(storage)
    try:
        if site_of(hub, project.id).take_in(storage):
            arrivals.take(storage, told, now + _LONG_WHILE * hub.settings.scan_seconds)
            _log.info("project %s: what is new in %s is taken in", project, storage.address)
    except StudioError as error:
        failure = f"what is new in {storage.address} could not be taken in: {error}"
        arrivals.take(storage, told, now + _RETRY_SECONDS, failure)
