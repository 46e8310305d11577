"""What a head sees of a text: its n-grams, weighed, and the pooled static embeddings of its sub-words.

The same code makes features for training and for serving: numpy and tokenizers alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from labelloop.kinds.text_classification.reading import MOST, character_ngrams, word_ngrams, words
from labelloop.kinds.texts.static_embeddings import StaticEmbeddings

Array = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

_TINY = 1e-9

BLOCKS = (word_ngrams, character_ngrams)
"""What is counted, each with a vocabulary of its own, and made a vector of length 1."""


class Sparse(NamedTuple):
    """Rows of a sparse matrix: row i has ``values[starts[i]:starts[i + 1]]`` in the ``columns`` at the same places."""

    columns: Places
    values: Array
    starts: Places


@dataclass(frozen=True, eq=False)
class NGrams:
    """Counts of n-grams as vectors: sublinear in the count, by how rare each is, of length 1 for each block.

    ``vocabularies`` map the n-grams of each of the ``BLOCKS`` to columns, ``rarity`` (columns,) weighs them.
    """

    vocabularies: tuple[Mapping[str, int], ...]
    rarity: Array

    def rows(self, texts: Iterable[str]) -> Sparse:
        """Give the rows of texts; n-grams that the vocabulary does not know have no part in them."""
        columns, values, starts = [], [], [0]
        for text in texts:
            found = [self._block(count(text), known) for count, known in zip(BLOCKS, self.vocabularies, strict=True)]
            columns += [one for one, _ in found]
            values += [one for _, one in found]
            starts.append(starts[-1] + sum(len(one) for one, _ in found))
        joined = np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64)
        return Sparse(joined, np.concatenate(values) if values else np.zeros(0, dtype=np.float32), np.array(starts))

    def _block(self, counted: Counter[str], vocabulary: Mapping[str, int]) -> tuple[Places, Array]:
        known = [(at, count) for name, count in counted.items() if (at := vocabulary.get(name)) is not None]
        if not known:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        columns, counts = (np.array(part) for part in zip(*known, strict=True))
        values = ((1 + np.log(counts)) * self.rarity[columns]).astype(np.float32)
        return columns, values / np.sqrt((values**2).sum())


@dataclass(frozen=True, eq=False)
class Pooled:
    """Mean embeddings of a text's sub-words, as vectors of length 1: of the text as it stands, and of its bare words.

    ``weights`` (2, sub-words) say how much each sub-word counts in either.
    """

    embeddings: StaticEmbeddings
    weights: Array

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return len(self.weights) * self.embeddings.width

    def rows(self, texts: Sequence[str]) -> Array:
        """Give (texts, width); a text without sub-words has zeros."""
        views = (texts_as_they_stand(texts), bare_words(texts))
        return np.hstack([self._pool(view, weights) for view, weights in zip(views, self.weights, strict=True)])

    def _pool(self, texts: Sequence[str], weights: Array) -> Array:
        vectors = self.embeddings.vectors
        rows = np.zeros((len(texts), self.embeddings.width), dtype=np.float32)
        for at, ids in enumerate(self.embeddings.ids(texts)):
            rows[at] = weights[ids] @ vectors[ids].astype(np.float32)
        return unit(rows)


def unit(rows: Array) -> Array:
    """Make the rows vectors of length 1; zeros stay."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY), dtype=np.float32)


def texts_as_they_stand(texts: Sequence[str]) -> list[str]:
    """Give what is read of texts."""
    return [text[:MOST] for text in texts]


def bare_words(texts: Sequence[str]) -> list[str]:
    """Give texts as their words in lower case, without punctuation."""
    return [" ".join(words(text)) for text in texts]


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """All that a head sees of a text; ``pooled`` is None where static embeddings add nothing."""

    ngrams: NGrams
    pooled: Pooled | None

    @property
    def width(self) -> int:
        """Numbers of the pooled part."""
        return 0 if self.pooled is None else self.pooled.width

    def dense(self, texts: Sequence[str]) -> Array:
        """Give the pooled part, (texts, width)."""
        return np.zeros((len(texts), 0), dtype=np.float32) if self.pooled is None else self.pooled.rows(texts)
