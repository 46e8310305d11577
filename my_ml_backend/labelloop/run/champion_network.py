"""The network of a project's champion where a finetune of the project's made it: a last layer is learned on that.

It takes seconds, as a head does, and knows what the finetune has learned (docs/training.md).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from labelloop.bundle_info import BundleInfo
from labelloop.data.split import Part
from labelloop.errors import BundleError
from labelloop.models.bundle import read_network_info
from labelloop.models.champion import ChampionPointer
from labelloop.models.store import Store
from labelloop.models.versions import Versions
from labelloop.run.refits import Origin
from labelloop.types import Json, ProjectKey

if TYPE_CHECKING:
    from labelloop.train.dataset import FinetunedNetwork

_BEGUN_WITH = ("backbone", "image_size", "weights_hash")
"""What decides, beside the labels, which network a finetune makes, and what pictures that takes."""


@dataclass(frozen=True, slots=True)
class ChampionNetwork:
    """``version`` is the finetune that made it, ``champion`` what runs it: the same, or one with a new last layer."""

    store: Store
    project: ProjectKey
    version: str
    champion: str

    @classmethod
    def find(cls, store: Store, project: ProjectKey, training: Json) -> Self | None:
        """Find it; None where no finetune made the champion's network, or by settings other than today's ``training``.

        Raises StoreError.
        """
        champion = ChampionPointer(store, project).read().champion
        record = Versions(store, project).find(champion) if champion else None
        if record is None or record.pruned:
            return None
        version = record.metrics.get("network") or (record.version if record.recipe == "finetune" else "")
        names = _BEGUN_WITH if training.get("weights_hash") else (*_BEGUN_WITH, "weights")
        same = bool(record.trained_with) and all(record.trained_with.get(one) == training.get(one) for one in names)
        return cls(store, project, version, record.version) if version and same else None

    def weights(self, cache: Path) -> tuple[Path, bool]:
        """Fetch its safetensors file, and say whether it answers for the mean over mirror images.

        Raises BundleError, StoreError.
        """
        bundle = Versions(self.store, self.project).fetch_bundle(self.champion, cache, lambda info: (_file(info),))
        info = read_network_info(bundle)
        if _file(info) not in info.files:
            raise BundleError(f"{self.champion} has no {_file(info)}: no last layer can be learned on its network")
        return bundle / _file(info), info.flips

    def open(self, caches: Path) -> "FinetunedNetwork":
        """Fetch it, and what it has learned from.

        Raises BundleError, StoreError, and TrainingError where what it learned from is not known any more.
        """
        from labelloop.train.dataset import FinetunedNetwork

        weights, flips = self.weights(caches / "bundles")
        made = Versions(self.store, self.project).get(self.version)
        origin = Origin(self.store, self.project, made)
        part = Part(origin.manifest(caches / "labels"), origin.named_sides(), ("train",))
        learned = frozenset(item.content for item in part)
        return FinetunedNetwork(self.version, weights, learned, flips)


def _file(info: BundleInfo) -> str:
    return "backbone.safetensors" if getattr(info, "features", "") else "model.safetensors"
