"""How a detector learns: batch by batch, from a checkpoint where there is one, the same way every time."""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from labelloop.errors import TrainingError
from labelloop.kinds.object_detection.recipes.examples import Boxes, Examples
from labelloop.kinds.object_detection.recipes.losses import Truth, loss
from labelloop.kinds.object_detection.recipes.maps import Maps
from labelloop.kinds.object_detection.recipes.network import Detector, short_numbers
from labelloop.train.checkpoints import SUFFIX, Pace, find_checkpoint, make_room, write_checkpoint
from labelloop.train.recipes.finetune_plan import on_gpu
from labelloop.types import Epoch, Progress

_DECAY = 0.05
_WARM_UP = 0.2
_STEEPEST = 10.0  # norm of the slopes, beyond which a step is shortened
_LAYERS = 2  # dimensions from which on a weight is pulled to zero: not biases and norms


@dataclass(frozen=True, slots=True)
class Plan:
    """``epochs`` of ``steps`` of ``batch`` pictures. ``rate`` is the heads' highest learning rate, ``body`` the body's.

    The body rests where its rate is 0; of one that learns, the lowest layers, ``resting`` of them all, do.
    """

    epochs: int
    steps: int
    batch: int
    rate: float
    body: float = 0.0
    resting: float = 0.0


class Source(Protocol):
    """What batches are drawn from."""

    def __len__(self) -> int: ...

    def answered(self, detector: Detector, rows: Sequence[int], seeds: Sequence[int]) -> "Answered":
        """Let the detector answer for examples, each changed by its seed."""
        ...


Answered = tuple[torch.Tensor, torch.Tensor, Sequence[Boxes]]
"""Logits, corners and the boxes that are true."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Pictures that go through the whole detector."""

    examples: Examples
    learns: bool

    def __len__(self) -> int:
        return len(self.examples)

    def answered(self, detector: Detector, rows: Sequence[int], seeds: Sequence[int]) -> Answered:
        """Look at pictures; see Source."""
        drawn = self.examples.drawn(rows, seeds)
        with short_numbers(detector.device):
            with torch.set_grad_enabled(self.learns):
                maps = detector.maps(drawn.images.to(detector.device))
            logits, corners = detector.heads(maps)
        return logits.float(), corners.float(), drawn.boxes


@dataclass(frozen=True, slots=True)
class Remembered:
    """Maps that the body gave before: of ``kept`` examples, or of all (None)."""

    maps: Maps
    kept: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.maps) if self.kept is None else len(self.kept)

    def answered(self, detector: Detector, rows: Sequence[int], seeds: Sequence[int]) -> Answered:
        """Look at maps; see Source."""
        maps, boxes = self.maps.drawn(rows if self.kept is None else [self.kept[row] for row in rows], seeds)
        with short_numbers(detector.device):
            logits, corners = detector.heads([one.to(detector.device) for one in maps])
        return logits.float(), corners.float(), boxes


@dataclass(frozen=True, slots=True)
class Told:
    """Whom to tell: of steps, and after an epoch of the detector, for what it reaches on the validation side."""

    name: str
    progress: Progress
    judge: Callable[[Detector], Epoch] = lambda _: {}


def fit(
    detector: Detector, source: Source, plan: Plan, seed: int, told: Told, checkpoint: Path | None = None
) -> tuple[Epoch, ...]:
    """Let ``detector`` (which changes) learn by the plan, and give what each epoch reached.

    Each example comes once before any comes again. Which, and how it is changed, follows from its place in the training
    and the seed alone. Raises TrainingError where it diverges.
    """
    job = _Job(detector, source, plan, seed, told)
    found, pace = find_checkpoint(checkpoint), Pace()
    if found is not None:
        job.restore(found)
    while len(job.curve) < plan.epochs:
        job.epoch()
        if checkpoint is not None and pace.due(last=len(job.curve) == plan.epochs):
            with pace.writing():
                write_checkpoint(checkpoint, job.state())
    return tuple(job.curve)


def taken_up(detector: Detector, plan: Plan, checkpoint: Path | None) -> tuple[Epoch, ...] | None:
    """Give a detector what a training that came to its end has left, and what its epochs reached; None without one."""
    found = find_checkpoint(checkpoint)
    if found is None or len(found["curve"]) < plan.epochs:
        return None
    detector.load_state_dict(found["detector"])
    detector.eval()
    return tuple(found["curve"])


class _Job:
    def __init__(self, detector: Detector, source: Source, plan: Plan, seed: int, told: Told) -> None:
        self._detector, self._source, self._plan, self._seed, self._told = detector, source, plan, seed, told
        detector.to("cuda" if on_gpu() else "cpu").to(memory_format=torch.channels_last)
        self._weights = learning(detector, plan)
        self._optimizer = torch.optim.AdamW(self._groups(), weight_decay=_DECAY)
        rates = [group["lr"] for group in self._optimizer.param_groups]
        total = max(plan.epochs * plan.steps, 2)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, rates, total_steps=total + 1, pct_start=max(_WARM_UP, 1.5 / total), cycle_momentum=False
        )
        self.curve: list[Epoch] = []

    def epoch(self) -> None:
        """Go on by one epoch."""
        plan, number, begun = self._plan, len(self.curve), time.perf_counter()
        torch.manual_seed(int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0]))
        self._detector.train()
        _hold_statistics(self._detector.body)
        losses = [self._step(number * plan.steps + at) for at in range(plan.steps)]
        mean, seconds = float(torch.stack(losses).mean()), time.perf_counter() - begun
        if not np.isfinite(mean):
            raise TrainingError(
                f"{self._told.name} diverged; lower LABELLOOP_LEARNING_RATE (it led to steps of {plan.rate:g})"
            )
        self._detector.eval()
        self.curve.append(
            {
                "epoch": float(number + 1),
                "learning_rate": float(self._optimizer.param_groups[0]["lr"]),
                "train_loss": mean,
                "seconds": seconds,
                "pictures_per_second": plan.batch * plan.steps / seconds,
                **self._told.judge(self._detector),
            }
        )

    def _step(self, number: int) -> torch.Tensor:
        plan, count = self._plan, len(self._source)
        places = [divmod(at, count) for at in range(number * plan.batch, (number + 1) * plan.batch)]
        rows = [int(np.random.default_rng((self._seed, turn)).permutation(count)[at]) for turn, at in places]
        seeds = np.random.SeedSequence((self._seed, number)).generate_state(plan.batch).tolist()
        logits, corners, boxes = self._source.answered(self._detector, rows, seeds)
        found = loss(self._detector, logits, corners, Truth.of(boxes).to(logits.device))
        self._optimizer.zero_grad()
        found.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._weights, _STEEPEST)
        self._optimizer.step()
        self._schedule.step()
        self._told.progress(self._told.name, number + 1, plan.epochs * plan.steps)
        return found.detach()

    def _groups(self) -> list[dict[str, Any]]:
        """Group weights by what they are: of the body or of the heads, pulled to zero or not."""
        groups = []
        for rate, named in ((self._plan.rate, _heads(self._detector)), (self._plan.body, _body(self._detector))):
            learning = [weight for _, weight in named if weight.requires_grad]
            for decays in (True, False):
                some = [weight for weight in learning if (weight.dim() >= _LAYERS) == decays]
                if some:
                    groups.append({"params": some, "lr": rate, "weight_decay": _DECAY if decays else 0.0})
        return groups

    def state(self) -> dict[str, Any]:
        """Give what it takes to go on from here."""
        return {
            "detector": self._detector.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "curve": [dict(epoch) for epoch in self.curve],
        }

    def restore(self, held: dict[str, Any]) -> None:
        """Go on from there."""
        self._detector.load_state_dict(held["detector"])
        self._optimizer.load_state_dict(held["optimizer"])
        self._schedule.load_state_dict(held["schedule"])
        self.curve = list(held["curve"])
        self._detector.eval()


def learning(detector: Detector, plan: Plan) -> list[nn.Parameter]:
    """Let weights rest that the plan has rest, and give the others."""
    body = _body(detector)
    resting = len(body) if not plan.body else int(plan.resting * len(body))
    for at, (_, weight) in enumerate(body):
        weight.requires_grad_(at >= resting)
    return [weight for weight in detector.parameters() if weight.requires_grad]


def _body(detector: Detector) -> list[tuple[str, nn.Parameter]]:
    """Give the body's weights, from its input on: timm's networks name their layers in that order."""
    return list(detector.body.named_parameters())


def _heads(detector: Detector) -> list[tuple[str, nn.Parameter]]:
    return [(name, weight) for name, weight in detector.named_parameters() if not name.startswith("body.")]


def _hold_statistics(body: nn.Module) -> None:
    """Let batch norms use what they saw in pretraining: the statistics of a few pictures are worse."""
    for layer in body.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()


def checkpoint_file(folder: Path, name: str, detector: Detector, facts: Iterable[object]) -> Path:
    """Name a recipe's checkpoint by all that decides its training: the first weights, and ``facts``."""
    digest = hashlib.sha256(repr((torch.__version__, *facts)).encode())
    for key, tensor in detector.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    path = folder / f"{name}-{digest.hexdigest()[:32]}{SUFFIX}"
    make_room(path, like=f"{name}-*")
    return path
