"""What engines have in common: pictures are prepared, go through the network a few at a time, and become outputs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import NetworkInfo, PictureSpec
from labelloop.errors import BundleError, MediaError
from labelloop.pictures import pixels_of, prepare
from labelloop.train.metrics import probabilities
from labelloop.types import Answer, Choice, Failure, Output

Floats = npt.NDArray[np.float64]

_NONE: Mapping[str, float] = MappingProxyType({})


def outputs(
    logits: npt.NDArray[np.float32],
    classes: tuple[str, ...],
    choice: Choice,
    version: str,
    thresholds: Mapping[str, float] = _NONE,
) -> list[Output | Failure]:
    """One output for each row of ``logits`` (pictures, classes); a row that is not finite is a Failure."""
    with np.errstate(invalid="ignore"):
        scores = probabilities(logits, choice)
    return [_output(row, classes, choice, version, thresholds) for row in scores]


def _output(
    scores: Floats, classes: tuple[str, ...], choice: Choice, version: str, thresholds: Mapping[str, float]
) -> Output | Failure:
    if not np.isfinite(scores).all():
        return Failure("the model's scores for this picture are not finite")
    best = int(scores.argmax())
    values = scores.tolist()
    return Output(classes[best], values[best], dict(zip(classes, values, strict=True)), version, choice, thresholds)


Array = npt.NDArray[np.float32]

BATCH = 8
"""Most pictures in one run of the network: bounds memory, and more bring no speed on a CPU (docs/inference.md)."""


class PictureEngine(ABC):
    """Prepares pictures as ``picture`` says, and has them answered a few at a time, in one thread.

    Several requests at once use several cores.
    """

    picture: PictureSpec

    @abstractmethod
    def answers(self, pictures: Array, version: str) -> Sequence[Answer | Failure]:
        """Answer for float32 (pictures, 3, height, width). Raises BundleError when the model itself fails."""

    def pixels(self, contents: Sequence[bytes]) -> int:
        """Give the pixels of the largest picture; see Engine."""
        return pixels_of(contents)

    def predict(self, contents: Sequence[bytes], version: str) -> list[Answer | Failure]:
        """Answer for every encoded picture, in order; see Engine."""
        answers: list[Answer | Failure] = []
        for start in range(0, len(contents), BATCH):
            answers += self._predict_batch(contents[start : start + BATCH], version)
        return answers

    def _predict_batch(self, contents: Sequence[bytes], version: str) -> list[Answer | Failure]:
        prepared = [self._prepare(content) for content in contents]
        tensors = [tensor for tensor in prepared if not isinstance(tensor, Failure)]
        if not tensors:
            return [failure for failure in prepared if isinstance(failure, Failure)]
        results = iter(self.answers(np.stack(tensors), version))
        return [item if isinstance(item, Failure) else next(results) for item in prepared]

    def _prepare(self, content: bytes) -> Array | Failure:
        try:
            return prepare(content, self.picture)
        except MediaError as error:
            return Failure(str(error))


class NetworkEngine(PictureEngine):
    """Runs one bundle that classifies pictures.

    A subclass opens one of the bundle's files before it hands over to this class, and runs it. Raises BundleError when
    that file cannot be used, or does not fit the description.
    """

    file: str
    """The bundle's file that this engine runs."""

    def __init__(self, info: NetworkInfo) -> None:
        self.info, self.picture = info, info.picture
        self._run(np.zeros((1, 3, info.picture.height, info.picture.width), dtype=np.float32))

    @abstractmethod
    def logits(self, pictures: Array) -> Array:
        """Give logits (pictures, classes) for float32 (pictures, 3, height, width); may raise anything."""

    @property
    def measured(self) -> Self:
        """The engine itself: all scores are given anyway; see Engine."""
        return self

    def answers(self, pictures: Array, version: str) -> list[Output | Failure]:
        """Give every class its score; see PictureEngine."""
        info = self.info
        return outputs(self._run(pictures), info.classes, info.choice, version, info.thresholds)

    def _run(self, pictures: Array) -> Array:
        try:
            logits = self.logits(pictures)
        except Exception as error:  # neither onnxruntime's errors nor torch's have a common base of their own
            raise BundleError(f"{self.file} cannot be run: {error}") from error
        expected = (len(pictures), len(self.info.classes))
        if logits.shape != expected:
            raise BundleError(f"{self.file} gives {logits.shape} where model.json calls for {expected}; export it anew")
        return logits
