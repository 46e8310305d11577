"""The sides that a list of labels names; all other inputs go by their content (data/split.py)."""

from collections.abc import Iterable, Mapping

from labelloop.data.listing import Record
from labelloop.data.manifest import Manifest
from labelloop.data.split import side
from labelloop.types import LeftOut, Side

_FIRST: tuple[Side, ...] = ("test", "validation", "train")
"""Which side wins: what is tested on may never have been learned from."""


def with_own_test(manifest: Manifest, named: Mapping[str, Side]) -> dict[str, Side]:
    """Name sides where the test pictures are a set of their own: what the split would test on is learned from too."""
    given = dict(named)
    for item in manifest.items:
        if item.content not in given and side(item.content) == "test":
            given[item.content] = "train"
    return given


def named_sides(pictures: Iterable[tuple[Record, str]]) -> tuple[dict[str, Side], tuple[LeftOut, ...]]:
    """Map pictures (sha256) to the sides that their records name; the second value lists records that lost theirs.

    Of a picture on two sides the test side wins, then validation.
    """
    named = [(record.task, record.side, picture) for record, picture in pictures if record.side]
    sides: dict[str, Side] = {}
    for _, given, picture in named:
        sides[picture] = min(given, sides.get(picture, given), key=_FIRST.index)
    moved = tuple(
        LeftOut(task, f"its picture is on the {sides[picture]} side, too: it is taken for that one, not for {given}")
        for task, given, picture in named
        if given != sides[picture]
    )
    return sides, moved
