"""What the parts of an analysis share: readable test pictures with their scores, and some that were learned from."""

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from labelloop.data.split import splits
from labelloop.run.context import Context
from labelloop.run.preprocess import samples_of
from labelloop.run.scoring import Scored

if TYPE_CHECKING:
    from torch import nn

    from labelloop.train.dataset import Sample
    from labelloop.train.pixels import Pixels

_LEARNED = 100
"""Training pictures at hand as examples."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """``samples`` of the test side that can be read, ``scores`` (samples, classes), and a few ``learned`` samples."""

    context: Context
    samples: "tuple[Sample, ...]"
    scores: npt.NDArray[np.float64]
    learned: "tuple[Sample, ...]"
    pixels: "Pixels"

    @cached_property
    def network(self) -> "nn.Module":
        """The bundle's network, for gradients; raises BundleError or TrainingError."""
        from labelloop.train.load import load_network

        return load_network(self.context.folder.bundle)

    @classmethod
    def of(cls, context: Context) -> Self:
        """Read the predictions of a run; raises StoreError where there are none."""
        from labelloop.train.load import read_info
        from labelloop.train.pixels import Pixels

        tested = Scored.read(context.folder.predictions)
        pixels = Pixels(read_info(context.folder.bundle).picture, context.caches)
        sides = splits(context.manifest, context.named_sides)
        classes, pictures = context.manifest.classes, context.pictures
        samples = samples_of(classes, pictures, sides["test"])
        row = {picture: at for at, picture in enumerate(tested.pictures)}
        kept = [sample for sample in samples if sample.picture in row and not pixels.trouble(sample)]
        scores = tested.scores[[row[sample.picture] for sample in kept]].reshape(-1, len(tested.classes))
        known = samples_of(classes, pictures, sides["train"])
        learned = (sample for sample in known if not pixels.trouble(sample))
        return cls(context, tuple(kept), scores, tuple(islice(learned, _LEARNED)), pixels)
