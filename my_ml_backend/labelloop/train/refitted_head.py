"""A head that is trained anew without some of its items: what the gate asks of it (docs/gate.md)."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.files import remove_stale, whole_file
from labelloop.models.features import OpenFeatures
from labelloop.train.balance import class_weights
from labelloop.train.crossvalidation import Heads, Problem, Validated, mean
from labelloop.train.dataset import Said, Sample, indicators
from labelloop.train.head_choice import HeadChoice, choose
from labelloop.train.label_errors import Suspect
from labelloop.train.logistic import Features, one_thread
from labelloop.train.metrics import Indicators, predictions
from labelloop.types import Choice, Item, Json, Progress, TrainSettings

Places = npt.NDArray[np.intp]

_FORMAT = 2
"""To be raised where a head is chosen otherwise (train/head_choice.py)."""

_KEPT_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class KeptChoice:
    """What a run has chosen for its labels, in a file of this machine that may go at any time; choosing takes seconds.

    The file holds ``strength``, ``balance``, ``flips``, the items (sha256) of suspected labels, and what the kind notes
    of how its head sees items.
    """

    path: Path

    @classmethod
    def of(
        cls, cache_dir: Path, features: str, samples: Iterable[Said], choice: Choice, balance: str, seed: int
    ) -> Self:
        """Name it by all that decides: whose ``features``, the ``samples`` of both sides that a run sees, settings."""
        whole = hashlib.sha256(repr((_FORMAT, features, choice, balance, seed)).encode())
        for one in sorted((name, tuple(sorted(targets)), confirmed) for name, targets, confirmed in samples):
            whole.update(repr(one).encode())
        return cls(cache_dir / "choices" / f"{whole.hexdigest()}.json")

    def read(
        self, problem: Problem, items: Sequence[str], mirror: Callable[[Places], Features] | None
    ) -> HeadChoice | None:
        """Give the choice for the problem of these items again; None where there is none, or it is damaged."""
        held = self.held()
        try:
            strength, balance, flips = float(held["strength"]), held["balance"], held["flips"]
            suspected = set(held["suspects"])
        except (ValueError, KeyError, TypeError):
            return None
        if balance != "none":
            problem = replace(problem, weights=class_weights(problem.shown, problem.choice))
        rows = [row for row, item in enumerate(items) if item in suspected]
        left = np.setdiff1d(np.arange(len(items)), rows).astype(np.intp)
        problem = problem.take(left)
        if flips and mirror is not None:
            problem = replace(problem, mirrored=mirror(left))
        suspects = tuple(Suspect(row, (), 0.0, 0.0) for row in rows)
        return HeadChoice(problem.turned(), strength, balance=balance, flips=flips, suspects=suspects)

    def held(self) -> Json:
        """Give what the file holds; nothing where there is none, or it is damaged."""
        try:
            found = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(
        self, strength: float, balance: str, suspects: Iterable[str], *, flips: bool = False, **seen: bool
    ) -> None:
        """Keep a choice; a disk that refuses costs the next one its time and nothing else."""
        held = {"strength": strength, "balance": balance, "flips": flips, "suspects": sorted(suspects), **seen}
        with suppress(OSError), whole_file(self.path, shared=True) as aside:
            aside.write_text(json.dumps(held))
        remove_stale(self.path.parent, "*.json", _KEPT_SECONDS)


@dataclass(frozen=True, eq=False)
class RefittedHead:
    """What a head learned from: ``rows`` says at which row of ``asked`` (items, features) each item (sha256) is.

    ``learned`` are the rows that the problem of the ``choice`` holds, in its order: those of suspected labels are left
    out. All that was chosen for the whole of it, such as the regularisation, is kept for its parts. ``anew`` gives the
    same, chosen anew, where this is what its run has chosen.
    """

    rows: dict[str, int]
    asked: Features
    learned: Places
    choice: HeadChoice
    anew: "Callable[[], RefittedHead] | None" = None

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
        kept = KeptChoice.of(
            cache_dir, frozen.hash, (one.said for one in samples), choice, settings.balance, settings.seed
        )
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
        known: Validated | None = None,
    ) -> Self:
        """Take what the run of these labels has chosen, as far as it is ``kept``, else choose as its recipe does.

        The rest is as ``choose`` takes it. ``items`` (sha256) are those of the problem's samples, in order.
        """
        everything = np.arange(len(items))
        choice = kept.read(problem, items, mirror) if kept else None
        anew = None if choice is None else partial(cls.chosen, items, problem, balance, seed, mirror, confirmed)
        if choice is None:
            choice = choose(problem, balance, seed, mirror, confirmed, known)
        asked = problem.features
        if choice.flips and mirror is not None:
            asked = mean(asked, mirror(everything))
        learned = np.setdiff1d(everything, [one.row for one in choice.suspects])
        return cls({name: row for row, name in enumerate(items)}, asked, learned, choice, anew)

    def answers(self, held: Sequence[Item]) -> Indicators:
        """Tell what a head that learned from all but the ``held`` items gives these: bool, (items, classes)."""
        return self.all_answers([held])[0]

    def all_answers(self, parts: Sequence[Sequence[Item]]) -> list[Indicators]:
        """Do so for each of several parts, whose heads are fitted together."""
        problem, asked = self.choice.problem, [[self.rows[item.content] for item in held] for held in parts]
        heads = Heads.of(problem, [np.flatnonzero(np.isin(self.learned, at)) for at in asked])
        found = heads.folded(heads.fit(self.choice.strength))
        with one_thread():
            return [
                predictions(linear.logits(self.asked[at]), problem.choice)
                for linear, at in zip(found, asked, strict=True)
            ]
