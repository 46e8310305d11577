"""The two speeds of a project: recipes that its runs train in seconds, and those that they leave to a challenger."""

from dataclasses import dataclass, replace

from labelloop.kinds.base import LAST_LAYER, Kind
from labelloop.models.store import Store
from labelloop.run.champion_network import ChampionNetwork
from labelloop.settings import Settings
from labelloop.trainers.opening import ON_FEATURES
from labelloop.types import ProjectKey


@dataclass(frozen=True, slots=True)
class Speeds:
    """Which recipes a project's runs train, and which are ``left`` to challengers: none where there is one speed.

    ``quick`` says that its runs take seconds: what they train are the kind's quick recipes alone.
    """

    run: tuple[str, ...]
    left: tuple[str, ...] = ()
    quick: bool = False

    @classmethod
    def of(cls, kind: Kind, settings: Settings, project: ProjectKey) -> "Speeds":
        """Take them from the settings that the project is trained with.

        Who trains elsewhere trains all recipes in one go, for a machine is begun for it. So does a model run of
        Labelbox: somebody waits for its one result. On the features of somebody else's endpoint there are only heads.
        """
        competing = kind.competing(settings)
        if settings.trainer.startswith(ON_FEATURES):
            return cls(competing, quick=True)
        quick = tuple(name for name in competing if name in kind.quick)
        if not quick or settings.trainer != "local" or project.model_run:
            return cls(competing)
        return cls(quick, tuple(name for name in competing if name not in kind.quick), quick=True)

    def running(self, settings: Settings) -> Settings:
        """Give the settings of the project's own runs."""
        return replace(settings, recipes=self.run) if self.left else settings

    def challenging(self, settings: Settings) -> Settings:
        """Give the settings of its challengers."""
        return replace(settings, recipes=self.left)


def champion_network(store: Store, project: ProjectKey, kind: Kind, settings: Settings) -> ChampionNetwork | None:
    """Give the champion's network where the project's runs learn a last layer on it, beside a head; else None.

    Raises StoreError, and TrainingError where a file that the ``settings`` name cannot be read.
    """
    heads = LAST_LAYER in kind.quick and "head" in kind.competing(settings)
    if not heads or settings.trainer != "local" or not Speeds.of(kind, settings, project).quick:
        return None
    return ChampionNetwork.find(store, project, kind, settings)
