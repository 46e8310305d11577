"""The network of a project's champion where a finetune of the project's made it: a last layer is learned on that.

It takes seconds, as a head does, and knows what the finetune has learned (docs/training.md).
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from labelloop.bundle_info import ClassesInfo
from labelloop.data.split import Part
from labelloop.errors import BundleError, Damaged, NotFound, TrainingError
from labelloop.kinds.base import Kind
from labelloop.models.bundle import read_bundle_info
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import Runs
from labelloop.models.store import Store
from labelloop.models.versions import VersionRecord, Versions
from labelloop.run.refits import Origin
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey

if TYPE_CHECKING:
    from labelloop.run.context import Context
    from labelloop.train.dataset import FinetunedNetwork

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChampionNetwork:
    """``version`` is the finetune that made it, ``champion`` what runs it: the same, or one with a new last layer."""

    store: Store
    project: ProjectKey
    kind: Kind
    version: str
    champion: str

    @classmethod
    def find(cls, store: Store, project: ProjectKey, kind: Kind, settings: Settings) -> Self | None:
        """Find it; None where no finetune of this kind made the champion's network, or one by other ``settings``.

        Raises StoreError, and TrainingError where a file that the settings name cannot be read.
        """
        champion = ChampionPointer(store, project).read().champion
        record = Versions(store, project).find(champion) if champion else None
        if record is None or record.pruned:
            return None
        version = record.metrics.get("network") or (record.version if record.recipe == "finetune" else "")
        if not version or not record.trained_with or not _learned(store, project, record, kind):
            return None
        same = _begins_alike(kind, record.trained_with, kind.hyperparameters(settings).to_json())
        return cls(store, project, kind, version, record.version) if same else None

    def weights(self, cache: Path) -> Path:
        """Fetch the file of its weights, with what else of the bundle the kind needs to run it; see Kind.network_files.

        Raises BundleError, StoreError.
        """
        bundle = Versions(self.store, self.project).fetch_bundle(self.champion, cache, self.kind.network_files)
        info = read_bundle_info(bundle)
        names = self.kind.network_files(info)
        if missing := [name for name in names if name not in info.files]:
            raise BundleError(f"{self.champion} has no {missing[0]}: no last layer can be learned on its network")
        return bundle / names[0]

    def open(self, caches: Path) -> "FinetunedNetwork":
        """Fetch it, and what it has learned from.

        Raises BundleError, StoreError, and TrainingError where what it learned from is not known any more.
        """
        from labelloop.train.dataset import FinetunedNetwork

        weights = self.weights(caches / "bundles")
        info = read_bundle_info(weights.parent)
        made = Versions(self.store, self.project).get(self.version)
        origin = Origin(self.store, self.project, made)
        part = Part(origin.manifest(caches / "labels"), origin.named_sides(), ("train",))
        learned = frozenset(item.content for item in part)
        return FinetunedNetwork(self.version, weights, learned, isinstance(info, ClassesInfo) and info.flips)


def opened(context: "Context") -> "FinetunedNetwork | None":
    """Open the champion's network, where a run learns a last layer on it; without it there is the head."""
    if context.network is None:
        return None
    try:
        return context.network.open(context.settings.directory / "cache")
    except (BundleError, TrainingError, NotFound, Damaged) as error:
        _log.warning("no last layer is learned on the network of %s: %s", context.network.version, error)
        return None


def _learned(store: Store, project: ProjectKey, record: VersionRecord, kind: Kind) -> bool:
    """Whether a version is of a kind, as far as its run tells: before, the label config may have asked another."""
    run = Runs(store, project).find(record.run)
    return run is None or run.kind in ("", kind.name)


def _begins_alike(kind: Kind, before: Json, today: Json) -> bool:
    """Whether a finetune begins with the same network; a file or folder is known by its content, wherever it lies."""

    def said(values: Json, name: str) -> object:
        return values.get(f"{name}_hash") or values.get(name)

    return all(said(before, name) == said(today, name) for name in kind.begins_with)
