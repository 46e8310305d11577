"""Checkpoints of trainings: read where they are whole, written whole or not at all, and not too often."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

logger = logging.getLogger(__name__)

SUFFIX = ".ckpt"
_SHARE = 0.05


def find_checkpoint(path: Path | None) -> dict[str, Any] | None:
    """Read the checkpoint of a training; None where there is none, or only a damaged one."""
    if path is None or not path.is_file():
        return None
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, UnpicklingError) as error:
        logger.warning("checkpoint %s cannot be read (%s); the training begins anew", path.name, error)
        return None
    return found


def make_room(path: Path, like: str = "*") -> None:
    """Make the folder of a checkpoint, and remove those of other trainings from it whose names are ``like`` that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob(f"{like}{SUFFIX}*"):
        if other != path:
            other.unlink(missing_ok=True)


def aside(path: Path) -> Path:
    """Name the file that a checkpoint is written to before it takes its place."""
    return path.with_name(f"{path.name}.partial")


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers and texts."""
    torch.save(dict(state), aside(path))
    aside(path).replace(path)


class Pace:
    """Says after which epochs a checkpoint is written: as long as that takes less than a twentieth of the time."""

    def __init__(self) -> None:
        self._written = time.monotonic()
        self._took = 0.0

    def due(self, *, last: bool) -> bool:
        """Tell whether it is time; after the ``last`` epoch it always is."""
        return last or (time.monotonic() - self._written) * _SHARE >= self._took

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Note how long writing takes."""
        begun = time.monotonic()
        yield
        self._written = time.monotonic()
        self._took = self._written - begun
