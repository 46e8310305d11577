"""All that a finetune needs to know, and what it makes: the same on every rank, so that it can be sent there."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import PictureSpec
from labelloop.train.augmentations.policy import Augmentation
from labelloop.train.averages import State
from labelloop.train.loading import Draw
from labelloop.train.pixels import Packed
from labelloop.train.recipes.finetune_plan import FinetunePlan
from labelloop.types import Choice, Epoch, TrainSettings


@dataclass(frozen=True, slots=True)
class Job:
    """One finetune.

    ``fresh`` says that the first weights are random, ``flips`` that logits are the mean over picture and mirror image,
    ``mirrors`` that training pictures are mirrored by chance. ``packed`` holds the training pictures, then those of
    validation; ``truth`` and ``weights`` (training pictures, classes) tell what they show and how much each answer
    counts, 1 on average; ``validation`` (validation pictures, classes) what those show.
    ``checkpoint`` is the file of this training alone, or None.
    """

    settings: TrainSettings
    choice: Choice
    spec: PictureSpec
    plan: FinetunePlan
    fresh: bool
    flips: bool
    mirrors: bool
    packed: Packed
    draw: Draw
    policy: Augmentation
    truth: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    validation: npt.NDArray[np.bool_]
    checkpoint: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: the weights to keep, their validation logits, and what each epoch reached."""

    state: State
    logits: npt.NDArray[np.float32]
    curve: tuple[Epoch, ...] = field(default_factory=tuple)
