"""The interface of every engine."""

from collections.abc import Sequence
from typing import Protocol

from labelloop.types import Answer, BundleInfo, Failure, Output


class Predictor(Protocol):
    """What can be asked for answers: a loaded model, or what is known of one."""

    def predict(self, contents: Sequence[bytes], version: str) -> Sequence[Answer | Failure]:
        """Answer for every input, in order, naming ``version``."""
        ...


class Engine(Protocol):
    """One loaded model. Implementations are safe to share between threads."""

    @property
    def info(self) -> BundleInfo:
        """What the bundle says of itself."""
        ...

    def pixels(self, contents: Sequence[bytes]) -> int:
        """Say how many pixels the largest work on these holds in memory; 0 where inputs are no pictures."""
        ...

    def predict(self, contents: Sequence[bytes], version: str) -> list[Output | Failure]:
        """Answer for every input, in order, naming ``version``; one that cannot be read is a Failure.

        Raises BundleError when the model itself fails.
        """
        ...
