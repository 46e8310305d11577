"""Runs one rank of a finetune, alone or as one of several, and goes on from the checkpoint of one that was killed."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from labelloop.train.checkpoints import Pace, aside, find_checkpoint, make_room
from labelloop.train.finetuning.job import Job, Outcome
from labelloop.train.finetuning.module import Finetune
from labelloop.train.loading import Positions, TrainingBatches, ValidationBatches, loader, rank_batches, worker_count
from labelloop.train.recipes.finetune_plan import on_gpu
from labelloop.types import Progress, Watch


class Keeper(Checkpoint):
    """Writes the checkpoint after the epochs at ``path``, whole or not at all.

    It comes after the epoch that is ``last`` or that stops the training, and after any other as long as writing takes
    less than a twentieth of the time.
    """

    def __init__(self, path: Path, last: int) -> None:
        self._path, self._last, self._pace = path, last, Pace()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Write, where it is time; Lightning calls this after the module's own."""
        last = trainer.should_stop or trainer.current_epoch + 1 == self._last
        if not trainer.strategy.broadcast(self._pace.due(last=last)):
            return
        with self._pace.writing():
            trainer.save_checkpoint(aside(self._path))
            if trainer.is_global_zero:
                aside(self._path).replace(self._path)


_EVALUATED = 64


def run_rank(
    job: Job, network: nn.Module, progress: Progress, watch: Watch, rank: int = 0, workers: int | None = None
) -> Outcome:
    """Train ``network`` (which changes) as ``rank`` of the job's ranks, from its checkpoint where there is one.

    All ranks return the same; ``progress`` and ``watch`` are the first one's. ``workers`` is how many processes prepare
    the pictures, None for as many as the machine has room for. Raises TrainingError.
    """
    planned = job.plan
    positions = Positions(planned.steps * planned.accumulate, planned.size, rank, planned.ranks)
    module = Finetune(job, network, positions, progress, watch)
    found = find_checkpoint(job.checkpoint)
    if found is not None:
        module.on_load_checkpoint(found)
        if module.stopped or len(module.outcome.curve) >= planned.epochs:
            return module.outcome
    training = TrainingBatches(job.packed, job.truth, job.weights, job.draw, job.policy, mirrors=job.mirrors)
    if workers is None:
        workers = worker_count(planned.size * job.spec.height * job.spec.width * 3, planned.ranks)
    with _quiet():
        _trainer(job).fit(
            module,
            loader(training, positions, workers, pinned=on_gpu()),
            _validation(job, rank),
            ckpt_path=None if found is None else job.checkpoint,
            weights_only=True,
        )
    return module.outcome


def _validation(job: Job, rank: int) -> Any:
    if not len(job.validation):
        return None
    pictures = ValidationBatches(job.packed, first=len(job.truth))
    return loader(pictures, rank_batches(len(job.validation), _EVALUATED, rank, job.plan.ranks), 0, pinned=on_gpu())


def _trainer(job: Job) -> pl.Trainer:
    planned = job.plan
    keep: list[pl.Callback] = []
    if job.checkpoint is not None:
        make_room(job.checkpoint)
        keep = [Keeper(job.checkpoint, planned.epochs)]
    return pl.Trainer(
        accelerator="gpu" if on_gpu() else "cpu",
        devices=planned.ranks,
        strategy=DDPStrategy() if planned.ranks > 1 else "auto",
        sync_batchnorm=job.fresh and planned.ranks > 1 and on_gpu(),
        plugins=[LightningEnvironment()],  # whatever scheduler's variables the environment holds
        precision=_precision(),
        max_epochs=planned.epochs,
        accumulate_grad_batches=planned.accumulate,
        callbacks=keep,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=bool(keep),
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _precision() -> Any:
    if not on_gpu():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave the words to the run's record: Lightning's advice and its tips are not for those who run this."""
    told = logging.getLogger("lightning.pytorch").getEffectiveLevel()
    names = ("lightning.pytorch", "lightning.fabric")
    before = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        # torch 2.15 about what Lightning 2.6 does.
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        # Workers are forked, and read pixels and nothing else; Python 3.12 warns where other threads run.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        for name in names:
            logging.getLogger(name).setLevel(max(told, logging.WARNING))
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
