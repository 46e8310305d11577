"""A head on features that are taken already: the product's recipe, temperature and refit, in tenths of a second.

Nothing of it is written again here. The recipe is handed a network that is its last layer alone, and finds the features
in its own cache, as it would for pictures that it has seen before.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.learning.features import Features, Rows
from labelloop.bundle_info import PictureSpec
from labelloop.models.features import Features as Kept
from labelloop.train import metrics
from labelloop.train.backbone import classifier
from labelloop.train.contest import with_temperature
from labelloop.train.crossvalidation import mean
from labelloop.train.dataset import Dataset, Sample, in_order
from labelloop.train.frozen import backbone_hash
from labelloop.train.pixels import PixelCache
from labelloop.train.recipes import head
from labelloop.train.recipes.base import Candidate, Material
from labelloop.types import TrainSettings

Scores = npt.NDArray[np.float64]
_SPEC = PictureSpec(8, 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
_NAME = "features"


class _Given(nn.Module):
    """A network whose features are kept, and never taken: it sees of a picture how light that is."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, classes)

    def get_classifier(self) -> nn.Linear:
        return self.head

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3))[:, None].expand(-1, self.head.in_features)

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        logits: torch.Tensor = features if pre_logits else self.head(features)
        return logits


@dataclass(frozen=True)
class Head:
    """What serves: the last layer, and whether it is asked about the mean of picture and mirror image."""

    candidate: Candidate
    features: Features

    def scores(self, rows: npt.NDArray[np.intp]) -> Scores:
        """Give the scores of pictures by row: (rows, classes)."""
        asked: Rows = self.features.straight[rows]
        if self.candidate.flips:
            asked = mean(asked, self.features.mirrored[rows])
        with torch.inference_mode():
            logits = classifier(self.candidate.model)(torch.from_numpy(asked)).numpy()
        return metrics.probabilities(logits, "single")


@dataclass(frozen=True)
class Trainer:
    """Trains heads on some of the features, which lie in a feature cache below ``folder``."""

    features: Features
    folder: Path
    settings: TrainSettings = field(default_factory=lambda: TrainSettings(backbone=_NAME, recipes=("head",)))

    def prepare(self) -> "Trainer":
        """Fill the cache; once."""
        torch.set_num_threads(1)
        network = self._network()
        kept = Kept.beside(self.folder, backbone_hash(network, _NAME, _SPEC), network.head.in_features)
        kept.keep(self.features.names, self.features.straight)
        kept.keep(self.features.names, self.features.mirrored, mirrored=True)
        return self

    def train(
        self, train: Sequence[int], validation: Sequence[int], labels: npt.NDArray[np.int64] | None = None
    ) -> Head:
        """Train on rows as a run does: fit, temperature, refit; ``labels`` are the annotators' (None: true ones)."""
        given = self.features.labels if labels is None else labels
        sides = (
            [Sample(Path(), self.features.names[at], (int(given[at]),)) for at in side] for side in (train, validation)
        )
        dataset = in_order(Dataset(self.features.classes, "single", *map(tuple, sides)))
        material = Material(dataset, self.settings, self._network(), self._cache(), self.folder, lambda *_: None)
        fitted = with_temperature(head.fit(material, None), dataset)
        return Head(head.refit(material, fitted), self.features)

    def _network(self) -> _Given:
        return _Given(self.features.straight.shape[1], len(self.features.classes)).eval()

    def _cache(self) -> PixelCache:
        return PixelCache(_SPEC, self.folder)


def without_looking_up_threads() -> None:
    """Let no fit ask which libraries are loaded: with OMP_NUM_THREADS=1 it changes nothing, and costs half the time."""
    from labelloop.train import logistic

    if hasattr(logistic, "threadpool_limits"):
        logistic.threadpool_limits = lambda _limit: nullcontext()
