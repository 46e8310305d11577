"""How many annotations each task of a project has: by their sum it is known that no change was missed."""

import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

_ENTRY_BYTES = 16


@dataclass(frozen=True, slots=True)
class AnnotationCounts:
    """Tasks in order (their numbers), and how many annotations each has, skipped ones too: 12 bytes a task."""

    tasks: npt.NDArray[np.int64]
    counts: npt.NDArray[np.uint32]

    @property
    def total(self) -> int:
        """How many annotations there are in all."""
        return int(self.counts.sum(dtype=np.int64))

    def fell(self, now: Mapping[int, int]) -> bool:
        """Whether some task has fewer annotations now than it had."""
        tasks = np.array(sorted(now), np.int64)
        known = np.isin(self.tasks, tasks)
        return any(now[task] < had for task, had in zip(self.tasks[known].tolist(), self.counts[known], strict=True))

    def changed(self, now: Mapping[int, int]) -> Self:
        """Give the counts with some tasks as they are now; one without annotations is left out."""
        gone = np.array(sorted(now), np.int64)
        at = np.searchsorted(self.tasks, gone)
        there = at[self.tasks[np.minimum(at, len(self.tasks) - 1)] == gone] if len(self.tasks) else at[:0]
        tasks, counts = np.delete(self.tasks, there), np.delete(self.counts, there)
        came = gone[[now[task] > 0 for task in gone.tolist()]] if len(gone) else gone
        at = np.searchsorted(tasks, came)
        new = np.array([now[task] for task in came.tolist()], np.uint32)
        return type(self)(np.insert(tasks, at, came), np.insert(counts, at, new))

    def packed(self) -> bytes:
        """Spell them; where tasks are numbered without gaps and annotated once, a million take a few kilobytes."""
        steps = np.diff(self.tasks, prepend=0)
        return zlib.compress(np.concatenate((steps, self.counts)).astype("<i8").tobytes(), 1)

    @classmethod
    def unpacked(cls, content: bytes) -> Self:
        """Read what ``packed`` wrote; raises ValueError for anything else."""
        try:
            held = zlib.decompress(content)
        except zlib.error as error:
            raise ValueError("counts of annotations are damaged") from error
        if len(held) % _ENTRY_BYTES:
            raise ValueError("counts of annotations are damaged")
        steps, counts = np.split(np.frombuffer(held, "<i8").astype(np.int64), 2)
        return cls(np.cumsum(steps), counts.astype(np.uint32))


class Counting:
    """Takes tasks one by one, in order, with how many annotations each has."""

    def __init__(self) -> None:
        self._tasks, self._counts = array("q"), array("I")

    def add(self, task: int, count: int) -> None:
        """Take one more task."""
        if count:
            self._tasks.append(task)
            self._counts.append(count)

    def all(self) -> AnnotationCounts:
        """Give what was counted."""
        return AnnotationCounts(np.array(self._tasks, np.int64), np.array(self._counts, np.uint32))
