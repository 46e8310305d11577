"""What every recipe is given and what it hands back."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from labelloop.bundle_info import Int8
from labelloop.models.features import OpenFeatures
from labelloop.train.dataset import Dataset
from labelloop.train.frozen import Frozen
from labelloop.train.label_errors import Suspect
from labelloop.train.metrics import HeldOut
from labelloop.train.pixels import PixelCache
from labelloop.types import Epoch, Progress, TrainSettings, Watch, unwatched


@dataclass(frozen=True, slots=True)
class Budget:
    """What a finetune may cost: its work in multiply-adds, forward and backward.

    From random weights an epoch has ``fresh_steps``, as far as the CPU does all epochs with ``fresh_work``: about a
    minute on one core, with small networks. ``cpu_work`` is about eight minutes on one core, with networks that are
    worth starting from. ``cpu_activations`` is the memory, in bytes, for what a batch keeps for the way back.
    """

    fresh_steps: int = 20
    fresh_work: float = 5e11
    cpu_work: float = 8e12
    cpu_activations: float = 2e9


@dataclass(frozen=True, slots=True)
class Material:
    """One run's data, settings, caches, and the network with its first weights (``start``, not to be changed).

    ``checkpoints`` is a folder of this run alone, where a training that was killed finds how far it had come; None
    keeps no checkpoints. ``opens`` opens the features of the run's project; None keeps them in ``cache_dir``.
    """

    dataset: Dataset
    settings: TrainSettings
    start: nn.Module
    pixels: PixelCache
    cache_dir: Path
    progress: Progress
    watch: Watch = unwatched
    checkpoints: Path | None = None
    budget: Budget = Budget()
    opens: OpenFeatures | None = None

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

    ``frozen`` is the exported backbone where only the last layer is new. With ``flips`` the logits are the mean over
    picture and mirror image; ``mirrors`` says that mirror images have the same labels. ``strength`` is a head's C.
    ``policy`` names how its training pictures were changed, "" where they were not. ``curve`` holds what each epoch
    reached, ``notes`` are sentences for the run's record, ``held`` is what cross-validation said of training pictures,
    for the temperature. ``suspects`` are the pictures of both sides (sha256) whose labels are probably wrong: no recipe
    learns from them, and no temperature is fitted to them. ``before`` is the head that a finetune from learned weights
    began with. ``thresholds`` (classes,) are the scores from which on several classes are given (None: a half each).
    ``int8`` is a head's backbone in 8 bits, and how the head answered by its features, where that was tried.
    """

    recipe: str
    model: nn.Module
    logits: npt.NDArray[np.float32]
    frozen: Frozen | None = None
    flips: bool = False
    mirrors: bool = False
    balance: str = "none"
    policy: str = ""
    strength: float = 0.0
    temperature: float = 1.0
    curve: tuple[Epoch, ...] = ()
    notes: tuple[str, ...] = ()
    held: HeldOut | None = None
    suspects: Mapping[str, Suspect] = field(default_factory=dict)
    before: "Candidate | None" = None
    thresholds: npt.NDArray[np.float64] | None = None
    int8: tuple[Frozen, Int8] | None = None


Recipe = Callable[[Material, Candidate | None], Candidate]
"""Trains on the material; the second argument is what the recipe before it made, if there was one."""
