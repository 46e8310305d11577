"""From labeled records to items: every file fetched once ever, each under the hash of its content."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeVar

from labelloop.data.listing import Record
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import MediaError, Transient, Unreadable
from labelloop.regions import read_regions
from labelloop.retries import retries
from labelloop.run.context import Missing
from labelloop.sources.reader import READERS
from labelloop.sources.urls import local_file, shown
from labelloop.types import Item, LeftOut, Progress, ProjectKey, Span

_AHEAD = 16 * READERS

TRIES = 4
"""How often a file is asked for in all."""
_FIRST_WAIT = 0.5

_FEW, _SHARE = 5, 0.1

T = TypeVar("T")
R = TypeVar("R")


class _Missing(LeftOut):
    """A task whose file could not be had."""


@dataclass(frozen=True)
class InputFetcher:
    """Fetches the files of labeled records into a cache, several at a time; a text needs no fetching.

    ``read`` gives a record's file: bytes, or a MediaError. ``project`` is whose addresses the cache remembers;
    ``check`` raises Unreadable for what is no input of the kind that is learned. ``wait`` passes the seconds between
    two tries of a file, ``item`` is what sentences call one. ``texts``: what lies in files is texts.
    """

    read: Callable[[Record], bytes]
    cache: PictureCache
    project: ProjectKey
    check: Callable[[bytes], None]
    wait: Callable[[float], None] = time.sleep
    texts: bool = False
    item: str = "picture"

    def fetch(
        self,
        records: Iterable[Record | LeftOut],
        total: int,
        progress: Progress,
        missing: Missing,
        beside: int = 0,
    ) -> Iterator[tuple[Record | LeftOut, Item | LeftOut]]:
        """Give every record with its item, in order, or why it is none: those that are left out already stay so.

        What the cache does not have is fetched, and each new file checked once. ``records`` are read as they are
        needed; about ``total`` labeled ones there are, ``beside`` of them at hand already. ``missing`` counts those
        whose file could not be had this time. Killed and run again, it goes on where it was.

        Raises MediaError when they are so many that the place they come from must be
        out of order: what lacks them would pass for the truth. Raises StoreError when the cache cannot be written.
        """
        done = kept = beside
        for record, found in in_order(self._find, records, _AHEAD, _is_at_hand):
            done += 1
            kept += isinstance(found, Item)
            if isinstance(found, _Missing):
                missing.add(found)
                # Not each of a million is to be waited for when their server is down.
                self._require_most(missing, done, max(total, done))
            yield record, found
            progress(f"{self.item}s", done, max(total, done))
        self._require_most(missing, done, kept + missing.count)

    def _find(self, record: Record | LeftOut) -> Item | LeftOut:
        """Give a record as an item, or say why it is none."""
        if isinstance(record, LeftOut):
            return record
        if record.text:
            return self._text(record)
        found = self._file(record)
        if not isinstance(found, str):
            return found
        if self.texts:
            return self._text_in(record, self.cache.path(found).read_bytes())
        return Item(record.task, found, record.labels, result=record.result, confirmed=record.confirmed)

    def _text(self, record: Record) -> Item | LeftOut:
        try:
            self.check(record.text.encode(errors="surrogatepass"))
        except Unreadable as error:
            return LeftOut(record.task, str(error))
        return Item.of_text(record.task, record.text, record.labels, record.result, confirmed=record.confirmed)

    def _text_in(self, record: Record, content: bytes) -> Item | LeftOut:
        """Give what a file of text says, as if it stood in the list."""
        try:
            text = content.decode("utf-8-sig")
        except ValueError:
            return LeftOut(record.task, f"{shown(record.uri)}: it is no UTF-8 text")
        behind = _last_end(record.result) > len(text)
        if behind or not text.strip():
            what = "a span of it ends behind its last character" if behind else "there is no text in it"
            return LeftOut(record.task, f"{shown(record.uri)}: {what}")
        return self._text(replace(record, text=text))

    def _file(self, record: Record) -> str | LeftOut:
        """Give the sha256 of a record's file (hex), or say why there is none."""
        if record.content and self.cache.has(record.content):
            return record.content
        if not record.uri:
            reason = f"{self.item} {record.content} is not on this machine and its manifest names no address"
            return _Missing(record.task, reason)
        try:
            return self._fetch(record)
        except Unreadable as error:
            return LeftOut(record.task, f"{shown(record.uri)}: {error}")
        except MediaError as error:
            return _Missing(record.task, str(error))

    def _fetch(self, record: Record) -> str:
        name = noted(record.uri)
        picture = self.cache.find(self.project, name)
        if picture is None:
            content = patiently(lambda: self.read(record), self.wait)
            self.check(content)
            picture = self.cache.add(content)
            self.cache.remember(self.project, name, picture)
        if record.content not in ("", picture):
            raise Unreadable(f"its content (sha256 {picture}) is not what the source says ({record.content})")
        return picture

    def _require_most(self, missing: Missing, done: int, total: int) -> None:
        if too_many(missing.count, total):
            raise MediaError(
                f"{missing.count} of the first {done} {self.item}s ({total} in all) could not be had: "
                f"{missing.first[0].reason}"
            )


def _last_end(result: str) -> int:
    """Give where the last span of a truth ends; 0 where it has none, or is of another form."""
    try:
        regions = read_regions(result or "[]")
    except ValueError:
        return 0
    return max((one.shape.end for one in regions if isinstance(one.shape, Span)), default=0)


def _is_at_hand(record: Record | LeftOut) -> bool:
    return isinstance(record, LeftOut) or bool(record.text)


def in_order(
    find: Callable[[T], R], values: Iterable[T], ahead: int, is_quick: Callable[[T], bool] = lambda _: False
) -> Iterator[tuple[T, R]]:
    """Give each value with what came of it, in order; ``ahead`` are under way. Those behind an error never start.

    What ``is_quick`` is found here and now: to hand it to a thread would take longer.
    """
    rest = iter(values)
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="fetch")

    def begun(one: T) -> tuple[T, Callable[[], R]]:
        return one, partial(find, one) if is_quick(one) else pool.submit(find, one).result

    try:
        waiting = deque(map(begun, islice(rest, ahead)))
        while waiting:
            value, result = waiting.popleft()
            yield value, result()
            waiting.extend(map(begun, islice(rest, 1)))
    finally:
        pool.shutdown(cancel_futures=True)


def noted(uri: str) -> str:
    """Give what an address is remembered by: a file's name, size and time, for it may change under its name."""
    path = local_file(uri)
    if path is None:
        return uri
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return uri
    return f"{uri} {facts.st_size} {facts.st_mtime_ns}"


def patiently(read: Callable[[], T], wait: Callable[[float], None] = time.sleep) -> T:
    """Read, up to ``TRIES`` times in all while the error is Transient; waits half a second first, each time doubled.

    Waits vary by half, so that many threads do not come back at once. Raises what the last try raised.
    """
    for left in retries(TRIES, _FIRST_WAIT, spread=0.25, wait=wait):
        try:
            return read()
        except Transient:
            if not left:
                raise
    raise AssertionError("at least one try is made")


def too_many(missing: int, total: int) -> bool:
    """Whether so many of the pictures are missing that the place they come from must be out of order.

    Up to five may be missing, or a tenth; never all of them. A manifest without them would pass for the truth.
    """
    return missing > max(_FEW, _SHARE * total) or 0 < total == missing
