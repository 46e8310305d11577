"""How training pictures are changed: ``none``, ``light``, ``crop``, ``realistic``, or a YAML file of one's own."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.train.augmentations.engine import Pipeline
from labelloop.train.augmentations.realistic import realistic
from labelloop.train.augmentations.simple import crop, light
from labelloop.train.augmentations.steps import read_steps, transforms

Pixels = npt.NDArray[np.uint8]

AUTO = "auto"
"""Asks for the policy that suits the pictures."""

POLICIES = ("none", "light", "crop", "realistic")
"""The policies that come with LabelLoop."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A way to change pictures; can be pickled. The same picture and seed give the same, whatever process or thread."""

    name: str
    change: Callable[[Pixels, int], Pixels]

    def __call__(self, pixels: Pixels, seed: int) -> Pixels:
        """Change one picture, uint8 (height, width, 3), by a ``seed`` of 0 or more; the size stays.

        Raises TrainingError when a transform cannot take a picture of that size.
        """
        return self.change(pixels, seed)


def load_policy(name: str, *, mirrors: bool = False) -> Augmentation:
    """Give a policy by its name, or by the path of a YAML file (docs/evaluation.md).

    ``auto`` is ``crop`` where mirror images have the labels too (``mirrors``), as photographs do, and ``light`` where
    they have not, as handwriting. Raises TrainingError naming the policies there are, or what in the file is not
    allowed.
    """
    if name == AUTO:
        name = "crop" if mirrors else "light"
    if name == "none":
        return Augmentation(name, _unchanged)
    if name == "light":
        return Augmentation(name, light)
    if name == "crop":
        return Augmentation(name, crop)
    if name == "realistic":
        return Augmentation(name, Pipeline(name, realistic))
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        raise TrainingError(
            f"augmentations {name!r}: expected {', '.join((AUTO, *POLICIES))}, or the path of a .yaml file"
        )
    return Augmentation(path.name, Pipeline(path.name, functools.partial(transforms, read_steps(path))))


def _unchanged(pixels: Pixels, seed: int) -> Pixels:  # noqa: ARG001 - as every policy
    return pixels
