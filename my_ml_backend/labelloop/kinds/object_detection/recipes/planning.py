"""How long a detector learns: decided by counting its work, so that a run always takes the same steps."""

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from labelloop.bundle_info import PictureSpec
from labelloop.kinds.object_detection.recipes.fitting import Plan
from labelloop.kinds.object_detection.recipes.network import Detector
from labelloop.train.recipes.finetune_plan import on_gpu, work_of
from labelloop.types import TrainSettings

_SHARE = 8  # pictures of a batch here for each of a batch of whole pictures: one holds many boxes
_RATE = 0.5
_BODY = 0.1
_RESTING = 1 / 3
_PASSES = 3  # forward passes that a step costs about
_BODY_PASSES = 2  # of a body whose lowest layers, with most of the work, rest

_TRIAL_STEPS = 6  # for each epoch of the settings
_LEAST_STEPS = 20  # of an epoch
_FEWEST_EPOCHS = 4
_VARIANTS = 16
_EXAMINED = 3


@dataclass(frozen=True, slots=True)
class Budget:
    """What recipes may cost on a CPU, in multiply-adds: about four minutes of a core for a head, five to finetune."""

    head: float = 8e12
    finetune: float = 9e12


@dataclass(frozen=True, slots=True)
class Work:
    """Multiply-adds of one picture, forward: of the ``body`` and of the ``heads``."""

    body: int
    heads: int

    @classmethod
    def of(cls, detector: Detector, spec: PictureSpec) -> "Work":
        """Count them."""
        whole, body = work_of(detector, spec).multiplications, work_of(_Body(detector), spec).multiplications
        return cls(body, whole - body)


class _Body(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.detector.maps(images)[-1]


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the recipes for ``count`` pictures."""

    settings: TrainSettings
    count: int
    work: Work
    budget: Budget

    @property
    def batch(self) -> int:
        """Pictures of a step."""
        return min(max(2, self.settings.batch_size // _SHARE), max(self.count, 1))

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.count / self.batch)

    def trial(self) -> Plan:
        """Plan the steps after which a head is asked whether mirror images look the same to it."""
        return self._plan(math.ceil(_TRIAL_STEPS * self.settings.epochs / self.steps), 0.0)

    def examination(self, count: int) -> Plan:
        """Plan a head on ``count`` pictures that is to say what it thinks of others: a third as long."""
        steps = math.ceil(count / self.batch)
        return replace(self._plan(math.ceil(self.head().epochs / _EXAMINED), 0.0), steps=steps)

    def head(self) -> Plan:
        """Plan a head: the body rests, and its maps are remembered."""
        return self._plan(self._epochs(_PASSES * self.work.heads, self.budget.head), 0.0)

    def finetune(self) -> Plan:
        """Plan a finetune from a head's solution, or from random weights."""
        if self.settings.weights == "none":
            return self._plan(self._epochs(_PASSES * (self.work.heads + self.work.body), self.budget.finetune), 1.0)
        return self._plan(self._epochs(self._finetune_work, self.budget.finetune), _BODY, _RESTING)

    @property
    def _finetune_work(self) -> float:
        return _PASSES * self.work.heads + _BODY_PASSES * self.work.body

    def variants(self, bytes_of_picture: int, most: int, ways: int | None) -> int:
        """Say how many variants of each picture are remembered, of ``ways`` that there are; 0 where none has room."""
        wanted = max(1, self.head().epochs // 2) if ways is None else ways
        return min(_VARIANTS, wanted, most // max(1, bytes_of_picture * self.count))

    def too_long(self) -> bool:
        """Whether a CPU would need more than five minutes for the few epochs that a finetune needs at least."""
        least = _FEWEST_EPOCHS * self.steps * self.batch * self._finetune_work
        return not on_gpu() and least > self.budget.finetune

    def _epochs(self, work: float, most: float) -> int:
        """Give the epochs of the settings, more for few pictures, and fewer where a CPU would take too long."""
        wanted = math.ceil(self.settings.epochs * max(1.0, _LEAST_STEPS / self.steps))
        if on_gpu():
            return wanted
        return max(1, min(wanted, max(_FEWEST_EPOCHS, int(most / (work * self.steps * self.batch)))))

    def _plan(self, epochs: int, body: float, resting: float = 0.0) -> Plan:
        rate = self.settings.learning_rate * _RATE
        return Plan(epochs, self.steps, self.batch, rate, body * rate, resting)
