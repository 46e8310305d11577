"""A head that is trained anew without some of its items: what the gate asks of it (docs/gate.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.models.features import OpenFeatures
from labelloop.train.crossvalidation import Problem, mean, solve
from labelloop.train.dataset import Sample, indicators
from labelloop.train.head_choice import HeadChoice, choose
from labelloop.train.logistic import Features
from labelloop.train.metrics import Indicators, predictions
from labelloop.types import Choice, Item, Progress, TrainSettings

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RefittedHead:
    """What a head learned from: ``rows`` says at which row of ``asked`` (items, features) each item (sha256) is.

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
        opens: OpenFeatures | None = None,
    ) -> Self:
        """Take the features of ``samples``, those of the project that ``opens`` them.

        Raises TrainingError where a picture is neither in the cache nor on this machine, or the network cannot be made.
        """
        from labelloop.train.backbone import build, for_features, picture_spec
        from labelloop.train.features import FeatureCache
        from labelloop.train.frozen import freeze
        from labelloop.train.pixels import PixelCache

        settings = for_features(settings)
        model = build(settings, len(classes))
        pixels = PixelCache(picture_spec(model, settings.image_size), cache_dir)
        if missing := len(pixels.check(samples, len(samples), progress)):
            raise TrainingError(f"{missing} of the pictures they learned from cannot be read where it is judged")
        features = FeatureCache(freeze(model, settings.backbone, pixels.spec, cache_dir), pixels, cache_dir, opens)

        def mirror(rows: Places) -> Features:
            return features.of([samples[row] for row in rows], progress, mirrored=True)

        problem = Problem(features.of(samples, progress), indicators(samples, len(classes)), choice)
        confirmed = np.array([one.confirmed for one in samples], dtype=bool)
        pictures = [one.picture for one in samples]
        return cls.chosen(pictures, problem, settings.balance, settings.seed, mirror, confirmed)

    @classmethod
    def chosen(
        cls,
        items: Sequence[str],
        problem: Problem,
        balance: str,
        seed: int,
        mirror: Callable[[Places], Features] | None,
        confirmed: npt.NDArray[np.bool_] | None = None,
    ) -> Self:
        """Choose what a head on this problem is to be, as its recipe does; the rest as ``choose`` takes it.

        ``items`` (sha256) are those of the problem's samples, in order.
        """
        choice, everything = choose(problem, balance, seed, mirror, confirmed), np.arange(len(items))
        asked = problem.features
        if choice.flips and mirror is not None:
            asked = mean(asked, mirror(everything))
        learned = np.setdiff1d(everything, [one.row for one in choice.suspects])
        return cls({name: row for row, name in enumerate(items)}, asked, learned, choice)

    def answers(self, held: Sequence[Item]) -> Indicators:
        """Tell what a head that learned from all but the ``held`` items gives these: bool, (items, classes)."""
        at = [self.rows[item.content] for item in held]
        problem = self.choice.problem.take(np.flatnonzero(~np.isin(self.learned, at)))
        return predictions(solve(problem, self.choice.strength).logits(self.asked[at]), problem.choice)
