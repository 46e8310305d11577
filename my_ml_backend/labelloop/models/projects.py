"""Which folder of the store is which project's (docs/projects.md).

A project is what its Label Studio calls it: a number and a creation time. The address is an alias, for whoever knows
the number only. ``_projects/<number>.json`` names the projects of one number; no folder can be called so by accident.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from labelloop.errors import Conflict, Damaged
from labelloop.models.champion import ChampionPointer
from labelloop.models.records import find_object, from_bytes, now, to_bytes, update
from labelloop.models.runs import Runs
from labelloop.models.store import Store
from labelloop.models.versions import Versions
from labelloop.types import LABELBOX, Identity, ProjectKey

_log = logging.getLogger(__name__)

_INDEX = "_projects/"
_CLOCKS = 3600
"""Seconds by which the clocks of Label Studio and of whoever wrote the store may differ."""

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_USUAL_PORTS = ("", ":80", ":443")


def spellings(studio_url: str) -> tuple[str, ...]:
    """Give the names a Label Studio has by its address: as it is spelled, then as it might be spelled as well.

    ``http://localhost:8080`` gives ``localhost-8080``, ``127.0.0.1-8080`` and ``1-8080``. Raises ValueError for what is
    no address.
    """
    parts = urlsplit(studio_url)
    port, host = parts.port, parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    hosts = _LOOPBACK if bracketed in _LOOPBACK else (bracketed,)
    ports = _USUAL_PORTS if port in (None, 80, 443) else (f":{port}",)
    others = (ProjectKey.of(f"http://{name}{end}{parts.path}", 0).instance for name in hosts for end in ports)
    return tuple(dict.fromkeys([ProjectKey.of(studio_url, 0).instance, *others]))


def own_key(identity: Identity) -> ProjectKey:
    """Say where a project lies that was never kept under an address; the identity tells its creation time."""
    return ProjectKey(str(identity.created), identity.id)


@dataclass(frozen=True, slots=True)
class KnownProject:
    """One project: when it was created (Unix seconds), its folder, and since when it is the one of that number where.

    ``addresses`` maps a Label Studio's name by its address to that moment (UTC, ISO 8601). ``copied_from`` is the
    folder whose versions ``labelloop move`` has brought.
    """

    created: int
    folder: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    copied_from: str = ""

    @property
    def key(self) -> ProjectKey:
        """Where it lies."""
        return ProjectKey.parse(self.folder)


@dataclass(frozen=True, slots=True)
class _Record:
    """``_projects/<number>.json``."""

    projects: tuple[KnownProject, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A folder that is no project's of today: ``created`` and ``addresses`` of the one it was, where that is known.

    ``copied_to`` is the folder that took its versions over, empty for none.
    """

    key: ProjectKey
    created: int | None = None
    addresses: tuple[str, ...] = ()
    copied_to: str = ""


class ProjectPlace(NamedTuple):
    """Where a project lies; ``settled`` when the store says so, otherwise that is where it would be kept."""

    key: ProjectKey
    settled: bool


class Projects:
    """Finds and keeps where the projects lie of the Label Studio that has these ``addresses``, its own spelling first.

    Safe to share between threads and processes: a folder belongs to one project, whoever asks at the same time.
    """

    def __init__(self, store: Store, addresses: tuple[str, ...]) -> None:
        self._store = store
        self._addresses = addresses

    def find(self, identity: Identity) -> ProjectPlace:
        """Say where a project lies; nothing is written. Raises StoreError.

        Without a creation time it is the project that was found last at this address.
        """
        known = self._read(identity.id)
        project = _created(known, identity.created) if identity.created else self._current(known)
        if project is not None:
            return ProjectPlace(project.key, settled=True)
        old = next(self._old_folders(known, identity), None)
        if old is not None:
            return ProjectPlace(old, settled=False)
        if identity.created is None:
            return ProjectPlace(ProjectKey(self._addresses[0], identity.id), settled=False)
        return ProjectPlace(own_key(identity), settled=False)

    def claim(self, identity: Identity) -> ProjectKey:
        """Keep that this Label Studio has the project now, and say where it lies; what is new is logged.

        A folder that was made under this address before projects had an identity becomes the project's. The identity
        tells its creation time, and comes from Label Studio's API, not from a request. Raises StoreError.
        """
        said: list[str] = []
        claimed = own_key(identity)

        def change(content: bytes | None) -> bytes | None:
            nonlocal claimed
            known = self._parse(identity.id, content)
            before, project = self._current(known), _created(known, identity.created)
            said.clear()
            if project is None:
                project = self._begin(known, identity, before, said)
            claimed = project.key
            if project is before:
                return None
            here = replace(project, addresses={**project.addresses, self._addresses[0]: now()})
            others = [one for one in known if one.created != identity.created]
            return to_bytes(_Record((*others, here)))

        update(self._store, _path(identity.id), change)
        for sentence in said:
            _log.warning("%s", sentence)
        return claimed

    def is_claimed(self, key: ProjectKey) -> bool:
        """Say whether a folder is that of a project with an identity; raises StoreError."""
        return _claimed(self._read(key.id), key)

    def copied_from(self, key: ProjectKey) -> str:
        """Name the folder whose versions the project that lies here has taken over; empty for none."""
        return next((one.copied_from for one in self._read(key.id) if one.folder == str(key)), "")

    def note_copy(self, key: ProjectKey, source: ProjectKey) -> None:
        """Keep that the project that lies here takes over another folder; raises Conflict where none lies here."""

        def change(content: bytes | None) -> bytes | None:
            known = self._parse(key.id, content)
            if not _claimed(known, key):
                raise Conflict(
                    f"{key} is no project's that Label Studio was asked for: `labelloop doctor --project {key.id}` asks"
                )
            noted = [replace(one, copied_from=str(source)) if one.folder == str(key) else one for one in known]
            return None if tuple(noted) == known else to_bytes(_Record(tuple(noted)))

        update(self._store, _path(key.id), change)

    def here(self) -> dict[int, ProjectKey]:
        """Find the projects of this Label Studio: the last found of each number, and folders that wait for theirs."""
        found: dict[int, ProjectKey] = {}
        known = dict(self._all())
        for address in reversed(self._addresses):
            for key in self._folders(address):
                if not _claimed(known.get(key.id, ()), key):
                    found[key.id] = key
        current = {number: self._current(projects) for number, projects in known.items()}
        return found | {number: project.key for number, project in current.items() if project is not None}

    def left_over(self) -> list[LeftOver]:
        """Name what else the store holds: folders that are not those of the projects found last, at any address.

        ``local`` and model runs of Labelbox, which no Label Studio has, are not among them.
        """
        known = dict(self._all())
        entries = {one.folder: one for projects in known.values() for one in projects}
        used = {str(key) for key in self.here().values()}
        for projects in known.values():
            for address in {address for one in projects for address in one.addresses}:
                current = _newest(projects, (address,))
                used |= {current.folder} if current else set()
        copied = {one.copied_from: one.folder for one in entries.values() if one.copied_from}
        instances = [name for name in self._store.names("") if name != "local" and not name.startswith(LABELBOX)]
        return [
            LeftOver(
                key,
                entries[str(key)].created if str(key) in entries else None,
                tuple(entries[str(key)].addresses) if str(key) in entries else (key.instance,),
                copied.get(str(key), ""),
            )
            for instance in instances
            for key in self._folders(instance)
            if str(key) not in used
        ]

    def _begin(
        self, known: tuple[KnownProject, ...], identity: Identity, before: KnownProject | None, said: list[str]
    ) -> KnownProject:
        """Make the entry of a project that was never met, and say what there is to know about it."""
        made = f"project {identity.id}, created {format_moment(identity.created)},"
        old = next(self._old_folders(known, identity), None)
        if old is not None:
            champion = self._champion(old) or "no champion"
            said.append(f"{made} goes on in {old}, which was kept under the address of Label Studio: {champion}")
            return KnownProject(identity.created or 0, str(old))
        fresh = own_key(identity)
        passed = [str(key) for key in self._unclaimed(known, identity.id)]
        if before is not None:
            passed.append(before.folder)
            said.append(
                f"{made} is another one than the project {identity.id} that was at this address before, created "
                f"{format_moment(before.created)}: it begins anew in {fresh}, and {before.folder} stays as it is"
            )
        elif passed:
            said.append(f"{made} begins anew in {fresh}: {', '.join(passed)} is older than the project, so another's")
        return KnownProject(identity.created or 0, str(fresh))

    def _old_folders(self, known: tuple[KnownProject, ...], identity: Identity) -> Iterator[ProjectKey]:
        """Give folders kept under this address that are nobody's yet and may be the project's."""
        for key in self._unclaimed(known, identity.id):
            begun = self._begun(key) if identity.created else None
            # What was made before the project was made is another project's: a fresh Label Studio took its address.
            if begun is None or identity.created is None or begun > identity.created - _CLOCKS:
                yield key

    def _unclaimed(self, known: tuple[KnownProject, ...], number: int) -> Iterator[ProjectKey]:
        for address in self._addresses:
            key = ProjectKey(address, number)
            if not _claimed(known, key) and self._store.names(f"{key}/"):
                yield key

    def _begun(self, key: ProjectKey) -> float | None:
        """Say when the first champion of a folder was made (Unix seconds), or what else there is; None for nothing."""
        with suppress(Damaged, ValueError):
            if reigns := ChampionPointer(self._store, key).read().history:
                return datetime.fromisoformat(reigns[0].at).timestamp()
            if versions := Versions(self._store, key).all():
                return datetime.fromisoformat(versions[0].created).timestamp()
            if runs := Runs(self._store, key).all():
                return datetime.fromisoformat(runs[0].created).timestamp()
        return None

    def _champion(self, key: ProjectKey) -> str:
        try:
            champion = ChampionPointer(self._store, key).read().champion
        except Damaged:
            return "its champion file is damaged"
        return f"its champion is {champion}" if champion else ""

    def _current(self, known: tuple[KnownProject, ...]) -> KnownProject | None:
        """Give the project that was found last at this address."""
        return _newest(known, self._addresses)

    def _folders(self, instance: str) -> Iterator[ProjectKey]:
        for name in self._store.names(f"{instance}/"):
            with suppress(ValueError):
                yield ProjectKey.parse(f"{instance}/{name}")

    def _all(self) -> Iterator[tuple[int, tuple[KnownProject, ...]]]:
        for name in self._store.names(_INDEX):
            number = name.removesuffix(".json")
            if number.isdigit():
                yield int(number), self._read(int(number))

    def _read(self, number: int) -> tuple[KnownProject, ...]:
        found = find_object(self._store, _path(number))
        return self._parse(number, found.content if found else None)

    def _parse(self, number: int, content: bytes | None) -> tuple[KnownProject, ...]:
        if content is None:
            return ()
        path = _path(number)
        try:
            entries = from_bytes(_Record, content, path).projects
            return tuple(_entry(number, json.dumps(entry).encode(), path) for entry in entries)
        except (Damaged, TypeError, ValueError, AttributeError) as error:
            raise Damaged(
                f"{path} is damaged: restore it from a backup of the store, or remove it; then the projects of that "
                "number are found anew by their addresses"
            ) from error


def _path(number: int) -> str:
    return f"{_INDEX}{number}.json"


def _entry(number: int, content: bytes, path: str) -> KnownProject:
    """Read one of the projects of a number; raises an error of some kind where it is damaged."""
    project = from_bytes(KnownProject, content, path)
    if project.key.id != number or not all(isinstance(at, str) for at in project.addresses.values()):
        raise ValueError(f"{project.folder} is no folder of a project {number}")
    return project


def _created(known: tuple[KnownProject, ...], created: int | None) -> KnownProject | None:
    return next((project for project in known if project.created == created), None)


def _claimed(known: tuple[KnownProject, ...], key: ProjectKey) -> bool:
    return any(project.folder == str(key) for project in known)


def _newest(known: tuple[KnownProject, ...], addresses: tuple[str, ...]) -> KnownProject | None:
    found = [(moment, project) for project in known for at, moment in project.addresses.items() if at in addresses]
    return max(found, key=lambda one: one[0])[1] if found else None


def format_moment(created: int | None) -> str:
    """Write a creation time for people."""
    return datetime.fromtimestamp(created or 0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
