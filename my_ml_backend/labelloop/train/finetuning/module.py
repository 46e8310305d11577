"""One finetune as Lightning runs it: its step, its average, and what each epoch reached."""

import time
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from labelloop.errors import TrainingError
from labelloop.train import metrics
from labelloop.train.averages import Average
from labelloop.train.finetuning.job import Job, Outcome
from labelloop.train.loading import Positions
from labelloop.train.losses import Mixup, losses
from labelloop.train.optimizers import make_optimizer, make_schedule, rest
from labelloop.train.parity import normalised
from labelloop.types import Epoch, Progress, Watch


class Clock:
    """Measures an epoch's steps: ``seconds`` in all, ``waiting`` for pictures, and their mean ``loss``."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin an epoch."""
        self._begun = self._last = time.perf_counter()
        self.waiting = 0.0
        self._losses: list[torch.Tensor] = []

    def arrived(self) -> None:
        """Note that a step has its pictures."""
        self.waiting += time.perf_counter() - self._last

    def note(self, loss: torch.Tensor) -> None:
        """Note a step's loss; it stays on its device, for reading it would wait for the step."""
        self._losses.append(loss.detach())

    def done(self) -> None:
        """Note the end of a step."""
        self._last = time.perf_counter()

    @property
    def seconds(self) -> float:
        """From the beginning to the end of the last step."""
        return self._last - self._begun

    @property
    def loss(self) -> torch.Tensor:
        """The mean over the epoch's batches."""
        return torch.stack(self._losses).mean()


class Finetune(pl.LightningModule):
    """Trains ``network``; ``outcome`` tells what came of it, ``stopped`` whether it ended before its last epoch."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, job: Job, network: nn.Module, positions: Positions, progress: Progress, watch: Watch) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        rest(self.network, job.plan.resting)  # before DDP looks for what is to be learned
        self.stopped = False
        self._job, self._positions, self._progress, self._watch = job, positions, progress, watch
        self._average = Average(self.network, job.plan.steps * job.plan.epochs, fresh=job.fresh)
        self._curve: list[Epoch] = []
        self._logits = np.zeros(job.validation.shape, dtype=np.float32)
        self._parts: list[torch.Tensor] = []
        self._clock = Clock()
        for name, values in (("mean", job.spec.mean), ("std", job.spec.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    @property
    def outcome(self) -> Outcome:
        """What the epochs so far made."""
        state = {name: tensor.detach().cpu().clone() for name, tensor in self._average.model.state_dict().items()}
        return Outcome(state, self._logits, tuple(self._curve))

    def configure_optimizers(self) -> Any:
        """Give the optimizer and its schedule, which moves with every step."""
        planned = self._job.plan
        name, rate = self._job.settings.optimizer, planned.learning_rate
        optimizer = make_optimizer(self.network, name, rate, planned.layer_decay)
        schedule = make_schedule(optimizer, planned.epochs * planned.steps, level=planned.level)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Bring the average to the network's device."""
        self._average.model.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Let what an epoch draws (dropout, mixup) follow from its number alone, so that it can be taken up again."""
        chance = np.random.SeedSequence((self._job.settings.seed, self.current_epoch, self.global_rank))
        torch.manual_seed(int(chance.generate_state(1)[0]))
        self.network.train()
        if not self._job.fresh:
            _hold_statistics(self.network)
        self._clock.begin()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's
        """Note that the step has its pictures."""
        self._clock.arrived()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's
        """Give the loss of a batch (loading.Batch)."""
        pixels, truth, weights = batch
        images, choice, alpha = normalised(pixels, self.mean, self.std), self._job.choice, self._job.settings.mixup
        if alpha:
            blend = Mixup(alpha, len(images), images.device)
            found = blend.loss(self.network(blend.images(images)).float(), truth, weights, choice)
        else:
            found = losses(self.network(images).float(), truth, weights, choice).mean()
        self._clock.note(found)
        return found

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's
        """Let the average follow each step of the optimizer."""
        planned = self._job.plan
        if (batch_idx + 1) % planned.accumulate == 0:
            self._average.update(self.network)
            if self.global_rank == 0:
                self._progress("finetune", self.global_step, planned.epochs * planned.steps)
        self._clock.done()

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's
        """Note the average's logits."""
        images = normalised(batch[0], self.mean, self.std)
        logits = self._average.model(images).float()
        if self._job.flips:
            logits = (logits + self._average.model(images.flip(3)).float()) / 2
        self._parts.append(logits)

    def on_train_epoch_end(self) -> None:
        """Judge the average, tell of the epoch, and stop where whoever watches says so."""
        self._logits = self._gathered()
        self._refuse_divergence()
        self._curve.append(self._reached())
        if self.global_rank == 0:
            self.stopped = self._watch("finetune", self._curve[-1])
        self.stopped = self.trainer.strategy.reduce_boolean_decision(self.stopped, all=False)
        self.trainer.should_stop = self.stopped
        self._positions.epoch = self.current_epoch + 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of, as tensors and numbers."""
        checkpoint["finetune"] = {
            "average": self._average.model.state_dict(),
            "steps": self._average.steps,
            "stopped": self.stopped,
            "curve": [dict(epoch) for epoch in self._curve],
            "logits": torch.from_numpy(self._logits),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from there."""
        held = checkpoint["finetune"]
        self.stopped, self._curve, self._logits = held["stopped"], held["curve"], held["logits"].numpy()
        self._average.model.load_state_dict(held["average"])
        self._average.steps = held["steps"]
        self._positions.epoch = len(self._curve)

    def _gathered(self) -> npt.NDArray[np.float32]:
        """Bring the ranks' logits together, in the order of the validation pictures."""
        if not self._parts:
            return self._logits
        own, self._parts = torch.cat(self._parts), []
        shares = [own]
        if self._job.plan.ranks > 1:
            shares = [torch.empty_like(own) for _ in range(self._job.plan.ranks)]
            torch.distributed.all_gather(shares, own)
        together: npt.NDArray[np.float32] = torch.stack(shares, dim=1).flatten(0, 1).cpu().numpy()
        return together[: len(self._job.validation)]

    def _refuse_divergence(self) -> None:
        finite = all(bool(torch.isfinite(parameter).all()) for parameter in self._average.model.parameters())
        if not finite or not np.isfinite(self._logits).all():
            settings = self._job.settings
            raise TrainingError(
                f"finetune of {settings.backbone!r} by {settings.optimizer} diverged; lower LABELLOOP_LEARNING_RATE "
                f"(now {settings.learning_rate:g})"
            )

    def _reached(self) -> Epoch:
        planned, seconds, job = self._job.plan, self._clock.seconds, self._job
        loss_of_all = self.trainer.strategy.reduce(self._clock.loss, reduce_op="mean")
        reached = {
            "epoch": float(self.current_epoch + 1),
            "learning_rate": float(max(group["lr"] for group in self.trainer.optimizers[0].param_groups)),
            "train_loss": float(loss_of_all),
            "seconds": seconds,
            "pictures_per_second": planned.batch * planned.steps / seconds,
            "waiting": self._clock.waiting / seconds,
        }
        if len(logits := self._logits):
            reached["validation_loss"] = metrics.log_loss(job.validation, logits, job.choice)
            given = metrics.predictions(logits, job.choice)
            reached["validation_accuracy"] = metrics.accuracy(job.validation, given)
        return reached


def _hold_statistics(model: nn.Module) -> None:
    """Let batch norms use what they saw in pretraining: the statistics of a few small batches are worse."""
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()
