"""The features of a head as rows that a logistic regression learns from: rotated, so that they are few.

N-grams are many more than texts. Every weight that a penalised regression can find is a sum of the texts' own features
(the representer theorem: Kimeldorf and Wahba, 1971), so coordinates within what a few texts span, the landmarks, say
as much: all of it where every text is one, most of it else (Williams and Seeger, 2001, "Using the Nystroem Method").
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from labelloop.kinds.text_classification.features import (
    BLOCKS,
    Array,
    NGrams,
    Pooled,
    Sparse,
    TextFeatures,
    bare_words,
    texts_as_they_stand,
)
from labelloop.kinds.text_classification.linear_text_model import LinearTextModel
from labelloop.kinds.texts.static_embeddings import StaticEmbeddings
from labelloop.train.logistic import Linear

Floats = npt.NDArray[np.float64]

_MOST_WEIGHTS = 20_000_000
_MOST_NGRAMS, _FEWEST_NGRAMS = 100_000, 5_000
"""How many n-grams a head holds: the most frequent ones, as far as all their weights take 40 MB."""

_LANDMARKS = 1500
_SMALLEST = 1e-6
"""Directions with less than this share of the strongest one's variance are noise of the arithmetic."""

_SCALE = 10.0
"""What features are multiplied by, so that the usual strengths of a regularisation (train/crossvalidation.py) fit."""

_POOLED = 2**0.5
"""How much each half of the pooled part counts beside words and characters, which count 1 each."""

_SHORTER = 0.8
"""Long vectors are of sub-words that tell more; among bare words, this power of the length serves better than 1."""


def ngrams_of(texts: Sequence[str], classes: int) -> NGrams:
    """Choose the n-grams of texts and weigh them: log of the inverse share of texts that have one, plus 1."""
    most = max(_FEWEST_NGRAMS, min(_MOST_NGRAMS, _MOST_WEIGHTS // max(1, classes)))
    found = [Counter(name for text in texts for name in count(text)) for count in BLOCKS]
    kept = sorted(
        ((-texts_with, block, name) for block, counted in enumerate(found) for name, texts_with in counted.items()),
    )[:most]
    vocabularies: list[dict[str, int]] = []
    shares: list[int] = []
    for block in range(len(BLOCKS)):
        own = sorted((name, -less) for less, at, name in kept if at == block)
        vocabularies.append({name: len(shares) + place for place, (name, _) in enumerate(own)})
        shares += [count for _, count in own]
    return NGrams(tuple(vocabularies), _rarity(np.array(shares), len(texts)).astype(np.float32))


def pooled_of(texts: Sequence[str], embeddings: StaticEmbeddings) -> Pooled:
    """Weigh sub-words by the root of how rare each is among these texts."""
    lengths = np.linalg.norm(embeddings.vectors.astype(np.float32), axis=1)
    weights = np.ones((2, len(lengths)), dtype=np.float32)
    for at, view in enumerate((texts_as_they_stand(texts), bare_words(texts))):
        found = np.zeros(len(lengths))
        for ids in embeddings.ids(view):
            found[np.unique(ids)] += 1
        weights[at] = np.sqrt(_rarity(found, len(texts)))
    weights[1] *= np.where(lengths > 0, lengths, 1) ** (_SHORTER - 1)
    return Pooled(embeddings, weights)


def _rarity(texts_with: npt.NDArray[Any], texts: int) -> Floats:
    return np.asarray(np.log((1 + texts) / (1 + texts_with)) + 1)


@dataclass(frozen=True, eq=False)
class Space:
    """Rows of texts for a regression, and the way back: what it finds, as weights of the features themselves.

    ``basis`` (landmarks, directions) makes coordinates of a text's similarities to the ``landmarks``; ``own`` are
    theirs, (landmarks, directions). Up to 1,500 texts all are landmarks: their rows are asked for again and again.
    """

    features: TextFeatures
    ngrams: Any
    pooled: Array
    basis: Floats
    landmarks: tuple[str, ...]
    own: Array

    @classmethod
    def of(cls, texts: Sequence[str], classes: int, embeddings: StaticEmbeddings | None, seed: int) -> Self:
        """Make the space of these texts; ``embeddings`` are None where there are none, or they add nothing."""
        pooled = None if embeddings is None else pooled_of(texts, embeddings)
        features = TextFeatures(ngrams_of(texts, classes), pooled)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:_LANDMARKS])
        landmarks = tuple(texts[at] for at in chosen)
        ngrams, dense = _matrix(features.ngrams.rows(landmarks), len(features.ngrams.rarity)), features.dense(landmarks)
        alike = _similarity(ngrams, dense, ngrams, dense)
        basis = _basis(alike)
        return cls(features, ngrams, dense, basis, landmarks, _within(alike, basis))

    def rows(self, texts: Sequence[str]) -> Array:
        """Give (texts, directions)."""
        if tuple(texts) == self.landmarks:
            return self.own
        ngrams = _matrix(self.features.ngrams.rows(texts), self.ngrams.shape[1])
        alike = _similarity(ngrams, self.features.dense(texts), self.ngrams, self.pooled)
        return _within(alike, self.basis)

    def model(self, linear: Linear, temperature: float) -> LinearTextModel:
        """Make the model that gives what a layer on the rows gives, divided by a temperature."""
        by_landmark = _SCALE**2 * self.basis @ linear.weight.T / temperature
        # The rows of a similarity are scaled once on either side.
        return LinearTextModel(
            self.features,
            np.asarray(self.ngrams.T @ by_landmark).astype(np.float16),
            np.asarray(_POOLED**2 * self.pooled.T @ by_landmark, dtype=np.float32),
            np.asarray(linear.bias / temperature, dtype=np.float32),
        )


def _matrix(rows: Sparse, width: int) -> Any:
    return sparse.csr_matrix((rows.values, rows.columns, rows.starts), shape=(len(rows.starts) - 1, width))


def _similarity(ngrams: Any, pooled: Array, others: Any, theirs: Array) -> Floats:
    """Give the inner products of scaled features, (texts, others)."""
    with threadpool_limits(limits=1):
        dense = pooled @ theirs.T
    return np.asarray(_SCALE**2 * ((ngrams @ others.T).toarray() + _POOLED**2 * dense), dtype=np.float64)


def _within(alike: Floats, basis: Floats) -> Array:
    with threadpool_limits(limits=1):
        return np.asarray(alike @ basis, dtype=np.float32)


def _basis(similarity: Floats) -> Floats:
    with threadpool_limits(limits=1):
        variances, directions = np.linalg.eigh(similarity)
    kept = variances > _SMALLEST * variances[-1]
    return np.asarray(directions[:, kept] / np.sqrt(variances[kept]))
