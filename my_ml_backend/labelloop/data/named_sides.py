"""Sides of the split that a tool names task by task, gathered in the memory of a few bytes each."""

from array import array
from collections.abc import Iterable
from itertools import islice

from labelloop.types import Item, LeftOut, Side, chunks
from labelloop.types import side as own_side

_FIRST: tuple[Side, ...] = ("test", "validation", "train")
"""Which side wins: what is tested on may never have been learned from."""

_AT_ONCE = 4096
_MOST_MOVED = 1000
"""Tasks that lost their side and are named."""


class NamedSides:
    """The sides of tasks as they come. Inputs are known by the first 64 bits of their sha256."""

    def __init__(self) -> None:
        self._inputs, self._tasks, self._named = array("Q"), array("q"), bytearray()

    def add(self, task: int, content: str, side: Side) -> None:
        """Take in the side of a task that shows an input (sha256)."""
        self._inputs.append(_beginning(content))
        self._tasks.append(task)
        self._named.append(_FIRST.index(side))

    def settled(self, items: Iterable[Item]) -> tuple[dict[str, Side], tuple[LeftOut, ...]]:
        """Map those of the items' inputs (sha256) that are elsewhere than their content puts them to their sides.

        Of an input on two sides the test side wins, then validation; the second value names tasks that lost theirs.
        """
        import numpy as np

        if not self._named:
            return {}, ()
        inputs, named = np.frombuffer(self._inputs, np.uint64), np.frombuffer(self._named, np.uint8)
        order = np.lexsort((named, inputs))
        inputs, named = inputs[order], named[order]
        begins = np.concatenate(([True], inputs[1:] != inputs[:-1]))
        known, won = inputs[begins], named[begins]
        lost = np.flatnonzero(won[np.cumsum(begins) - 1] != named)
        sides: dict[str, Side] = {}
        for part in chunks(items, _AT_ONCE):
            asked = np.array([_beginning(item.content) for item in part], np.uint64)
            at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
            for item, place, found in zip(part, at, known[at] == asked, strict=True):
                if found and _FIRST[won[place]] != own_side(item.content):
                    sides[item.content] = _FIRST[won[place]]
        tasks = np.frombuffer(self._tasks, np.int64)[order]
        winners = won[np.cumsum(begins) - 1]
        moved = ((int(tasks[at]), _FIRST[winners[at]], _FIRST[named[at]]) for at in lost)
        return sides, tuple(
            LeftOut(task, f"what it shows is on the {side} side, too: it is taken for that one, not for {given}")
            for task, side, given in sorted(islice(moved, _MOST_MOVED))
        )


def _beginning(content: str) -> int:
    return int(content[:16], 16)
