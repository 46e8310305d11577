"""Trains an encoder on windows of texts: deterministic by the seed, and on from its checkpoint where it was killed."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from labelloop.errors import TrainingError
from labelloop.kinds.texts.bio import IGNORED, Tags
from labelloop.kinds.texts.recipes.encoder_network import Array, EncoderNetwork, outputs_of
from labelloop.kinds.texts.recipes.encoder_plan import EncoderPlan
from labelloop.kinds.texts.windows import Ids, padded
from labelloop.train.averages import Average
from labelloop.train.checkpoints import Pace, find_checkpoint, make_room, write_checkpoint
from labelloop.train.loading import Draw
from labelloop.train.losses import losses
from labelloop.train.recipes.finetune_plan import on_gpu
from labelloop.types import Choice, Epoch, Progress, Watch

_WARM_UP, _DECAY, _LONGEST_SLOPE = 0.1, 0.01, 1.0
_BUCKET = 16  # batches within which windows are sorted by length


class Aim(Protocol):
    """What windows are to be answered with."""

    def answers(self, rows: Ids) -> int:
        """Count the answers that windows are to be given."""
        ...

    def loss(self, logits: torch.Tensor, rows: Ids) -> torch.Tensor:
        """Sum the loss over the answers of windows ``rows``."""
        ...

    def digest(self) -> bytes:
        """Spell all that is to be answered."""
        ...


@dataclass(frozen=True, slots=True)
class Classes:
    """One answer for each text: ``truth`` and ``weights``, both (texts, classes), as losses takes them."""

    truth: Array
    weights: Array
    choice: Choice

    def answers(self, rows: Ids) -> int:
        """One for each text; see Aim."""
        return len(rows)

    def loss(self, logits: torch.Tensor, rows: Ids) -> torch.Tensor:
        """Sum the cross-entropies; see Aim."""
        truth, weights = (torch.from_numpy(one[rows]).to(logits.device) for one in (self.truth, self.weights))
        return losses(logits, truth, weights, self.choice).sum()

    def digest(self) -> bytes:
        """Spell truth and weights; see Aim."""
        return self.truth.tobytes() + self.weights.tobytes()


@dataclass(frozen=True, slots=True)
class SubTokenTags:
    """One answer for each sub-token: ``tags`` of each window, (its ids,), with bio.IGNORED where there is none."""

    tags: Sequence[Tags]

    def answers(self, rows: Ids) -> int:
        """Those that are not ignored; see Aim."""
        return int(sum((self.tags[row] != IGNORED).sum() for row in rows))

    def loss(self, logits: torch.Tensor, rows: Ids) -> torch.Tensor:
        """Sum the cross-entropies; see Aim."""
        wanted = torch.full(logits.shape[:2], IGNORED, dtype=torch.int64)
        for at, row in enumerate(rows):
            wanted[at, : len(self.tags[row])] = torch.from_numpy(self.tags[row])
        flat = wanted.flatten().to(logits.device)
        return functional.cross_entropy(logits.flatten(0, 1), flat, ignore_index=IGNORED, reduction="sum")

    def digest(self) -> bytes:
        """Spell the tags; see Aim."""
        return b"".join(tags.tobytes() for tags in self.tags)


Reached = Callable[[Sequence[Array]], Mapping[str, float]]
"""Measures the validation side by the logits of its windows; empty without any."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training: windows of both sides, what those of training are to be answered with, and how it goes.

    ``checkpoints`` is a folder of the run alone, None for none. ``recipe`` is the name that progress is told under.
    """

    train: Sequence[Ids]
    validation: Sequence[Ids]
    aim: Aim
    reached: Reached
    plan: EncoderPlan
    pad: int
    seed: int
    checkpoints: Path | None = None
    recipe: str = "finetune"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: the logits of the validation windows, and what each epoch reached."""

    logits: Sequence[Array]
    curve: tuple[Epoch, ...]


def train(job: Job, network: EncoderNetwork, progress: Progress, watch: Watch) -> Outcome:
    """Train ``network``, which changes and comes back on the CPU in eval mode; raises TrainingError.

    On the GPU where there is one. What ``progress`` or ``watch`` raises ends the training.
    """
    device = torch.device("cuda" if on_gpu() else "cpu")
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_gpu() else []):
        outcome = _Training(job, network.to(device), progress, watch).run()
    network.to("cpu").eval()
    return outcome


class _Training:
    def __init__(self, job: Job, network: EncoderNetwork, progress: Progress, watch: Watch) -> None:
        self._job, self._network, self._progress, self._watch = job, network, progress, watch
        self._path = None if job.checkpoints is None else _checkpoint_file(job.checkpoints, job, network)
        network.rest()
        planned = job.plan
        total = max(planned.epochs * planned.steps, 2)
        self._optimizer = torch.optim.AdamW(_groups(network), lr=planned.learning_rate)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, partial(_rising, _WARM_UP * total))
        self._average = Average(network, total, fresh=False)
        self._draw = Draw(len(job.train), job.seed)
        self._curve: list[Epoch] = []
        self._stopped = False
        self._logits: Sequence[Array] = []

    def run(self) -> Outcome:
        self._resume()
        pace = Pace()
        while len(self._curve) < self._job.plan.epochs and not self._stopped:
            self._epoch(len(self._curve))
            if self._path is not None and pace.due(last=self._stopped or len(self._curve) == self._job.plan.epochs):
                with pace.writing():
                    write_checkpoint(self._path, self._state())
        if not self._logits:
            self._logits = self._validated()
        self._network.load_state_dict(self._average.model.state_dict())
        return Outcome(self._logits, tuple(self._curve))

    def _epoch(self, number: int) -> None:
        job, begun = self._job, time.perf_counter()
        torch.manual_seed(job.seed * 1_000_003 + number)
        self._network.train()
        lost, answered, rate = 0.0, 0, self._optimizer.param_groups[0]["lr"]
        for step, rows in enumerate(_batches(job, self._draw, number)):
            lost += self._step(rows)
            answered += job.aim.answers(rows)
            rate = max(rate, self._optimizer.param_groups[0]["lr"])
            self._progress(job.recipe, number * job.plan.steps + step + 1, job.plan.epochs * job.plan.steps)
        seconds = time.perf_counter() - begun
        self._network.eval()
        self._logits = self._validated()
        if not np.isfinite(lost) or not all(np.isfinite(one).all() for one in self._logits):
            raise TrainingError(
                "finetune of the encoder diverged; lower LABELLOOP_LEARNING_RATE "
                f"(it learns at {job.plan.learning_rate:g} at most)"
            )
        self._curve.append({
            "epoch": float(number + 1),
            "learning_rate": float(rate),
            "train_loss": lost / max(1, answered),
            "seconds": seconds,
            "texts_per_second": job.plan.steps * job.plan.batch / seconds,
            **job.reached(self._logits),
        })  # fmt: skip
        self._stopped = self._watch(job.recipe, self._curve[-1])

    def _step(self, rows: Ids) -> float:
        """Learn from one batch, in pieces that fit into memory; give its loss, summed."""
        job, device = self._job, next(self._network.parameters()).device
        answers, lost = max(1, job.aim.answers(rows)), 0.0
        self._optimizer.zero_grad(set_to_none=True)
        for piece in _pieces(rows, job.train, job.plan.most):
            ids, mask = (torch.from_numpy(one).to(device) for one in padded([job.train[row] for row in piece], job.pad))
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                logits = self._network(ids, mask)
            loss = job.aim.loss(logits.float(), piece)
            (loss / answers).backward()  # type: ignore[no-untyped-call]
            lost += float(loss.detach())
        nn.utils.clip_grad_norm_(self._network.parameters(), _LONGEST_SLOPE)
        self._optimizer.step()
        self._schedule.step()
        self._average.update(self._network)
        return lost

    def _validated(self) -> list[Array]:
        return outputs_of(self._average.model, self._job.validation, self._job.pad)

    def _state(self) -> dict[str, Any]:
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": self._average.model.state_dict(),
            "steps": self._average.steps,
            "curve": [dict(epoch) for epoch in self._curve],
            "stopped": self._stopped,
        }

    def _resume(self) -> None:
        if self._path is None:
            return
        make_room(self._path)
        held = find_checkpoint(self._path)
        if held is None:
            return
        self._network.load_state_dict(held["network"])
        self._optimizer.load_state_dict(held["optimizer"])
        self._schedule.load_state_dict(held["schedule"])
        self._average.model.load_state_dict(held["average"])
        self._average.steps = held["steps"]
        self._curve, self._stopped = list(held["curve"]), held["stopped"]


def _checkpoint_file(folder: Path, job: Job, network: nn.Module) -> Path:
    """Name the checkpoint by all that decides the training."""
    digest = hashlib.sha256(repr((torch.__version__, asdict(job.plan), job.pad, job.seed)).encode())
    for row in (*job.train, *job.validation):
        digest.update(len(row).to_bytes(8) + row.tobytes())
    digest.update(job.aim.digest())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return folder / f"encoder-{digest.hexdigest()[:32]}.ckpt"


def _groups(network: nn.Module) -> list[dict[str, Any]]:
    """Pull weights towards zero, but no biases and norms."""
    learned = [one for one in network.parameters() if one.requires_grad]
    return [
        {"params": [one for one in learned if one.ndim > 1], "weight_decay": _DECAY},
        {"params": [one for one in learned if one.ndim <= 1], "weight_decay": 0.0},
    ]


def _rising(warm_up: float, step: int) -> float:
    """Give the share of the highest rate: it rises over a tenth of the steps and stays, for an average."""
    return min(1.0, (step + 1) / (warm_up + 1))


def _batches(job: Job, draw: Draw, number: int) -> Iterator[Ids]:
    """Yield the windows of each step of an epoch, those of about the same length together."""
    planned, count = job.plan, len(job.train)
    size = planned.steps * planned.batch
    first = number * size
    turns = {turn: draw.turn(turn) for turn in range(first // count, (first + size - 1) // count + 1)}
    stream = np.array([turns[at // count][at % count] for at in range(first, first + size)], dtype=np.int64)
    chance = np.random.default_rng((job.seed, number, 1))
    bucket = _BUCKET * planned.batch
    batches: list[npt.NDArray[np.int64]] = []
    for begin in range(0, size, bucket):
        part = stream[begin : begin + bucket]
        part = part[np.argsort([len(job.train[row]) for row in part], kind="stable")]
        batches += [part[at : at + planned.batch] for at in range(0, len(part), planned.batch)]
    for at in chance.permutation(len(batches)):
        yield batches[at]


def _pieces(rows: Ids, windows: Sequence[Ids], most: int) -> Iterator[Ids]:
    """Part a batch so that none of its pieces, filled up, has more than ``most`` sub-tokens."""
    begin, longest = 0, 0
    for at, row in enumerate(rows):
        longest = max(longest, len(windows[row]))
        if at > begin and longest * (at - begin + 1) > most:
            yield rows[begin:at]
            begin, longest = at, len(windows[row])
    yield rows[begin:]
