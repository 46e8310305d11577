"""A linear-chain CRF as it is served: scores of attributes and of moves, and from them how likely each span is.

Lafferty, McCallum and Pereira, "Conditional Random Fields", ICML 2001. It is learned by CRFsuite (recipes/head.py);
here are numpy and plain arrays alone. State 0 is outside; label ``k`` has the states ``1 + 2 * k`` (its first token)
and ``2 + 2 * k`` (the others).
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from labelloop.kinds.named_entity_recognition.features import EDGE, WINDOW
from labelloop.kinds.named_entity_recognition.tokens import Places, ends, fits, pieces, tokenize
from labelloop.types import Region, Span

Floats = npt.NDArray[np.float64]

FLOOR = 0.02
"""The probability from which on a span is found at all."""

_SMALLEST = 1e-100
_WIDE = 2
_REMEMBERED = 32_000_000
"""Bytes of what is remembered of words; beyond, it is summed again."""


@dataclass(frozen=True, eq=False)
class Crf:
    """``weights`` (attributes, states) by ``vocabulary``, ``moves`` (states, states) from one token to the next.

    ``labels`` are the model's own. A span's probability p is shown as ``1 / (1 + exp(-slope * logit(p) - shift))``.
    """

    labels: tuple[str, ...]
    vocabulary: Mapping[str, int]
    weights: Floats
    moves: Floats
    slope: float = 1.0
    shift: float = 0.0
    _told: dict[str, Floats] = field(default_factory=dict, repr=False)

    @cached_property
    def allowed(self) -> Floats:
        """How much each move weighs, exp(moves); nothing where a span goes on that has not begun."""
        found: Floats = np.exp(self.moves)
        for label in range(len(self.labels)):
            begins, goes_on = _states(label)
            found[np.isin(np.arange(len(found)), (begins, goes_on), invert=True), goes_on] = 0.0
        return found

    def find(self, texts: Sequence[str]) -> list[tuple[Region, ...]]:
        """Find the spans of each text with their scores: all that are not too unlikely, no two of them overlapping."""
        return [tuple(apart(self.spans(chain))) for chain in self.chains(texts)]

    def spans(self, chain: "Chain") -> Iterator[Region]:
        """Give all spans of a text that are not too unlikely, overlapping ones too."""
        for label, name in enumerate(self.labels):
            begins, _ = _states(label)
            for first in np.flatnonzero(chain.likely[:, begins] >= FLOOR).tolist():
                for end, likely in self._ends(chain, first, label):
                    place = Span(chain.tokens[first][0], chain.tokens[end - 1][1])
                    yield Region(name, place, calibrated(likely, self.slope, self.shift))

    def chains(self, texts: Sequence[str]) -> list["Chain"]:
        """Run the model over texts, all at once."""
        tokens = [tokenize(text) for text in texts]
        scores = self.scores([[text[a:b] for a, b in one] for text, one in zip(texts, tokens, strict=True)])
        starts = np.cumsum([0, *map(len, tokens)])
        cuts = [
            (int(start) + first, int(start) + last)
            for start, text, one in zip(starts, texts, tokens, strict=False)
            for first, last in pieces(text, one)
        ]
        forward, backward, emitted, begins = run(scores, self.allowed, cuts)
        places = [slice(start, start + len(one)) for start, one in zip(starts.tolist(), tokens, strict=False)]
        return [
            Chain(one, forward[at], backward[at], emitted[at], begins[at])
            for one, at in zip(tokens, places, strict=True)
        ]

    def scores(self, words: Sequence[Sequence[str]]) -> Floats:
        """Give the scores of the states of every word of texts, (words, states), as their attributes weigh."""
        rows: dict[str, int] = {}
        padded: list[int] = []
        real: list[int] = []
        for text in words:
            real += range(len(padded) + _WIDE, len(padded) + _WIDE + len(text))
            padded += [-1] * _WIDE + [rows.setdefault(word, len(rows)) for word in text]
        padded += [-1] * _WIDE
        table = np.array([*map(self.contributions, rows), self._edge])
        at, ids = np.array(real, dtype=np.int64), np.array(padded, dtype=np.int64)
        found: Floats = np.zeros((len(at), len(self.moves)))
        for column, place in enumerate(WINDOW):
            found += table[ids[at + place], column]
        return found

    def contributions(self, word: str) -> Floats:
        """Give what a word adds to the scores of the word that it stands beside, (places of WINDOW, states)."""
        known = self._told.get(word)
        if known is None:
            known = np.array([self._sum(f"{place}{one}" for one in tell(word)) for place, tell in WINDOW.items()])
            if len(self._told) * known.nbytes < _REMEMBERED:
                self._told[word] = known
        return known

    @cached_property
    def _edge(self) -> Floats:
        return np.array([self._sum([f"{place}{EDGE}"]) for place in WINDOW])

    def _sum(self, names: Iterable[str]) -> Floats:
        rows = [row for name in names if (row := self.vocabulary.get(name)) is not None]
        return np.asarray(self.weights[rows].sum(axis=0))

    def _ends(self, chain: "Chain", first: int, label: int) -> Iterator[tuple[int, float]]:
        """Give every end of a span that begins at a token, with how likely it is: the token after its last."""
        begins, goes_on = _states(label)
        others = np.arange(len(self.moves)) != goes_on
        # The weight of all ways that lead to here, by what forward variables are scaled with.
        way, state = float(chain.forward[first, begins]), begins
        for at in range(first + 1, len(chain.tokens) + 1):
            if at == len(chain.tokens) or chain.begins[at]:
                yield at, way
                return
            next_ones = self.allowed[state] * chain.emitted[at] * chain.backward[at]
            likely = way * float(next_ones[others].sum())
            if likely >= FLOOR:
                yield at, likely
            if way * next_ones[goes_on] < FLOOR:
                return
            way *= float(self.allowed[state, goes_on] * chain.emitted[at, goes_on])
            state = goes_on


@dataclass(frozen=True, eq=False)
class Chain:
    """A text that the model has run over: its ``tokens``, and arrays (tokens, states); ``begins`` (tokens,).

    ``forward`` and ``backward`` are the variables of Rabiner (1989, section V.A), so scaled that their product is how
    ``likely`` a state is; ``emitted`` is what a token weighs, by the same scale. ``begins`` tells where a piece does.
    """

    tokens: Places
    forward: Floats
    backward: Floats
    emitted: Floats
    begins: npt.NDArray[np.bool_]

    @property
    def likely(self) -> Floats:
        """How likely each state is, of each token."""
        return self.forward * self.backward


def run(
    scores: Floats, allowed: Floats, cuts: Sequence[tuple[int, int]]
) -> tuple[Floats, Floats, Floats, npt.NDArray[np.bool_]]:
    """Run over pieces of ``scores`` (tokens, states), all of them side by side: see Chain."""
    emitted = np.maximum(np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf)), _SMALLEST)
    forward, backward = np.empty_like(emitted), np.ones_like(emitted)
    begins = np.zeros(len(scores), dtype=bool)
    order = sorted(cuts, key=lambda cut: cut[0] - cut[1])
    starts, lengths = (np.array(one, dtype=np.int64) for one in ([a for a, _ in order], [b - a for a, b in order]))
    begins[starts] = True
    first = np.ones(scores.shape[1])
    first[2::2] = 0.0
    counts = np.searchsorted(-lengths, -np.arange(lengths.max(initial=0)))
    active = [starts[:count] + step for step, count in enumerate(counts.tolist())]
    for step, rows in enumerate(active):
        ways = emitted[rows] * (forward[rows - 1] @ allowed if step else first)
        scale = ways.sum(axis=1, keepdims=True)
        emitted[rows] /= scale
        forward[rows] = ways / scale
    for rows in reversed(active[1:]):
        backward[rows - 1] = (emitted[rows] * backward[rows]) @ allowed.T
    return forward, backward, emitted, begins


def calibrated(likely: float, slope: float, shift: float) -> float:
    """Give a probability as it is shown."""
    bounded = min(max(likely, 1e-9), 1 - 1e-9)
    return float(1 / (1 + np.exp(-(slope * np.log(bounded / (1 - bounded)) + shift))))


def _states(label: int) -> tuple[int, int]:
    return 1 + 2 * label, 2 + 2 * label


def apart(regions: Iterable[Region]) -> list[Region]:
    """Give the likeliest spans that do not overlap a likelier one, in the order of the text."""
    kept: list[Region] = []
    taken: list[tuple[int, int]] = []
    for one in sorted(regions, key=lambda one: (-(one.score or 0.0), ends(one))):
        if fits(taken, ends(one)):
            insort(taken, ends(one))
            kept.append(one)
    return sorted(kept, key=ends)
