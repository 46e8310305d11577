"""A text as an encoder reads it: sub-tokens with their places in the text, in overlapping windows.

Training and serving cut texts by this code and by the same ``tokenizer.json``, so that they see the same.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from labelloop.types import Json

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_SURROGATES = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_PROBE = "a"


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """How texts are cut for the encoder ``name``: in windows of at most ``length`` sub-tokens.

    Of these the special ones, ``before`` and ``after``, stand in every window; neighbouring windows of a text share
    ``overlap`` of its own. ``pad`` fills shorter windows of a batch.
    """

    name: str
    length: int
    overlap: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    pad: int

    @property
    def room(self) -> int:
        """Sub-tokens of the text itself that a window holds."""
        return self.length - len(self.before) - len(self.after)

    @classmethod
    def read(cls, raw: Json) -> Self:
        """Read what ``model.json`` holds; raises TypeError, KeyError or ValueError for what cuts no text."""
        spec = cls(**{**raw, "before": tuple(raw["before"]), "after": tuple(raw["after"])})
        numbers = (spec.length, spec.overlap, spec.pad, *spec.before, *spec.after)
        if not all(isinstance(one, int) and one >= 0 for one in numbers) or not 0 <= spec.overlap < spec.room:
            raise ValueError("windows must be longer than what they share, and ids whole numbers from 0")
        return spec


@dataclass(frozen=True, slots=True)
class Tokens:
    """The sub-tokens of one text: ``ids``, and the characters from ``starts`` to ``ends``, all (sub-tokens,).

    Blanks around a sub-token are no part of it; one of blanks alone has no characters: its start is its end.
    """

    ids: Ids
    starts: Ids
    ends: Ids

    @property
    def told(self) -> npt.NDArray[np.bool_]:
        """Which sub-tokens have characters: (sub-tokens,)."""
        return np.asarray(self.starts < self.ends)


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts texts for one encoder."""

    tokenizer: Tokenizer
    spec: EncoderSpec

    def tokens(self, text: str) -> Tokens:
        """Split a text into sub-tokens; lone surrogates, which no tokenizer takes, are read as U+FFFD."""
        encoding = self.tokenizer.encode(_SURROGATES.sub(_REPLACEMENT, text), add_special_tokens=False)
        places = [_bare(text, start, end) for start, end in encoding.offsets]
        starts, ends = np.array(places, dtype=np.int64).reshape(-1, 2).T
        return Tokens(np.array(encoding.ids, dtype=np.int64), starts, ends)

    def window(self, tokens: Tokens, first: int, last: int) -> Ids:
        """Give what the encoder gets for the sub-tokens from ``first`` to ``last``; never nothing."""
        spec = self.spec
        ids = np.concatenate((spec.before, tokens.ids[first:last], spec.after)).astype(np.int64)
        return ids if len(ids) else np.array([spec.pad], dtype=np.int64)

    def beginning(self, text: str) -> Ids:
        """Give the first window of a text: what a class is told by."""
        tokens = self.tokens(text)
        return self.window(tokens, 0, min(len(tokens.ids), self.spec.room))

    def places(self, tokens: Tokens) -> list[tuple[int, int]]:
        """Give first and last sub-token of every window of a text."""
        return spread(len(tokens.ids), self.spec.room, self.spec.overlap)


def cutter(tokenizer: Tokenizer, name: str, length: int, pad: int) -> Cutter:
    """Find out how a tokenizer marks the ends of a text; a quarter of a window is shared with the next one."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    probe = tokenizer.encode(_PROBE)
    special = np.array(probe.special_tokens_mask, dtype=bool)
    own = np.flatnonzero(~special)
    first, last = (int(own[0]), int(own[-1]) + 1) if len(own) else (len(special), len(special))
    before, after = tuple(probe.ids[:first]), tuple(probe.ids[last:])
    overlap = (length - len(before) - len(after)) // 4
    return Cutter(tokenizer, EncoderSpec(name, length, overlap, before, after, pad))


def spread(count: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Lay windows of ``room`` over ``count`` places, each sharing ``overlap`` or more with the one before it."""
    if count <= room:
        return [(0, count)]
    starts = [*range(0, count - room, room - overlap), count - room]
    return [(start, start + room) for start in starts]


def merged(count: int, places: Sequence[tuple[int, int]], windows: Sequence[Floats]) -> Floats:
    """Make one row of each sub-token of a text from its rows in all windows that hold it: their weighted mean.

    ``windows`` are (last - first, columns). A window counts the more, the farther a sub-token is from its borders
    within the text, for there it knows less of what stands around.
    """
    total = np.zeros((count, windows[0].shape[1]))
    weight = np.zeros((count, 1))
    for (first, last), rows in zip(places, windows, strict=True):
        at = np.arange(first, last)
        left = at - first + 1 if first else np.full(len(at), last - first)
        right = last - at if last < count else np.full(len(at), last - first)
        share = np.minimum(left, right)[:, None].astype(np.float64)
        total[first:last] += share * rows
        weight[first:last] += share
    return np.asarray(total / np.maximum(weight, 1))


def batches(rows: Sequence[Ids], most: int) -> Iterator[Ids]:
    """Yield positions of rows of about the same length, the longest first; a padded batch has at most ``most`` ids."""
    order = sorted(range(len(rows)), key=lambda at: -len(rows[at]))
    begin = 0
    while begin < len(order):
        size = max(1, most // max(1, len(rows[order[begin]])))
        yield np.array(order[begin : begin + size], dtype=np.int64)
        begin += size


def padded(rows: Sequence[Ids], pad: int) -> tuple[Ids, Ids]:
    """Fill rows up to the longest: ids and mask, both (rows, length)."""
    length = max(map(len, rows))
    ids = np.full((len(rows), length), pad, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)], mask[at, : len(row)] = row, 1
    return ids, mask


def _bare(text: str, start: int, end: int) -> tuple[int, int]:
    """Take the blanks away that some tokenizers count to a word."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
