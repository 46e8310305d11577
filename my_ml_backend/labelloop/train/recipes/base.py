"""What every recipe is given and what it hands back."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from labelloop.train.dataset import Dataset
from labelloop.train.frozen import Frozen
from labelloop.train.pixels import Pixels
from labelloop.types import Progress, TrainSettings


@dataclass(frozen=True, slots=True)
class Material:
    """One run's data, settings, caches, and the network with its first weights (``start``, not to be changed)."""

    dataset: Dataset
    settings: TrainSettings
    start: nn.Module
    pixels: Pixels
    cache_dir: Path
    progress: Progress

    @property
    def fresh(self) -> bool:
        """Whether the first weights are random."""
        return self.settings.weights == "none"

    def network(self) -> nn.Module:
        """Copy the network with its first weights."""
        return copy.deepcopy(self.start)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained network (CPU, eval mode) and its logits on the validation side: (pictures, classes).

    ``frozen`` is the exported backbone where only the last layer is new.
    """

    recipe: str
    model: nn.Module
    logits: npt.NDArray[np.float32]
    frozen: Frozen | None = None


Recipe = Callable[[Material, Candidate | None], Candidate]
"""Trains on the material; the second argument is what the recipe before it made, if there was one."""
