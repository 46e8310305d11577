"""Where a training that was killed goes on: one file, of this very training and no other."""

import hashlib
import logging
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from labelloop.train.dataset import Dataset

logger = logging.getLogger(__name__)

_SUFFIX = ".ckpt"


def checkpoint_file(folder: Path, model: nn.Module, dataset: Dataset, facts: Iterable[object]) -> Path:
    """Name the checkpoint by all that decides a training: first weights, pictures and classes, and ``facts``."""
    digest = hashlib.sha256(repr((torch.__version__, dataset.classes, dataset.choice, *facts)).encode())
    for side in (dataset.train, dataset.validation):
        digest.update(repr([(sample.picture, sample.targets) for sample in side]).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return folder / f"finetune-{digest.hexdigest()[:32]}{_SUFFIX}"


def find_checkpoint(path: Path | None) -> dict[str, Any] | None:
    """Read the checkpoint of a training; None where there is none, or only a damaged one."""
    if path is None or not path.is_file():
        return None
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        logger.warning("checkpoint %s cannot be read (%s); the training begins anew", path.name, error)
        return None
    return found


def make_room(path: Path) -> None:
    """Make the folder of a checkpoint, and remove the checkpoints of other trainings from it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob(f"*{_SUFFIX}*"):
        if other != path:
            other.unlink(missing_ok=True)
