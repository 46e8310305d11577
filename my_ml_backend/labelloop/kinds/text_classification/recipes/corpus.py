"""The texts of a run, counted once for all that is asked of them: their n-grams, weighed, and their pooled embeddings.

The rows are those that serving makes text by text (features.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]

from labelloop.kinds.text_classification.features import (
    Array,
    NGrams,
    Pooled,
    bare_words,
    texts_as_they_stand,
    unit,
)
from labelloop.kinds.text_classification.recipes.ngram_counts import (
    AT_ONCE,
    CharacterNGrams,
    Counted,
    Rows,
    WordNGrams,
    counted,
    parts,
)
from labelloop.kinds.texts.static_embeddings import StaticEmbeddings
from labelloop.train.logistic import one_thread

Floats = npt.NDArray[np.float64]

_MOST_WEIGHTS = 20_000_000
_MOST_NGRAMS, _FEWEST_NGRAMS = 100_000, 5_000
"""How many n-grams a head holds: the most frequent ones, as far as all their weights take 40 MB."""

_SHORTER = 0.8
"""Long vectors are of sub-words that tell more; among bare words, this power of the length serves better than 1."""

_NOTHING: Array = np.zeros((0, 0), dtype=np.float32)

_COMMON = 0.05
"""An n-gram is common where more than this share of the texts have it."""

LANDMARKS = 1500
"""Texts that all are compared with (space.py)."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts with the rows of their ``ngrams``, sparse, and ``dense``, those of the ``pooled`` part.

    ``dense`` is (texts, width); without embeddings there is nothing in it. ``landmarks`` are the rows of those texts
    that all are compared with.
    """

    texts: tuple[str, ...]
    ngrams: NGrams
    sparse: Any
    pooled: Pooled | None
    dense: Array
    landmarks: Rows

    @classmethod
    def of(cls, texts: Sequence[str], classes: int, embeddings: StaticEmbeddings | None, seed: int) -> Self:
        """Count texts; ``embeddings`` are None where there are none. ``seed`` draws the landmarks."""
        ngrams, counted = _ngrams_of(texts, classes)
        pooled, dense = (None, _NOTHING) if embeddings is None else _pooled_of(texts, embeddings)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:LANDMARKS])
        return cls(tuple(texts), ngrams, counted, pooled, dense, chosen)

    def alike(self, at: Rows) -> Array:
        """Inner products of the n-grams of these texts with those of the landmarks: (these, landmarks).

        Of few texts they are kept, of many they would take more memory than all else.
        """
        return self._alike[at] if self._are_few else inner(self.sparse[at], self.sparse[self.landmarks])

    def alike_pooled(self, at: Rows) -> Array:
        """Inner products of the pooled parts, likewise."""
        return self._alike_pooled[at] if self._are_few else self._pooled_products(at)

    @property
    def _are_few(self) -> bool:
        return len(self.texts) <= AT_ONCE

    @cached_property
    def _alike(self) -> Array:
        return inner(self.sparse, self.sparse[self.landmarks])

    @cached_property
    def _alike_pooled(self) -> Array:
        return self._pooled_products(np.arange(len(self.texts)))

    def _pooled_products(self, at: Rows) -> Array:
        with one_thread():
            return np.asarray(self.dense[at] @ self.dense[self.landmarks].T)


def inner(one: Any, other: Any) -> Array:
    """Multiply the rows of sparse matrices: (rows, rows of the other).

    What many rows have is multiplied as what it is, dense: n-grams that are common make nearly all of the work.
    """
    common = np.bincount(other.indices, minlength=other.shape[1]) > _COMMON * other.shape[0]
    with one_thread():
        found = one[:, common].toarray() @ other[:, common].toarray().T
    found += (one[:, ~common] @ other[:, ~common].T).toarray()
    return np.asarray(found, dtype=np.float32)


def _ngrams_of(texts: Sequence[str], classes: int) -> tuple[NGrams, Any]:
    """Choose the n-grams of texts and weigh them: log of the inverse share of texts that have one, plus 1.

    Gives the rows of the texts, too.
    """
    most = max(_FEWEST_NGRAMS, min(_MOST_NGRAMS, _MOST_WEIGHTS // max(1, classes)))
    of_words, of_characters = WordNGrams.of(texts), CharacterNGrams.of(texts)
    texts_with = np.concatenate((of_words.texts_with, of_characters.texts_with))
    kept = np.sort(np.argsort(-texts_with, kind="stable")[:most])
    rarity = _rarity(texts_with[kept], len(texts)).astype(np.float32)
    first = len(of_words.texts_with)
    blocks = (of_words.only(kept[kept < first]), of_characters.only(kept[kept >= first] - first))
    begin = len(blocks[0].names)
    vocabularies = tuple(
        {name: at for at, name in enumerate(one.names, at)} for one, at in zip(blocks, (0, begin), strict=True)
    )
    # Each n-gram is in as many rows as there are texts with it.
    rows = _rows(blocks, np.split(rarity, [begin]), len(texts), int(texts_with[kept].sum()))
    return NGrams(vocabularies, rarity), rows


def _rows(blocks: Sequence[Counted], rarities: Sequence[Array], texts: int, held: int) -> Any:
    """Make the rows of texts, which hold so many numbers: in place, for they are most of what a run has in memory."""
    values, columns = np.empty(held, dtype=np.float32), np.empty(held, dtype=np.int32)
    starts = np.zeros(texts + 1, dtype=np.int64)
    for part in parts(texts):
        weighed = [_weighed(one.counts(part), rarity) for one, rarity in zip(blocks, rarities, strict=True)]
        rows = sparse.hstack(weighed, format="csr", dtype=np.float32)
        ends = starts[part.start] + rows.indptr
        values[ends[0] : ends[-1]], columns[ends[0] : ends[-1]] = rows.data, rows.indices
        starts[part.start : part.stop + 1] = ends
    return sparse.csr_matrix((values, columns, starts), shape=(texts, sum(map(len, rarities))))


def _weighed(rows: Any, rarity: Array) -> Any:
    """Make counts a vector of length 1 for each text: sublinear, by how rare each n-gram is."""
    rows.data = ((1 + np.log(rows.data)) * rarity[rows.indices]).astype(np.float32)
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows.data /= np.repeat(lengths, np.diff(rows.indptr))
    return rows


def _pooled_of(texts: Sequence[str], embeddings: StaticEmbeddings) -> tuple[Pooled, Array]:
    """Weigh sub-words by the root of how rare each is among these texts, and pool them."""
    lengths = np.linalg.norm(embeddings.vectors.astype(np.float32), axis=1)
    weights = np.ones((2, len(lengths)), dtype=np.float32)
    views = [counted(embeddings.ids(view(texts)), len(lengths)) for view in (texts_as_they_stand, bare_words)]
    for at, counts in enumerate(views):
        weights[at] = np.sqrt(_rarity(np.bincount(counts.indices, minlength=len(lengths)), len(texts)))
    weights[1] *= np.where(lengths > 0, lengths, 1) ** (_SHORTER - 1)
    dense = [_pool(counts, weighed, embeddings) for counts, weighed in zip(views, weights, strict=True)]
    return Pooled(embeddings, weights), np.hstack(dense)


def _pool(counts: Any, weights: Array, embeddings: StaticEmbeddings) -> Array:
    used = np.unique(counts.indices)
    vectors = embeddings.vectors[used].astype(np.float32) * weights[used, None]
    return unit(np.asarray(counts[:, used] @ vectors, dtype=np.float32))


def _rarity(texts_with: npt.NDArray[Any], texts: int) -> Floats:
    return np.asarray(np.log((1 + texts) / (1 + texts_with)) + 1)
