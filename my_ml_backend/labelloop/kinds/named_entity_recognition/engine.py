"""Serves what finds spans: the bundle's CRF by numpy, without CRFsuite, so that threads share it and need no lock."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np

from labelloop.errors import BundleError, Unreadable
from labelloop.files import whole_file
from labelloop.kinds.named_entity_recognition.crf import Crf
from labelloop.kinds.named_entity_recognition.info import SpanInfo
from labelloop.models.bundle import read_hashed
from labelloop.types import Failure, Findings, Region

CRF = "crf.npz"


class Finder(Protocol):
    """A loaded model."""

    def find(self, texts: Sequence[str]) -> Sequence[Sequence[Region]]:
        """Find the spans of each text with their scores, however unsure, no two of them overlapping."""
        ...


@dataclass(frozen=True, slots=True)
class SpanEngine:
    """Answers with spans: those from their label's threshold on, or, where ``every``, however unsure they are."""

    info: SpanInfo
    model: Finder
    every: bool = False

    @property
    def measured(self) -> "SpanEngine":
        """What gives every span, however unsure."""
        return replace(self, every=True)

    def pixels(self, contents: Sequence[bytes]) -> int:  # noqa: ARG002 - every engine is asked
        """None: texts are no pictures."""
        return 0

    def predict(self, contents: Sequence[bytes], version: str) -> list[Findings | Failure]:
        """Answer for every text, in order; see Engine."""
        texts = [_text(content) for content in contents]
        found = iter(self.model.find([one for one in texts if isinstance(one, str)]))
        return [one if isinstance(one, Failure) else self._answer(next(found), version) for one in texts]

    def _answer(self, regions: Sequence[Region], version: str) -> Findings:
        least = self.info.thresholds
        given = tuple(one for one in regions if self.every or (one.score or 0.0) >= least.get(one.label, 0.0))
        return Findings(given, version, score=certainty(regions))


def certainty(regions: Sequence[Region]) -> float:
    """Give how sure it is of a text, from all that was found, shown or not: 1 / (1 + the mistakes to be expected)."""
    scores = [one.score or 0.0 for one in regions]
    return 1 / (1 + sum(min(score, 1 - score) for score in scores))


def open_engine(directory: Path, info: SpanInfo) -> SpanEngine:
    """Load a bundle of either recipe; raises BundleError when a file is damaged, or of another form."""
    if info.recipe == "finetune":
        # onnxruntime starts a thread when it is imported.
        from labelloop.kinds.named_entity_recognition.encoder_spans import EncoderFinder

        return SpanEngine(info, EncoderFinder(directory))
    content = read_hashed(directory, info, CRF)
    try:
        return SpanEngine(info, read_crf(content))
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise BundleError(
            f"bundle {directory}: {CRF} is of an unknown form ({error}): train the version again"
        ) from error


def read_text(content: bytes) -> str:
    """Read a text's bytes; raises Unreadable."""
    try:
        # What a task holds may be no Unicode: half a pair of surrogates counts as a character there.
        return content.decode(errors="surrogatepass")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is no text in UTF-8 ({error.reason} at byte {error.start})") from error


def _text(content: bytes) -> str | Failure:
    try:
        return read_text(content)
    except Unreadable as error:
        return Failure(str(error))


def write_crf(path: Path, crf: Crf) -> None:
    """Write a model whole or not at all; the same one makes the same bytes."""
    names = sorted(crf.vocabulary, key=crf.vocabulary.__getitem__)
    words = json.dumps({"labels": crf.labels, "attributes": names})
    with whole_file(path) as aside:
        np.savez(
            aside,
            allow_pickle=False,
            words=np.frombuffer(words.encode("ascii"), dtype=np.uint8),
            weights=crf.weights.astype(np.float32),
            moves=crf.moves,
            calibration=np.array((crf.slope, crf.shift)),
        )


def read_crf(content: bytes) -> Crf:
    """Read back what ``write_crf`` wrote; raises what ``open_engine`` catches for anything else."""
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        words = json.loads(held["words"].tobytes())
        weights, moves = held["weights"].astype(np.float64), held["moves"].astype(np.float64)
        slope, shift = held["calibration"].tolist()
    labels, names = tuple(map(str, words["labels"])), words["attributes"]
    states = 1 + 2 * len(labels)
    if weights.shape != (len(names), states) or moves.shape != (states, states):
        raise ValueError("its weights are not those of its labels")
    if not np.isfinite(weights).all() or not np.isfinite(moves).all():
        raise ValueError("its weights are not finite")
    return Crf(labels, {name: at for at, name in enumerate(names)}, weights, moves, slope, shift)
