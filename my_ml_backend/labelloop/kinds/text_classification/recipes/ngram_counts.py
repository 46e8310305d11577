"""How often texts have n-grams: counted word by word, each different word once, and block by block.

What a text holds of n-grams of characters is what its words hold of them, a product of two sparse matrices. All of them
together take far more memory than the texts, and most are in few texts: so it is found first in how many texts each is,
and then those that a head looks at are counted.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]

from labelloop.kinds.text_classification.reading import MOST, ngrams_within, words

Rows = npt.NDArray[np.intp]
Ids = npt.NDArray[np.int32]
Pairs = npt.NDArray[np.int64]

AT_ONCE = 4096
"""Texts that are looked at together: dense, what is common among n-grams may be 20,000 numbers for each of them."""

_SECOND = 0xFFFFFFFF
"""Where a pair of words has its second one."""


class Counted(NamedTuple):
    """N-grams by their ``names``; ``counts`` gives how often each, by column, is in some of the texts, by row."""

    names: list[str]
    counts: Callable[[slice], Any]


def parts(texts: int) -> Iterator[slice]:
    """Part so many texts."""
    return (slice(begun, min(begun + AT_ONCE, texts)) for begun in range(0, texts, AT_ONCE))


@dataclass(frozen=True, slots=True)
class Numbered:
    """Lists of names as numbers: ``ids[starts[i]:starts[i + 1]]`` are those of list i, places in ``names``."""

    names: list[str]
    ids: Ids
    starts: Rows

    @classmethod
    def of(cls, said: Iterable[Sequence[str]]) -> Self:
        """Number names by first sight; one list at a time is held."""
        known: defaultdict[str, int] = defaultdict(itertools.count().__next__)
        ids = [np.fromiter(map(known.__getitem__, one), dtype=np.int32, count=len(one)) for one in said]
        return cls([*known], *_joined(ids))

    def counts(self, part: slice) -> Any:
        """Count how often each name, by column, is in some of the lists, by row."""
        return _counts(*self._part(part), len(self.names))

    def neighbours(self, part: slice) -> tuple[Pairs, Rows]:
        """Give each pair of neighbours in some of the lists, as a number, and in which of these lists it is."""
        ids, starts = self._part(part)
        owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        beside = owner[1:] == owner[:-1]
        return (ids[:-1].astype(np.int64) << 32 | ids[1:])[beside], owner[1:][beside]

    def spelled(self, pairs: Pairs) -> list[str]:
        """Spell pairs of neighbours."""
        return [f"{self.names[pair >> 32]} {self.names[pair & _SECOND]}" for pair in pairs.tolist()]

    def _part(self, part: slice) -> tuple[Ids, Rows]:
        starts = self.starts[part.start : part.stop + 1]
        return self.ids[starts[0] : starts[-1]], starts - starts[0]


def counted(ids: Sequence[Ids], width: int) -> Any:
    """Count how often each number below ``width``, by column, is in each of the lists, by row."""
    return _counts(*_joined(ids), width)


@dataclass(frozen=True, eq=False)
class WordNGrams:
    """Words, and after them ``pairs`` of neighbours; ``texts_with`` says in how many texts each is."""

    words: Numbered
    pairs: Pairs
    texts_with: Rows

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Look for them."""
        said = Numbered.of(map(words, texts))
        single = np.zeros(len(said.names), dtype=np.intp)
        seen: list[Pairs] = [np.zeros(0, dtype=np.int64)]
        with_them: list[Rows] = [np.zeros(0, dtype=np.intp)]
        for part in parts(len(texts)):
            single += _rows_with(said.counts(part))
            pairs, owner = said.neighbours(part)
            seen.append(np.unique(pairs))
            with_them.append(_rows_with(_of_pairs(pairs, owner, seen[-1], part)))
        every, place = np.unique(np.concatenate(seen), return_inverse=True)
        double = np.zeros(len(every), dtype=np.intp)
        np.add.at(double, place.ravel(), np.concatenate(with_them))
        return cls(said, every, np.concatenate((single, double)))

    def only(self, at: Rows) -> Counted:
        """Give those at some places, which are in order."""
        count = len(self.words.names)
        single, pairs = at[at < count], self.pairs[at[at >= count] - count]

        def counts(part: slice) -> Any:
            beside = _of_pairs(*self.words.neighbours(part), pairs, part)
            return sparse.hstack([self.words.counts(part)[:, single], beside], format="csr", dtype=np.float32)

        return Counted([self.words.names[one] for one in single] + self.words.spelled(pairs), counts)


@dataclass(frozen=True, eq=False)
class CharacterNGrams:
    """The n-grams of ``names`` within words, which here are all that blanks part; the rest is as of WordNGrams.

    ``within`` (words, n-grams) is how often each word has each.
    """

    words: Numbered
    names: list[str]
    within: Any
    texts_with: Rows

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Look for them."""
        said = Numbered.of(text[:MOST].lower().split() for text in texts)
        held = Numbered.of(map(ngrams_within, said.names))
        within = held.counts(slice(0, len(said.names)))
        texts_with = np.zeros(len(held.names), dtype=np.intp)
        for part in parts(len(texts)):
            texts_with += _rows_with(said.counts(part) @ within)
        return cls(said, held.names, within, texts_with)

    def only(self, at: Rows) -> Counted:
        """Give those at some places, which are in order."""
        within = self.within if len(at) == len(self.names) else self.within[:, at]
        return Counted([self.names[one] for one in at], lambda part: self.words.counts(part) @ within)


def _joined(ids: Sequence[Ids]) -> tuple[Ids, Rows]:
    return np.concatenate([np.zeros(0, dtype=np.int32), *ids]), np.cumsum([0, *map(len, ids)])


def _counts(ids: Ids, starts: Rows, width: int) -> Any:
    # A copy, for duplicates are summed in place.
    held = (np.ones(len(ids), dtype=np.float32), ids.copy(), starts)
    counts = sparse.csr_matrix(held, shape=(len(starts) - 1, width))
    counts.sum_duplicates()
    return counts


def _of_pairs(pairs: Pairs, owner: Rows, known: Pairs, part: slice) -> Any:
    """Count the pairs that are ``known``, which are in order, by their owner."""
    place = np.searchsorted(known, pairs)
    place[place == len(known)] = 0
    there = known[place] == pairs if len(known) else np.zeros(len(pairs), dtype=bool)
    held = (np.ones(np.count_nonzero(there), dtype=np.float32), (owner[there], place[there]))
    return sparse.csr_matrix(held, shape=(part.stop - part.start, len(known)))


def _rows_with(counts: Any) -> Rows:
    return np.bincount(counts.indices, minlength=counts.shape[1])
