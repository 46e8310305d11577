"""From labeled records to items: every picture fetched once ever, each under the hash of its content."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from labelloop.data.cache import PictureCache
from labelloop.data.listing import Record
from labelloop.errors import MediaError, Unreadable
from labelloop.run.patience import patiently, too_many
from labelloop.sources.reader import CONNECTIONS
from labelloop.sources.urls import local_file, shown
from labelloop.types import Item, LeftOut, Progress, ProjectKey

_AHEAD = 16 * CONNECTIONS
T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Fetched:
    """``items``, and tasks that are ``left_out`` for good, with the reason.

    ``sided`` are the records that name a side, with their pictures (sha256); ``missing`` tasks whose picture could not
    be had this time.
    """

    items: list[Item] = field(default_factory=list)
    sided: list[tuple[Record, str]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    missing: list[LeftOut] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Count the tasks that have been looked at."""
        return len(self.items) + len(self.left_out) + len(self.missing)


class _Missing(LeftOut):
    """A task whose picture could not be had."""


@dataclass(frozen=True)
class InputFetcher:
    """Fetches the files of labeled records into a cache, several at a time; a text needs no fetching.

    ``read`` gives a record's file: bytes, or a MediaError. ``project`` is whose addresses the cache remembers;
    ``check`` raises Unreadable for what is no input of the kind that is learned.
    ``wait`` passes the seconds between two tries of a picture.
    """

    read: Callable[[Record], bytes]
    cache: PictureCache
    project: ProjectKey
    check: Callable[[bytes], None]
    wait: Callable[[float], None] = time.sleep

    def fetch(self, records: Iterable[Record | LeftOut], total: int, progress: Progress) -> Fetched:
        """Fetch what the cache does not have, decode each new picture once; corrupt ones are left out with the reason.

        ``records`` are read as they are needed, about ``total`` of them; those that are left out already stay so.
        Killed and run again, it goes on where it was. Raises MediaError when so many pictures cannot be had that the
        place they come from must be out of order: what lacks them would pass for the truth. Raises StoreError when the
        cache cannot be written.
        """
        fetched = Fetched()
        for record, found in _in_order(self._find, records):
            if isinstance(found, _Missing):
                fetched.missing.append(found)
            elif isinstance(found, LeftOut):
                fetched.left_out.append(found)
            elif isinstance(record, Record):
                fetched.items.append(found)
                if record.side:
                    fetched.sided.append((record, found.content))
            # Not each of a million is to be waited for when their server is down.
            _require_most(fetched, max(total, fetched.done))
            progress("pictures", fetched.done, max(total, fetched.done))
        _require_most(fetched, len(fetched.items) + len(fetched.missing))
        return fetched

    def _find(self, record: Record | LeftOut) -> Item | LeftOut:
        """Give a record as an item, or say why it is none."""
        if isinstance(record, LeftOut):
            return record
        if record.text:
            return self._text(record)
        found = self._file(record)
        return Item(record.task, found, record.labels) if isinstance(found, str) else found

    def _text(self, record: Record) -> Item | LeftOut:
        try:
            self.check(record.text.encode(errors="surrogatepass"))
        except Unreadable as error:
            return LeftOut(record.task, str(error))
        return Item.of_text(record.task, record.text, record.labels)

    def _file(self, record: Record) -> str | LeftOut:
        """Give the sha256 of a record's file (hex), or say why there is none."""
        if record.content and self.cache.has(record.content):
            return record.content
        if not record.uri:
            reason = f"picture {record.content} is not on this machine and its manifest names no address"
            return _Missing(record.task, reason)
        try:
            return self._fetch(record)
        except Unreadable as error:
            return LeftOut(record.task, f"{shown(record.uri)}: {error}")
        except MediaError as error:
            return _Missing(record.task, str(error))

    def _fetch(self, record: Record) -> str:
        name = _noted(record.uri)
        picture = self.cache.find(self.project, name)
        if picture is None:
            content = patiently(lambda: self.read(record), self.wait)
            self.check(content)
            picture = self.cache.add(content)
            self.cache.remember(self.project, name, picture)
        if record.content not in ("", picture):
            raise Unreadable(f"its content (sha256 {picture}) is not what the source says ({record.content})")
        return picture


def _require_most(fetched: Fetched, total: int) -> None:
    if too_many(len(fetched.missing), total):
        raise MediaError(
            f"{len(fetched.missing)} of the first {fetched.done} pictures ({total} in all) could not be had: "
            f"{fetched.missing[0].reason}"
        )


def _in_order(find: Callable[[T], R], values: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Give each value with what came of it, in order; only so many are under way. Those behind an error never start."""
    rest = iter(values)
    pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch")
    try:
        waiting: deque[tuple[T, Future[R]]] = deque((one, pool.submit(find, one)) for one in islice(rest, _AHEAD))
        while waiting:
            value, future = waiting.popleft()
            yield value, future.result()
            waiting.extend((one, pool.submit(find, one)) for one in islice(rest, 1))
    finally:
        pool.shutdown(cancel_futures=True)


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
