"""Which file each task of a project shows (its sha256), as far as somebody has read it: nobody reads it again to know.

A task whose data have changed shows another address, and so is not known before that was read.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.models.row_shard import Shard, packed
from labelloop.models.row_shards import RowShards
from labelloop.models.store import Store
from labelloop.types import ProjectKey

_ROW = np.dtype([("task", "<u8"), ("content", "S32")])

Shown = tuple[int, str]
"""A task's number, and the address of the file that it shows; or the text that stands in the task."""


class TaskContents:
    """What a project's tasks show: 72 bytes of each lie in the store, and below ``cache`` on this machine.

    Every method raises StoreError. Not to be shared between threads.
    """

    def __init__(self, store: Store, project: ProjectKey, cache: Path) -> None:
        place = f"{project}/contents"
        self._shards = RowShards(store, f"{place}/", cache / place, _ROW)

    def find(self, tasks: Sequence[Shown]) -> list[str]:
        """Give the sha256 (hex) of what each task shows, in order; empty where that is not known."""
        rows, found = self._shards.find([_key(one) for one in tasks])
        whole = np.where(found, rows["content"], b"").tolist()
        # What NumPy takes for padding belongs to the hash.
        return [one.ljust(32, b"\0").hex() if known else "" for one, known in zip(whole, found, strict=True)]

    def note(self, tasks: Sequence[Shown], contents: Sequence[str]) -> None:
        """Note what tasks show, in the order of their contents (sha256, hex)."""
        rows = np.zeros(len(tasks), dtype=_ROW)
        rows["task"], rows["content"] = [task for task, _ in tasks], packed(contents)
        self._shards.add([_key(one) for one in tasks], rows)

    def shown_by(self, tasks: Iterable[int]) -> set[str]:
        """Give all that these tasks show, or have shown before their data changed: sha256, hex."""
        wanted, found = _numbers(tasks), set[str]()
        for shard in self._shards.shards():
            rows = shard.rows[np.isin(shard.rows["task"], wanted)]
            found |= {one.ljust(32, b"\0").hex() for one in rows["content"].tolist()}
        return found

    def forget(self, tasks: Iterable[int], contents: Collection[str]) -> int:
        """Forget tasks, and whichever show one of the ``contents`` (sha256, hex); gives how many entries that were."""
        wanted, gone = _numbers(tasks), packed(sorted(contents))

        def is_meant(shard: Shard) -> npt.NDArray[np.bool_]:
            found: npt.NDArray[np.bool_] = np.isin(shard.rows["task"], wanted) | np.isin(shard.rows["content"], gone)
            return found

        return self._shards.remove(is_meant)


def _key(shown: Shown) -> str:
    task, address = shown
    return hashlib.sha256(f"{task}\n{address}".encode(errors="surrogatepass")).hexdigest()


def _numbers(tasks: Iterable[int]) -> npt.NDArray[np.uint64]:
    return np.fromiter(tasks, dtype=np.uint64)
