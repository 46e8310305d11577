"""Opening a trainer by its address."""

from labelloop.errors import SettingsError
from labelloop.trainers.base import Trainer
from labelloop.trainers.local import LocalTrainer


def open_trainer(address: str) -> Trainer:
    """Open ``local`` or ``command:./train.sh``; raises SettingsError saying what is wrong and what is possible."""
    if address == "local":
        return LocalTrainer()
    raise SettingsError(f"LABELLOOP_TRAINER: {address.partition(':')[0][:40]!r} is no kind of trainer. There is local")
