"""What engines have in common: pictures are prepared, go through the network a few at a time, and become outputs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import NetworkInfo, PictureSpec
from labelloop.errors import BundleError, MediaError
from labelloop.pictures import pixels_of, prepare
from labelloop.train.metrics import probabilities
from labelloop.types import Answer, Choice, Failure, Output, chunks

T = TypeVar("T")

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
        return self._each(contents, lambda pictures: self.answers(pictures, version))

    def _each(self, contents: Sequence[bytes], run: Callable[[Array], Iterable[T]]) -> list[T | Failure]:
        """Give what ``run`` makes of every picture, in order; a Failure for one that cannot be prepared."""
        found: list[T | Failure] = []
        for batch in chunks(contents, BATCH):
            prepared = [self._prepare(content) for content in batch]
            tensors = [tensor for tensor in prepared if not isinstance(tensor, Failure)]
            results = iter(run(np.stack(tensors)) if tensors else ())
            found += [item if isinstance(item, Failure) else next(results) for item in prepared]
        return found

    def _prepare(self, content: bytes) -> Array | Failure:
        try:
            return prepare(content, self.picture)
        except MediaError as error:
            return Failure(str(error))


class Network:
    """One of a bundle's files, loaded: from float32 pictures (n, 3, height, width) to float32 (n, ``width``).

    ``run`` may raise anything. It is run once here: raises BundleError when the file cannot be used.
    """

    def __init__(self, file: str, run: Callable[[Array], Array], picture: PictureSpec) -> None:
        self.file, self._run = file, run
        self.width = 0
        self.width = self(np.zeros((1, 3, picture.height, picture.width), dtype=np.float32)).shape[1]

    def __call__(self, pictures: Array) -> Array:
        """Run the file. Raises BundleError."""
        try:
            given = self._run(pictures)
        except Exception as error:  # neither onnxruntime's errors nor torch's have a common base of their own
            raise BundleError(f"{self.file} cannot be run: {error}") from error
        if given.ndim != 2 or given.shape != (len(pictures), self.width or given.shape[1]):
            raise BundleError(f"{self.file} gives {given.shape} for {len(pictures)} pictures; export it anew")
        return given


class NetworkEngine(PictureEngine):
    """Runs one bundle that classifies pictures; raises BundleError when its network does not fit the description."""

    def __init__(self, info: NetworkInfo, network: Network) -> None:
        self.info, self.picture, self.network = info, info.picture, network
        if network.width != len(info.classes):
            raise BundleError(
                f"{network.file} gives (1, {network.width}) where model.json calls for (1, {len(info.classes)}); "
                "export it anew"
            )

    @property
    def measured(self) -> Self:
        """The engine itself: all scores are given anyway; see Engine."""
        return self

    def answers(self, pictures: Array, version: str) -> list[Output | Failure]:
        """Give every class its score; see PictureEngine."""
        info = self.info
        return outputs(self.network(pictures), info.classes, info.choice, version, info.thresholds)
