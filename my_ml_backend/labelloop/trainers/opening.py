"""Opening a trainer by its address."""

from collections.abc import Callable

from labelloop.errors import SettingsError
from labelloop.trainers.base import Trainer
from labelloop.trainers.command import CommandTrainer
from labelloop.trainers.local import LocalTrainer

TRAINERS: dict[str, Callable[[str], Trainer]] = {"local": lambda _: LocalTrainer(), "command": CommandTrainer}
"""What opens each kind of trainer: by what stands before the colon of its address, given the address."""


def open_trainer(address: str) -> Trainer:
    """Open ``local`` or ``command:./train.sh``; raises SettingsError saying what is wrong and what is possible."""
    kind = address.partition(":")[0]
    if kind not in TRAINERS:
        raise SettingsError(f"LABELLOOP_TRAINER: {kind[:40]!r} is no kind of trainer. There are {', '.join(TRAINERS)}")
    return TRAINERS[kind](address)
