"""Keeps the checkpoint of a training: after an epoch, as often as it costs little."""

import time
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

_SHARE = 0.05


class Keeper(Checkpoint):
    """Writes the checkpoint after the epochs at ``path``, whole or not at all.

    It comes after the epoch that is ``last`` or that stops the training, and after any other as long as writing takes
    less than a twentieth of the time.
    """

    def __init__(self, path: Path, last: int) -> None:
        self._path, self._last = path, last
        self._written = time.monotonic()
        self._took = 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Write, where it is time; Lightning calls this after the module's own."""
        due = trainer.should_stop or trainer.current_epoch + 1 == self._last
        since = time.monotonic() - self._written
        if not trainer.strategy.broadcast(due or since * _SHARE >= self._took):
            return
        begun, partial = time.monotonic(), self._path.with_name(f"{self._path.name}.partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.replace(self._path)
        self._written = time.monotonic()
        self._took = self._written - begun
