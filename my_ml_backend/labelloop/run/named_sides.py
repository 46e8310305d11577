"""The sides that a source names, picture by picture; what a picture is called twice is settled here."""

from collections.abc import Iterable

from labelloop.data.listing import Record
from labelloop.types import LeftOut, Side

_FIRST: tuple[Side, ...] = ("test", "validation", "train")
"""Which side wins: what is tested on may never have been learned from."""


def named_sides(pictures: Iterable[tuple[Record, str]]) -> tuple[dict[str, Side], tuple[LeftOut, ...]]:
    """Map pictures (sha256) to the sides that their records name; the second value lists records that lost theirs.

    Of a picture on two sides the test side wins, then validation.
    """
    named = [(record.task, record.side, picture) for record, picture in pictures if record.side]
    sides: dict[str, Side] = {}
    for _, side, picture in named:
        sides[picture] = min(side, sides.get(picture, side), key=_FIRST.index)
    moved = tuple(
        LeftOut(task, f"its picture is on the {sides[picture]} side, too: it is taken for that one, not for {side}")
        for task, side, picture in named
        if side != sides[picture]
    )
    return sides, moved
