"""``predictions.npz``: what was true of every test picture, and what the model said of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.errors import StoreError
from labelloop.files import whole_file
from labelloop.types import Item


@dataclass(frozen=True, eq=False)
class Scored:
    """Test pictures (sha256) with their tasks, ``truth`` bool (pictures, classes) and ``scores`` float64 likewise.

    A row of nan is a picture that the model had no answer for.
    """

    classes: tuple[str, ...]
    pictures: tuple[str, ...]
    tasks: npt.NDArray[np.int64]
    truth: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]

    @classmethod
    def of(cls, items: tuple[Item, ...], classes: tuple[str, ...], scores: npt.NDArray[np.float64]) -> Self:
        """Put items and the scores of their pictures together."""
        return cls(
            classes,
            tuple(item.content for item in items),
            np.array([item.task for item in items], dtype=np.int64),
            truth_of(items, classes),
            scores,
        )

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        with whole_file(path) as aside:
            np.savez_compressed(
                aside,
                classes=np.array(self.classes),
                pictures=np.array(self.pictures),
                tasks=self.tasks,
                truth=self.truth,
                scores=self.scores,
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; raises StoreError."""
        try:
            with np.load(path, allow_pickle=False) as held:
                classes, pictures = (tuple(str(name) for name in held[key]) for key in ("classes", "pictures"))
                return cls(classes, pictures, held["tasks"], held["truth"], held["scores"])
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{path} cannot be read ({error}): run the evaluate stage of this run") from error


def truth_of(items: tuple[Item, ...], classes: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Tell which item has which class: bool, (items, classes)."""
    return np.array([[name in item.labels for name in classes] for item in items], dtype=bool).reshape(
        len(items), len(classes)
    )
