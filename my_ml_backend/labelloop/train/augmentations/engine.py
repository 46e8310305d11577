"""The libraries that change pictures, imported on first use: OpenCV (0.2 s), albumentations (2 s) and its pipeline."""

import random
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError


def opencv() -> ModuleType:
    """Import OpenCV and keep it to the calling thread in this process: pictures are small, and workers share the cores.

    Nothing else in LabelLoop uses OpenCV, so that its setting for the whole process surprises nobody.
    """
    import cv2

    cv2.setNumThreads(0)
    return cv2


def albumentations() -> Any:
    """Import albumentations after OpenCV, whose threads it must not bring."""
    opencv()
    import albumentations as library

    return library


Pixels = npt.NDArray[np.uint8]
Corners = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

LEAST_SEEN = 0.3
"""Share of a box that must be left of it, or it is gone with the rest of the picture."""

Steps = Callable[[int, int], Sequence[Any]]
"""Makes the transforms for pictures of this height and width."""


class _Made(threading.local):
    """What one thread has made: a pipeline draws its chances from generators that it holds, so none is shared."""

    def __init__(self) -> None:
        self.by_size: dict[tuple[int, int, bool], Any] = {}


class Pipeline:
    """Changes a picture by the transforms of ``steps`` (a function or partial that can be pickled); keeps its size.

    The transforms are made anew in every process and thread, for each size of pictures. ``name`` is for messages.
    """

    def __init__(self, name: str, steps: Steps) -> None:
        self.name, self._steps = name, steps
        self._made = _Made()

    def __call__(self, pixels: Pixels, seed: int) -> Pixels:
        """Change one picture: uint8, (height, width, 3). Raises TrainingError when it is too small for a transform."""
        height, width = pixels.shape[:2]
        changed: Pixels = self._changed(pixels, seed)["image"]
        return changed if changed.shape == pixels.shape else _resize(changed, height, width)

    def boxed(self, pixels: Pixels, corners: Corners, seed: int) -> tuple[Pixels, Corners, Rows]:
        """Change a picture with its boxes (boxes, 4): left, top, right, bottom in pixels. Raises TrainingError.

        Gives the picture, the boxes that are left of it, and which of them these are.
        """
        height, width = pixels.shape[:2]
        found = self._changed(pixels, seed, bboxes=corners, rows=np.arange(len(corners)))
        changed: Pixels = found["image"]
        sides = np.tile((width / changed.shape[1], height / changed.shape[0]), 2).astype(np.float32)
        places: Corners = np.asarray(found["bboxes"], dtype=np.float32).reshape(-1, 4) * sides
        rows = np.asarray(found["rows"], dtype=np.int64)
        return changed if changed.shape == pixels.shape else _resize(changed, height, width), places, rows

    def _changed(self, pixels: Pixels, seed: int, **boxes: Any) -> Any:
        height, width = pixels.shape[:2]
        compose = self._compose(height, width, boxed=bool(boxes))
        # set_random_seed would give every transform the same seed, and so all of them the same decisions.
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            return compose(image=pixels, **boxes)
        except _refusals() as error:
            raise TrainingError(
                f"augmentations {self.name!r} cannot change a picture of {width} x {height} pixels ({error}); "
                "use another policy or a larger image size"
            ) from error

    def __reduce__(self) -> tuple[type["Pipeline"], tuple[str, Steps]]:
        return Pipeline, (self.name, self._steps)

    def _compose(self, height: int, width: int, *, boxed: bool) -> Any:
        made, library = self._made.by_size, albumentations()
        if (height, width, boxed) not in made:
            boxes = library.BboxParams("pascal_voc", label_fields=["rows"], min_visibility=LEAST_SEEN, clip=True)
            more = {"bbox_params": boxes} if boxed else {}
            made[height, width, boxed] = library.Compose(list(self._steps(height, width)), **more)
        return made[height, width, boxed]


def _refusals() -> tuple[type[Exception], ...]:
    """Give what transforms raise for a picture that is too small for their arguments."""
    from albumentations.augmentations.crops.transforms import CropSizeError

    return CropSizeError, ValueError, TypeError, IndexError, ArithmeticError, opencv().error


def _resize(pixels: Pixels, height: int, width: int) -> Pixels:
    cv2 = opencv()
    shrinks = pixels.shape[0] > height and pixels.shape[1] > width
    resized: Pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized
