"""From a listing to a manifest: every picture fetched once ever, each under the hash of its content."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from labelloop.data.cache import PictureCache
from labelloop.data.duplicates import contradictions
from labelloop.data.formats.addresses import local_file
from labelloop.data.listing import Listing, Record
from labelloop.data.manifest import Manifest
from labelloop.errors import MediaError, Unreadable
from labelloop.pictures import decode
from labelloop.run.download.patience import patiently, too_many
from labelloop.run.download.sources import CONNECTIONS, Sources, open_sources
from labelloop.run.named_sides import named_sides
from labelloop.settings import Settings
from labelloop.studio.urls import shown
from labelloop.types import Item, LeftOut, Progress, ProjectKey, Side

LOCAL = ProjectKey("local", 1)
"""The project of manifests that belong to no Label Studio."""

_AHEAD = 16 * CONNECTIONS
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FetchedListing:
    """A listing with its pictures. The manifest names all that was left out.

    ``sides`` are those that the source named, by picture. ``moved`` are records that another record of the same picture
    contradicts about its side, ``contradicting`` those that another one contradicts about its labels: they are in the
    manifest, and no side of a split has them.
    """

    manifest: Manifest
    sides: dict[str, Side]
    moved: tuple[LeftOut, ...]
    contradicting: tuple[LeftOut, ...]


class _Missing(LeftOut):
    """A record whose picture could not be had."""


def fetch_listing(
    listing: Listing,
    cache: PictureCache,
    settings: Settings,
    progress: Progress,
    project: ProjectKey = LOCAL,
    wait: Callable[[float], None] = time.sleep,
) -> FetchedListing:
    """Fetch what the cache does not have, decode each new picture once; corrupt ones are left out with the reason.

    Killed and run again, it goes on where it was. ``wait`` passes the seconds between two tries of a picture. Raises
    MediaError when too many pictures cannot be had, with the first reason; StoreError when the cache cannot be written.
    """
    items: list[Item] = []
    fetched: list[Record] = []
    left_out = list(listing.left_out)
    missing: list[LeftOut] = []
    total = len(listing.records)
    with open_sources(settings) as sources:
        fetch = _Fetch(sources, cache, project, wait)
        for done, (record, found) in enumerate(_in_order(fetch, listing.records), 1):
            if isinstance(found, str):
                items.append(Item(record.task, found, record.labels))
                fetched.append(record)
            else:
                (missing if isinstance(found, _Missing) else left_out).append(found)
            if too_many(len(missing), total):
                raise MediaError(_why(missing, done, total))
            progress("pictures", done, total)
    sides, moved = named_sides(zip(fetched, (item.picture for item in items), strict=True))
    manifest = Manifest.of(project, listing.kind, listing.classes, items, [*left_out, *missing])
    return FetchedListing(manifest, sides, moved, tuple(contradictions(manifest.items)))


def _why(missing: list[LeftOut], done: int, total: int) -> str:
    return f"{len(missing)} of the first {done} pictures ({total} in all) could not be had: {missing[0].reason}"


def _in_order(fetch: Callable[[T], R], values: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Give each value with what came of it, in order; only so many are under way. Those behind an error never start."""
    rest = iter(values)
    pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch")
    try:
        waiting: deque[tuple[T, Future[R]]] = deque((one, pool.submit(fetch, one)) for one in islice(rest, _AHEAD))
        while waiting:
            value, future = waiting.popleft()
            yield value, future.result()
            waiting.extend((one, pool.submit(fetch, one)) for one in islice(rest, 1))
    finally:
        pool.shutdown(cancel_futures=True)


class _Fetch:
    """Fetches one record's picture, unless the cache has it: the sha256 of its bytes, or why there is none."""

    def __init__(
        self, sources: Sources, cache: PictureCache, project: ProjectKey, wait: Callable[[float], None]
    ) -> None:
        self._sources, self._cache, self._project, self._wait = sources, cache, project, wait

    def __call__(self, record: Record) -> str | LeftOut:
        if record.picture and self._cache.has(record.picture):
            return record.picture
        if not record.uri:
            reason = f"picture {record.picture} is not on this machine and its manifest names no address"
            return _Missing(record.task, reason)
        try:
            return self._find(record)
        except Unreadable as error:
            return LeftOut(record.task, f"{shown(record.uri)}: {error}")
        except MediaError as error:
            return _Missing(record.task, str(error))

    def _find(self, record: Record) -> str:
        name = _noted(record.uri)
        picture = self._cache.find(self._project, name)
        if picture is None:
            content = patiently(lambda: self._sources.read(record.uri), self._wait)
            decode(content)
            picture = self._cache.add(content)
            self._cache.remember(self._project, name, picture)
        if record.picture not in ("", picture):
            raise Unreadable(f"its content (sha256 {picture}) is not what the source says ({record.picture})")
        return picture


def _noted(uri: str) -> str:
    """Give what an address is remembered by: a file's name, size and time, for it may change under its name."""
    path = local_file(uri)
    if path is None:
        return uri
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return uri
    return f"{uri} {facts.st_size} {facts.st_mtime_ns}"
