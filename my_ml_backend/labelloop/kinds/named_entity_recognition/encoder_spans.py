"""Spans by an encoder: its tags of sub-tokens, read word by word as those of a CRF without moves are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labelloop.errors import BundleError
from labelloop.kinds.named_entity_recognition.crf import Chain, Crf, apart, run
from labelloop.kinds.named_entity_recognition.tokens import pieces, tokenize
from labelloop.kinds.texts.bio import of_words, tag_count
from labelloop.kinds.texts.encoder_bundle import DETAILS
from labelloop.kinds.texts.encoder_engine import EncoderSession
from labelloop.kinds.texts.windows import Floats, Tokens
from labelloop.types import Region

_SMALLEST = 1e-12


class EncoderSpans:
    """Finds spans by tags' probabilities: how likely each is, if only such tags follow each other as may."""

    def __init__(self, labels: tuple[str, ...], slope: float = 1.0, shift: float = 0.0) -> None:
        states = tag_count(len(labels))
        self._rules = Crf(labels, {}, np.zeros((0, states)), np.zeros((states, states)), slope, shift)

    def read(self, text: str, tokens: Tokens, probabilities: Floats) -> tuple[Region, ...]:
        """Read the spans of a text, with calibrated scores, off the probabilities (sub-tokens, tags)."""
        words = tokenize(text)
        scores = np.log(np.maximum(of_words(words, tokens, probabilities), _SMALLEST))
        chain = Chain(words, *run(scores, self._rules.allowed, pieces(text, words)))
        return tuple(apart(self._rules.spans(chain)))


class EncoderFinder:
    """Finds spans by the files of a bundle; raises BundleError."""

    def __init__(self, directory: Path) -> None:
        self._session = EncoderSession(directory)
        try:
            details = self._session.details
            slope, shift = map(float, details["calibration"])
            self._spans = EncoderSpans(tuple(map(str, details["labels"])), slope, shift)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{directory / DETAILS} is of an unknown form ({error!r}): train it again") from error

    def find(self, texts: Sequence[str]) -> list[tuple[Region, ...]]:
        """Find the spans of each text with their scores: all that are not too unlikely, no two of them overlapping."""
        return [
            self._spans.read(text, tokens, probabilities)
            for text, (tokens, probabilities) in zip(texts, self._session.tags(texts), strict=True)
        ]
