"""What a run asks before its training, where that is somebody else's: nothing of ours is built for it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from labelloop.kinds.base import Hyperparameters, Kind, on_features
from labelloop.settings import Settings
from labelloop.trainers.opening import ON_FEATURES, open_trainer
from labelloop.types import Item, Json

if TYPE_CHECKING:
    from labelloop.run.context import Context


class Learner(Protocol):
    """Who knows what is trained with, and how items must be for that: see Kind, which is one."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Fields of the settings that are its own."""

    def hyperparameters(self, settings: Settings) -> Hyperparameters:
        """Take from the settings what training needs."""

    def check_settings(self, settings: Settings, *, thorough: bool) -> None:
        """Raise TrainingError, or SettingsError, for settings that nothing could be trained with."""

    def prepare(self, context: "Context", items: Iterable[Item], total: int) -> Mapping[str, str]:
        """Bring items into the form that training reads; maps what cannot be read to the reason."""


def learner(kind: Kind, settings: Settings) -> Learner:
    """Say who knows that: the kind where our stages train, here or elsewhere, else nobody but the settings' trainer."""
    if settings.trainer == "local":
        return kind
    if settings.trainer.startswith(ON_FEATURES):
        return on_features(kind)
    return _Elsewhere(kind) if open_trainer(settings).ours else _FOREIGN


@dataclass(frozen=True, slots=True)
class ForeignTraining:
    """All that we know of a foreign training's hyperparameters: whose it is, by its ``address``, and the seed."""

    address: str
    recipes: tuple[str, ...]
    seed: int

    def to_json(self) -> Json:
        """Give the values that a version's record keeps; an address may hold more than is to be shown."""
        return {name: value for name, value in asdict(self).items() if name != "address"}

    def fingerprint(self) -> str:
        """Hash all that matters to the result: another trainer makes another version of the same labels."""
        values = {"trainer": self.address, "seed": self.seed}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class _Foreign:
    """A trainer that takes items as they are, and has its settings elsewhere."""

    settings: tuple[str, ...] = ()

    def hyperparameters(self, settings: Settings) -> Hyperparameters:
        """Take the trainer's address and the seed."""
        return ForeignTraining(settings.trainer, (settings.trainer.partition(":")[0],), settings.seed)

    def check_settings(self, settings: Settings, *, thorough: bool) -> None:
        """Raise SettingsError for an address that is none, TrainingError for a trainer that is not here."""
        open_trainer(settings).check(thorough=thorough)

    def prepare(
        self,
        context: "Context",  # noqa: ARG002 - see Kind
        items: Iterable[Item],  # noqa: ARG002
        total: int,  # noqa: ARG002
    ) -> Mapping[str, str]:
        """Leave them as they are."""
        return {}


class _Elsewhere(_Foreign):
    """Our own training on other machines: what the kind says of it holds, and items are made ready there."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.settings = kind.settings

    def hyperparameters(self, settings: Settings) -> Hyperparameters:
        """Take all that the kind does: the same labels make the same run, wherever it is trained."""
        return self._kind.hyperparameters(settings)


_FOREIGN = _Foreign()
