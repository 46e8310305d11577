"""Copying a store to another while the loop goes on, and back: whatever a copy names is in it (docs/operations.md).

What names others is copied before what it names: the champion pointer before versions, a version's record before its
bundle. For whatever is named was there first, and is there still when its turn comes. ``tar`` and ``aws s3 sync`` go by
name, and may take a pointer to a version that they passed before it was there.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labelloop.bundle_info import SHARED
from labelloop.errors import Conflict, NotFound, StoreError
from labelloop.models.backbones import FOLDER, place
from labelloop.models.champion import ChampionPointer
from labelloop.models.records import find_object
from labelloop.models.store import Store
from labelloop.models.versions import Versions
from labelloop.types import Progress, ProjectKey

_SETTLED = re.compile(r"[^/]+/\d+/(?:manifests/|backbones/|versions/v\d+/(?!version\.json)|watch/v\d+/reference\.json)")
"""What is written once, or anew with the same in it: where a copy has it as long, it is not written again."""

_RANKS = (
    re.compile(r"[^/]+/\d+/runs/.*"),
    re.compile(r"_.*|[^/]+/\d+/[^/]+"),
    re.compile(r"[^/]+/\d+/versions/v\d+/[^/]+\.json"),
    re.compile(r"[^/]+/\d+/.*"),
)
"""Which objects are copied together: runs, pointers and indexes, versions' records, all else.

A run that is not over in the copy goes on where it stands, though its version be champion already; one that is over
would leave its version behind where the pointer was copied before.
"""

_MADE_AGAIN = re.compile(r"[^/]+/\d+/(?:features|contents)/.*")
"""What is not copied: a restored store takes features anew."""

_MARK = "labelloop-restore/source"
"""Where a restore keeps from where it takes what it writes, as long as it is not whole."""

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup or a restore has written, how many objects the copy has already had, and of which projects."""

    objects: int
    size: int
    skipped: int
    projects: tuple[ProjectKey, ...]


def stored_projects(store: Store) -> Iterator[ProjectKey]:
    """Name all folders of projects and model runs that a store holds, whoever they belong to today."""
    for instance in store.names(""):
        for number in () if instance.startswith("_") else store.names(f"{instance}/"):
            with suppress(ValueError):
                yield ProjectKey.parse(f"{instance}/{number}")


def back_up(store: Store, target: Store, progress: Progress) -> Copied:
    """Copy a store into another one, which may hold an older copy: nothing is removed there.

    Processes may go on meanwhile. Where versions were promoted and pruned faster than they are copied it begins again.
    Raises StoreError.
    """
    for left in reversed(range(_TRIES)):
        copied = _copy(store, target, _RANKS, progress)
        broken = [problem for project in copied.projects for problem in _broken(target, project)]
        if not broken:
            return copied
        if not left:
            raise StoreError(f"the copy is not whole: {'; '.join(broken)}. Try again while nothing is pruned")
    raise AssertionError("at least one copy is made")


def restore(source: Store, store: Store, name: str, progress: Progress) -> Copied:
    """Copy a backup, called ``name``, into an empty store; nobody may use that meanwhile. Killed, it goes on.

    Raises Conflict where the store holds projects already, StoreError.
    """
    mark = find_object(store, _MARK)
    if mark is None and next(stored_projects(store), None) is not None:
        raise Conflict("the store holds projects already: let LABELLOOP_STORE name an empty place to restore into")
    if mark is not None and mark.content != name.encode():
        raise Conflict(f"the store is half restored from {mark.content.decode()}: go on with that, or empty it")
    if next(stored_projects(source), None) is None:
        raise NotFound(f"{name} holds no project: is it a backup of a store?")
    store.write(_MARK, name.encode())
    # Pointers last: who looks too early finds projects without versions, and none without its bundle.
    copied = _copy(source, store, _RANKS[::-1], progress)
    store.remove(_MARK)
    return copied


def is_half_restored(store: Store) -> bool:
    """Say whether a restore into this store was cut off."""
    return find_object(store, _MARK) is not None


def _copy(source: Store, target: Store, ranks: tuple[re.Pattern[str], ...], progress: Progress) -> Copied:
    there = dict(target.sizes(""))
    objects = size = skipped = 0
    projects: dict[ProjectKey, None] = {}
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder) / "object"
        for rank in ranks:
            # Listed anew for each: what was named a moment ago is among them.
            for path, length in source.sizes(""):
                if _rank(path) is not rank or _MADE_AGAIN.match(path):
                    continue
                with suppress(ValueError):
                    projects[ProjectKey.parse("/".join(path.split("/")[:2]))] = None
                if there.get(path) == length and _SETTLED.match(path):
                    skipped += 1
                    continue
                # Removed meanwhile: what names it is found out afterwards.
                with suppress(NotFound):
                    source.download(path, aside)
                    target.upload(path, aside)
                    objects, size = objects + 1, size + aside.stat().st_size
                progress("objects", objects, 0)
    return Copied(objects, size, skipped, tuple(projects))


def _rank(path: str) -> re.Pattern[str] | None:
    return next((rank for rank in _RANKS if rank.fullmatch(path)), None)


def _broken(store: Store, project: ProjectKey) -> Iterator[str]:
    """Say which versions that serve, or did before, a copy does not have whole."""
    pointers = ChampionPointer(store, project).read()
    for version in dict.fromkeys((pointers.champion, pointers.announced, pointers.predecessor)):
        record = Versions(store, project).find(version) if version else None
        if version and (record is None or not _is_whole(store, project, f"versions/{version}/{record.bundle}/")):
            yield f"{version} of {project} is not in it"


def _is_whole(store: Store, project: ProjectKey, bundle: str) -> bool:
    """Whether the files are there that a bundle's description names."""
    try:
        named = json.loads(store.read(f"{project}/{bundle}model.json").content)["files"].items()
    except (NotFound, ValueError, KeyError, TypeError, AttributeError):
        return False
    shared = {place(project, known, name) for name, known in named if name in SHARED}
    own = {name for name, _ in named if name not in SHARED}
    return own <= {*store.names(f"{project}/{bundle}")} and shared <= {*store.walk(f"{project}/{FOLDER}/")}
