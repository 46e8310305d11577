"""A head that is trained anew without some of its items: what the gate asks of it (docs/gate.md)."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.files import remove_stale, whole_file
from labelloop.models.features import OpenFeatures
from labelloop.train.balance import class_weights
from labelloop.train.crossvalidation import Problem, mean, solve
from labelloop.train.dataset import Sample, indicators
from labelloop.train.head_choice import HeadChoice, choose
from labelloop.train.label_errors import Suspect
from labelloop.train.logistic import Features
from labelloop.train.metrics import Indicators, predictions
from labelloop.types import Choice, Item, Progress, TrainSettings

Places = npt.NDArray[np.intp]

_FORMAT = 1
"""To be raised where a head is chosen otherwise (train/head_choice.py)."""

_KEPT_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class KeptChoice:
    """What was chosen for a problem, in a file of this machine that may go at any time; cross-validation takes seconds.

    The file holds ``strength``, ``balance``, ``flips``, and the rows of suspected labels.
    """

    path: Path

    def read(self, problem: Problem, mirror: Callable[[Places], Features] | None) -> HeadChoice | None:
        """Give the choice for the same problem again; None where there is none, or it is damaged."""
        try:
            held = json.loads(self.path.read_text())
            rows, strength, balance, flips = held["suspects"], float(held["strength"]), held["balance"], held["flips"]
            suspects = tuple(Suspect(int(row), (), 0.0, 0.0) for row in rows)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if balance != "none":
            problem = replace(problem, weights=class_weights(problem.shown, problem.choice))
        left = np.setdiff1d(np.arange(len(problem.shown)), rows).astype(np.intp)
        problem = problem.take(left)
        if flips and mirror is not None:
            problem = replace(problem, mirrored=mirror(left))
        return HeadChoice(problem, strength, balance=balance, flips=flips, suspects=suspects)

    def write(self, choice: HeadChoice) -> None:
        """Keep a choice; a disk that refuses costs the next one its time and nothing else."""
        held = {"strength": choice.strength, "balance": choice.balance, "flips": choice.flips}
        with suppress(OSError), whole_file(self.path, shared=True) as aside:
            aside.write_text(json.dumps(held | {"suspects": [one.row for one in choice.suspects]}))
        remove_stale(self.path.parent, "*.json", _KEPT_SECONDS)


def digest(backbone: str, samples: Sequence[Sample], choice: Choice, settings: TrainSettings) -> str:
    """Name a problem by all that decides what is chosen for it."""
    whole = hashlib.sha256(repr((_FORMAT, backbone, choice, settings.balance, settings.seed)).encode())
    for one in samples:
        whole.update(repr((one.picture, one.targets, one.confirmed)).encode())
    return whole.hexdigest()


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
        from labelloop.train.features import FeatureCache
        from labelloop.train.frozen import frozen_network
        from labelloop.train.pixels import PixelCache

        frozen, spec = frozen_network(settings, len(classes), cache_dir)
        pixels = PixelCache(spec, cache_dir)
        features = FeatureCache(frozen, pixels, cache_dir, opens)
        lacking = features.lacking(samples)
        if missing := len(pixels.check(lacking, len(lacking), progress)):
            raise TrainingError(f"{missing} of the pictures they learned from cannot be read where it is judged")

        def mirror(rows: Places) -> Features:
            return features.of([samples[row] for row in rows], progress, mirrored=True)

        problem = Problem(features.of(samples, progress), indicators(samples, len(classes)), choice)
        confirmed = np.array([one.confirmed for one in samples], dtype=bool)
        pictures = [one.picture for one in samples]
        made_from = digest(frozen.hash, samples, choice, settings)
        kept = KeptChoice(cache_dir / "choices" / f"{made_from}.json")
        return cls.chosen(pictures, problem, settings.balance, settings.seed, mirror, confirmed, kept)

    @classmethod
    def chosen(
        cls,
        items: Sequence[str],
        problem: Problem,
        balance: str,
        seed: int,
        mirror: Callable[[Places], Features] | None,
        confirmed: npt.NDArray[np.bool_] | None = None,
        kept: "KeptChoice | None" = None,
    ) -> Self:
        """Choose what a head on this problem is to be, as its recipe does; the rest as ``choose`` takes it.

        What was chosen for the same problem before may be ``kept``: the champion's was, when it was a challenger.
        ``items`` (sha256) are those of the problem's samples, in order.
        """
        everything = np.arange(len(items))
        choice = kept.read(problem, mirror) if kept else None
        if choice is None:
            choice = choose(problem, balance, seed, mirror, confirmed)
            if kept:
                kept.write(choice)
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
