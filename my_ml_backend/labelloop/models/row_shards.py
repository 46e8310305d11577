"""Rows of numbers by a sha256: shards in the store, and copies on this machine that are mapped into memory.

A shard is written whole, named by the sha256 of its content, and never changed. So any number of processes may add,
read and merge at once; at worst a row lies in two shards, and which of them is read does not matter. Four shards of
about the same size are merged into a larger one, until that is full: a row is written half a dozen times at most, and
there are a score of small shards beside the full ones, however few rows come at a time.

In memory are 24 bytes of each row, never the rows: those that are asked for are read from their files.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from labelloop.errors import Damaged, NotFound
from labelloop.files import cannot_keep, file_lock, is_sha256, link_or_copy, sha256, whole_file
from labelloop.models.row_shard import KEY_BYTES, Keys, Rows, Shard, numbers_of, packed, read_shard, shard_file
from labelloop.models.store import Store, checked_prefix

_log = logging.getLogger(__name__)

SHARD_BYTES = 8 << 20
"""What a full shard has: 3,200 rows of 1,280 numbers, 7,900 of 512."""

_MERGED = 4
_LISTED_SECONDS = 10.0
"""How long a process goes by the shards it knows before it looks for others' in the store."""

_LOCK_SECONDS = 60.0

_LOOKS = 20
"""How often a row is looked for at most while others merge; each time one of them has written a shard meanwhile."""


class _Index(NamedTuple):
    """Where rows lie, by the first 8 bytes of their keys (sorted): shard and place in it, each (n,)."""

    numbers: npt.NDArray[np.uint64]
    shards: npt.NDArray[np.uint32]
    places: npt.NDArray[np.uint32]
    names: tuple[str, ...]


class RowShards:
    """The rows below one ``prefix`` of the store; ``cache`` is the folder of this machine for their copies.

    ``row`` is the dtype of a row, a subarray or a structure; None where only ``remove`` and ``shards`` are asked, and
    any will do. A shard of other rows, or one that is damaged, is never read: it goes, and its rows are missing. Every
    method raises StoreError. Not to be shared between threads.
    """

    def __init__(
        self, store: Store, prefix: str, cache: Path, row: npt.DTypeLike | None, full: int = SHARD_BYTES
    ) -> None:
        self._store, self._prefix, self._cache = store, checked_prefix(prefix), cache
        self._row = None if row is None else np.dtype(row)
        self._row_bytes = KEY_BYTES + (self._row.itemsize if self._row is not None else 0)
        self._most = max(1, full // self._row_bytes)
        self._known: dict[str, npt.NDArray[np.uint64]] = {}
        self._index: _Index | None = None
        self._listed = -math.inf

    def find(self, keys: Sequence[str]) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Give the rows of keys (sha256, hex), zeros where there is none, and tell which there are: bool, (keys,)."""
        wanted = packed(keys)
        rows, found = np.zeros(len(wanted), dtype=self._row), np.zeros(len(wanted), dtype=bool)
        for _ in range(_LOOKS):
            self._fill(wanted, rows, found)
            if found.all() or not self._look():
                break
        return rows, found

    def add(self, keys: Sequence[str], rows: Rows) -> None:
        """Keep rows, in the order of their keys (sha256, hex)."""
        if not keys:
            return
        sorted_keys, order = np.unique(packed(keys), return_index=True)
        for start in range(0, len(order), self._most):
            part = slice(start, start + self._most)
            self._write(sorted_keys[part], rows[order[part]])
        self._merge_small()

    def remove(self, gone: Callable[[Shard], npt.NDArray[np.bool_]]) -> int:
        """Remove the rows that ``gone`` tells of each shard: bool, (n,); gives how many there were.

        Another machine that merges at this very moment may bring one back: whoever must be sure looks again.
        """
        removed = 0
        with self._alone(_LOCK_SECONDS):
            # Anew, until none has any: a shard may have come meanwhile.
            while going := [(name, mask) for name, shard in self._all() if (mask := gone(shard)).any()]:
                for name, mask in going:
                    if (shard := self._open(name)) is not None:
                        self._write(shard.keys[~mask], shard.rows[~mask])
                    self._drop(name)
                    removed += int(mask.sum())
        return removed

    def shards(self) -> Iterator[Shard]:
        """Give all shards, one at a time."""
        yield from (shard for _, shard in self._all())

    def _all(self) -> Iterator[tuple[str, Shard]]:
        self._look(now=True)
        for name in sorted(self._known):
            if (shard := self._open(name)) is not None:
                yield name, shard

    def _fill(self, wanted: Keys, rows: Rows, found: npt.NDArray[np.bool_]) -> None:
        index, numbers = self._indexed(), numbers_of(wanted)
        asked = np.flatnonzero(~found)
        at = np.searchsorted(index.numbers, numbers[asked])
        while True:
            inside = at < len(index.numbers)
            asked, at = asked[inside], at[inside]
            same = index.numbers[at] == numbers[asked]
            asked, at = asked[same], at[same]
            if not len(asked):
                return
            self._take(index, at, asked, wanted, rows, found)
            # Two keys may begin alike, and a shard be damaged whose row lies in another, too.
            left = ~found[asked]
            asked, at = asked[left], at[left] + 1

    def _take(
        self,
        index: _Index,
        at: npt.NDArray[np.intp],
        asked: npt.NDArray[np.intp],
        wanted: Keys,
        rows: Rows,
        found: npt.NDArray[np.bool_],
    ) -> None:
        """Read what the index has ``at`` these places into the rows ``asked`` for, shard by shard."""
        order = np.argsort(index.shards[at], kind="stable")
        numbers, starts = np.unique(index.shards[at][order], return_index=True)
        for number, part in zip(numbers, np.split(order, starts[1:]), strict=True):
            shard = self._open(index.names[number])
            if shard is None:
                continue
            places, into = index.places[at[part]], asked[part]
            right = shard.keys[places] == wanted[into]
            rows[into[right]] = shard.rows[places[right]]
            found[into[right]] = True

    def _indexed(self) -> _Index:
        if math.isinf(self._listed):
            self._look()
        if self._index is None:
            names, held = tuple(self._known), list(self._known.values())
            numbers = np.concatenate([*held, np.empty(0, dtype=np.uint64)])
            order = np.argsort(numbers, kind="stable")
            shards = np.repeat(np.arange(len(held), dtype=np.uint32), [len(one) for one in held])
            places = np.concatenate([*(np.arange(len(one), dtype=np.uint32) for one in held), np.empty(0, np.uint32)])
            self._index = _Index(numbers[order], shards[order], places[order], names)
        return self._index

    def _look(self, *, now: bool = False) -> bool:
        """Bring the shards here that others have written, and forget those that are gone; tells whether any were.

        Where one is gone, the next look comes at once: listing takes time, and may have come too early for the shard
        that it was merged into and too late for itself.
        """
        if not now and time.monotonic() < self._listed + _LISTED_SECONDS:
            return False
        listed = self._sizes().keys()
        self._listed = time.monotonic()
        gone, new = self._known.keys() - listed, sorted(listed - self._known.keys())
        for name in gone:
            self._forget(name)
        for name in new:
            self._open(name)
        if gone:
            self._listed = -math.inf
        for path in self._cache.glob("*.npy"):
            if is_sha256(path.stem) and path.stem not in listed:
                path.unlink(missing_ok=True)
        return bool(gone or new)

    def _sizes(self) -> dict[str, int]:
        """Give the shards in the store with their bytes."""
        found = {}
        for path, size in self._store.sizes(self._prefix):
            name, _, suffix = path.removeprefix(self._prefix).partition(".")
            if suffix == "npy" and is_sha256(name):
                found[name] = size
        return found

    def _open(self, name: str) -> Shard | None:
        """Map a shard, brought here where it is not; None where it is gone or damaged.

        One that is damaged goes; one that is gone stays known until the next look, which shows where its rows are.
        """
        shard = read_shard(self._path(name), self._row)
        if shard is None:
            self._path(name).unlink(missing_ok=True)
            shard = self._fetched(name)
        if shard is not None and name not in self._known:
            self._known[name], self._index = numbers_of(shard.keys), None
        return shard

    def _fetched(self, name: str) -> Shard | None:
        """Bring a shard from the store; one whose content is not what its name says is removed there."""
        path, stored = self._path(name), self._name(name)
        try:
            with whole_file(path, shared=True) as aside:
                if (lies := self._store.file(stored)) is not None:
                    link_or_copy(lies, aside)
                else:
                    self._store.download(stored, aside)
                _require(aside, name)
                # Before others can see it: one that listed the store earlier takes it for a shard that is gone.
                shard = read_shard(aside, self._row)
        except (NotFound, FileNotFoundError):
            self._listed = -math.inf  # merged by another process
            return None
        except Damaged as error:
            _log.warning("%s in the store %s: it is removed, and what was in it is taken anew", stored, error)
            self._drop(name)
            return None
        except OSError as error:
            raise cannot_keep("a shard of features", self._cache, error) from error
        if shard is None:
            self._forget(name)
        return shard

    def _write(self, keys: Keys, rows: Rows) -> str:
        """Write one shard of rows in the order of their sorted keys, and give its name; no rows make none."""
        if not len(keys):
            return ""
        name, content = shard_file(keys, rows)
        self._store.write(self._name(name), content)
        self._open(name)
        return name

    def _merge_small(self) -> None:
        """Merge shards of like sizes, unless another process of this machine is at it."""
        with suppress(BlockingIOError), self._alone(0):
            while (names := self._alike()) and self._merge(names[:_MERGED]):
                pass

    def _alike(self) -> list[str]:
        """Give the smallest shards that are to be merged: of one order of magnitude, none of them full."""
        levels: dict[int, list[str]] = {}
        for name, size in self._sizes().items():
            count = size // self._row_bytes
            if 0 < count < self._most:
                levels.setdefault(int(math.log(count, _MERGED)), []).append(name)
        return next((names for _, names in sorted(levels.items()) if len(names) >= _MERGED), [])

    def _merge(self, names: Sequence[str]) -> bool:
        """Merge shards, as far as they can be read, and tell whether there are fewer now."""
        opened = {name: shard for name in names if (shard := self._open(name)) is not None}
        if len(opened) < 2:
            return False
        keys, order = np.unique(np.concatenate([shard.keys for shard in opened.values()]), return_index=True)
        rows = np.concatenate([shard.rows for shard in opened.values()])
        starts = range(0, len(order), self._most)
        made = {self._write(keys[at : at + self._most], rows[order[at : at + self._most]]) for at in starts}
        # Not before: who looks in between finds a row twice, and never not at all.
        for name in opened.keys() - made:
            self._drop(name)
        return True

    def _drop(self, name: str) -> None:
        self._store.remove(self._name(name))
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)
        if self._known.pop(name, None) is not None:
            self._index = None

    def _alone(self, seconds: float) -> Any:
        self._cache.mkdir(parents=True, exist_ok=True)
        return file_lock(self._cache / ".lock", seconds)

    def _name(self, name: str) -> str:
        return f"{self._prefix}{name}.npy"

    def _path(self, name: str) -> Path:
        return self._cache / f"{name}.npy"


def _require(path: Path, name: str) -> None:
    """Raise Damaged where a file's content is not what its name says."""
    if sha256(path) != name:
        raise Damaged("is damaged")
