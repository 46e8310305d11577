"""Texts with parts that are marked: what of them is shown, and how it is cut where marks begin and end."""

from collections.abc import Sequence
from itertools import pairwise

from labelloop.types import Json


def marked_text(text: str, regions: Sequence[Json], begin: int = 0, end: int | None = None) -> list[Json]:
    """Cut a text, from ``begin`` to ``end``, where regions begin and end.

    Each part has its ``text``, the ``mark`` of the shortest region that it is in ("" for none), and the ``labels`` of
    those that end with it: they may lie in each other. ``regions`` hold a ``span``, ``label``, and perhaps ``mark``.
    """
    end = len(text) if end is None else end
    inside = [(max(begin, one["span"][0]), min(end, one["span"][1]), one) for one in regions]
    inside = [one for one in inside if one[0] < one[1]]
    cuts = sorted({begin, end, *(place for start, stop, _ in inside for place in (start, stop))})
    parts = []
    for start, stop in pairwise(cuts):
        around = sorted(
            (last - first, at) for at, (first, last, _) in enumerate(inside) if first <= start and stop <= last
        )
        mark = inside[around[0][1]][2].get("mark", "plain") if around else ""
        labels = [one["label"] for _, last, one in inside if last == stop]
        parts.append({"text": text[start:stop], "mark": mark, "labels": labels})
    return parts


def around(text: str, regions: Sequence[Json], most: int = 400) -> tuple[int, int]:
    """Give where what is shown of a text begins and ends: ``most`` characters, with its first region in the middle."""
    if len(text) <= most:
        return 0, len(text)
    begin = min((one["span"][0] for one in regions), default=0) - most // 2
    begin = max(0, min(begin, len(text) - most))
    return begin, begin + most
