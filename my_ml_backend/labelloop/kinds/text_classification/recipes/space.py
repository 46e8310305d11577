"""The features of a head as rows that a logistic regression learns from: rotated, so that they are few.

N-grams are many more than texts. Every weight that a penalised regression can find is a sum of the texts' own features
(the representer theorem: Kimeldorf and Wahba, 1971), so coordinates within what a few texts span, the landmarks, say
as much: all of it where every text is one, most of it else (Williams and Seeger, 2001, "Using the Nystroem Method").
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from scipy import sparse  # type: ignore[import-untyped]

from labelloop.kinds.text_classification.features import Array, TextFeatures
from labelloop.kinds.text_classification.linear_text_model import LinearTextModel
from labelloop.kinds.text_classification.recipes.corpus import Corpus, inner
from labelloop.kinds.text_classification.recipes.ngram_counts import Rows, parts
from labelloop.train.axes import principal
from labelloop.train.logistic import Linear, one_thread

_SCALE = 10.0
"""What features are multiplied by, so that the usual strengths of a regularisation (train/crossvalidation.py) fit."""

_POOLED = 2**0.5
"""How much each half of the pooled part counts beside words and characters, which count 1 each."""


@dataclass(frozen=True, eq=False)
class Space:
    """Rows of the texts of a ``corpus`` for a regression, and the way back: weights of the features themselves.

    ``basis`` (landmarks, directions) makes coordinates of a text's similarities to the landmarks; ``own`` are theirs,
    (landmarks, directions). Without ``embedded`` n-grams alone are looked at.
    """

    corpus: Corpus
    embedded: bool
    basis: Array = field(repr=False)
    own: Array = field(repr=False)

    @classmethod
    def of(cls, corpus: Corpus, *, embedded: bool = True) -> Self:
        """Make the space of these texts, as far as there are embeddings."""
        embedded = embedded and corpus.pooled is not None
        with one_thread():
            variances, turn = principal(_alike(corpus, corpus.landmarks, embedded=embedded))
        root = np.sqrt(variances, dtype=np.float32)
        # On these axes landmarks are what the square roots of the variances make of them.
        return cls(corpus, embedded, turn / root, turn * root)

    @property
    def features(self) -> TextFeatures:
        """What a text is looked at for."""
        return TextFeatures(self.corpus.ngrams, self.corpus.pooled if self.embedded else None)

    def rows(self, at: Rows) -> Array:
        """Give these texts of the corpus: (texts, directions)."""
        if len(self.own) == len(self.corpus.texts):
            return self.own[at]
        # Whoever asks for most of them asks for others of them, too.
        return self._whole[at] if 2 * len(at) > len(self.corpus.texts) else self._of_corpus(at)

    @cached_property
    def _whole(self) -> Array:
        return self._of_corpus(np.arange(len(self.corpus.texts)))

    def _of_corpus(self, at: Rows) -> Array:
        found = np.empty((len(at), self.basis.shape[1]), dtype=np.float32)
        for part in parts(len(at)):
            found[part] = self._within(_alike(self.corpus, at[part], embedded=self.embedded))
        return found

    def of_texts(self, texts: Sequence[str]) -> Array:
        """Give any other texts: (texts, directions)."""
        corpus, found = self.corpus, self.corpus.ngrams.rows(texts)
        held = sparse.csr_matrix(
            (found.values, found.columns, found.starts), shape=(len(texts), len(corpus.ngrams.rarity))
        )
        alike = inner(held, corpus.sparse[corpus.landmarks])
        if self.embedded and corpus.pooled is not None:
            alike += _POOLED**2 * (corpus.pooled.rows(texts) @ corpus.dense[corpus.landmarks].T)
        return self._within(_SCALE**2 * alike)

    def model(self, linear: Linear, temperature: float) -> LinearTextModel:
        """Make the model that gives what a layer on the rows gives, divided by a temperature."""
        with one_thread():
            by_landmark = _SCALE**2 * self.basis @ linear.weight.T / temperature
        # The rows of a similarity are scaled once on either side.
        pooled = self.corpus.dense[self.corpus.landmarks] if self.embedded else self.corpus.dense[:0, :0]
        return LinearTextModel(
            self.features,
            np.asarray(self.corpus.sparse[self.corpus.landmarks].T @ by_landmark).astype(np.float16),
            np.asarray(_POOLED**2 * pooled.T @ by_landmark[: len(pooled)], dtype=np.float32),
            np.asarray(linear.bias / temperature, dtype=np.float32),
        )

    def _within(self, alike: Array) -> Array:
        with one_thread():
            return np.asarray(alike @ self.basis, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Spaces:
    """Both spaces of a ``corpus``, each made once."""

    corpus: Corpus

    @cached_property
    def embedded(self) -> Space:
        """With embeddings, as far as there are any."""
        return Space.of(self.corpus)

    @cached_property
    def plain(self) -> Space:
        """Of n-grams alone."""
        return Space.of(self.corpus, embedded=False)


def _alike(corpus: Corpus, at: Rows, *, embedded: bool) -> Array:
    """Give the inner products of the scaled features of these texts with those of the landmarks."""
    alike = _SCALE**2 * corpus.alike(at)
    if embedded:
        alike += np.float32((_SCALE * _POOLED) ** 2) * corpus.alike_pooled(at)
    return alike
