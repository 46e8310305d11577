"""A head that is trained anew without some of its pictures: what the gate asks of it (docs/gate.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.train.backbone import build, picture_spec
from labelloop.train.crossvalidation import Problem, mean, solve
from labelloop.train.dataset import Sample, indicators
from labelloop.train.features import FeatureCache, Rows
from labelloop.train.frozen import freeze
from labelloop.train.head_choice import HeadChoice, choose
from labelloop.train.logistic import Features
from labelloop.train.metrics import Indicators, predictions
from labelloop.train.pixels import PixelCache
from labelloop.types import Choice, Item, Progress, TrainSettings

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RefittedHead:
    """What a head learned from: ``rows`` says at which row of ``asked`` (pictures, features) each picture (sha256) is.

    ``learned`` are the rows that the problem of the ``choice`` holds, in its order: those of suspected labels are left
    out. All that was chosen for the whole of it, such as the regularisation, is kept for its parts.
    """

    rows: dict[str, int]
    asked: Features
    learned: Places
    choice: HeadChoice

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        classes: Sequence[str],
        choice: Choice,
        settings: TrainSettings,
        cache_dir: Path,
        progress: Progress,
    ) -> Self:
        """Take the features of ``samples``.

        Raises TrainingError where a picture is neither in the cache nor on this machine, or the network cannot be made.
        """
        model = build(settings, len(classes))
        pixels = PixelCache(picture_spec(model, settings.image_size), cache_dir)
        if missing := len(pixels.check(samples, len(samples), progress)):
            raise TrainingError(f"{missing} of the pictures they learned from cannot be read where it is judged")
        features = FeatureCache(freeze(model, settings.backbone, pixels.spec, cache_dir), pixels, cache_dir)

        def mirror(rows: Places) -> Rows:
            return features.of([samples[row] for row in rows], progress, mirrored=True)

        problem = Problem(features.of(samples, progress), indicators(samples, len(classes)), choice)
        confirmed = np.array([one.confirmed for one in samples], dtype=bool)
        return cls.chosen([one.picture for one in samples], problem, settings, mirror, confirmed)

    @classmethod
    def chosen(
        cls,
        pictures: Sequence[str],
        problem: Problem,
        settings: TrainSettings,
        mirror: Callable[[Places], Rows],
        confirmed: npt.NDArray[np.bool_] | None = None,
    ) -> Self:
        """Choose what a head on this problem is to be, as its recipe does; the rest as ``choose`` takes it."""
        choice, everything = (
            choose(problem, settings.balance, settings.seed, mirror, confirmed),
            np.arange(len(pictures)),
        )
        asked = mean(problem.features, mirror(everything)) if choice.flips else problem.features
        learned = np.setdiff1d(everything, [one.row for one in choice.suspects])
        return cls({name: row for row, name in enumerate(pictures)}, asked, learned, choice)

    def answers(self, held: Sequence[Item]) -> Indicators:
        """Tell what a head that learned from all but the ``held`` pictures gives these: bool, (items, classes)."""
        at = [self.rows[item.content] for item in held]
        problem = self.choice.problem.take(np.flatnonzero(~np.isin(self.learned, at)))
        return predictions(solve(problem, self.choice.strength).logits(self.asked[at]), problem.choice)
