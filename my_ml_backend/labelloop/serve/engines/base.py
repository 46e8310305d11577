"""The interface of every engine."""

from collections.abc import Sequence
from typing import Protocol

from labelloop.types import BundleInfo, Failure, Output


class Engine(Protocol):
    """One loaded model. Implementations are safe to share between threads."""

    info: BundleInfo

    def predict(self, contents: Sequence[bytes], version: str) -> list[Output | Failure]:
        """Answer for every encoded picture, in order, naming ``version``; one that cannot be read is a Failure.

        Raises BundleError when the model itself fails.
        """
        ...
