"""What all kinds that give an item classes have in common: votes, measures, and what the gate counts.

An item is right where it is given exactly its classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.errors import TrainingError
from labelloop.kinds.featureless import Featureless
from labelloop.kinds.majority import Truth, Vote, settle
from labelloop.models.headline import ACCURACY
from labelloop.types import Choice, Item, Json, LeftOut, Progress

if TYPE_CHECKING:
    from labelloop.bundle_info import BundleInfo
    from labelloop.kinds.base import Learned, Says
    from labelloop.run.context import Context
    from labelloop.run.refits import Refit
    from labelloop.run.scoring import Opponent, Rename, Scores
    from labelloop.run.verdict import Verdict
    from labelloop.serve.engines.base import Engine


class Classification(Featureless, ABC):
    """A kind whose truth is classes, and whose model gives every class a score in [0, 1]."""

    name: str
    says: "Says" = "labels"
    figure = ACCURACY
    contrasts, as_shown, whoever_trains = True, False, False
    quick: tuple[str, ...] = ()
    refits: tuple[str, ...] = ()
    """The recipes that are quick enough to be trained anew, ten times, as a version is judged (run/refits.py)."""

    @abstractmethod
    def open(self, directory: Path, info: "BundleInfo", engine: str) -> "Engine":
        """Load a bundle; its engine answers with outputs. Raises BundleError."""

    def refit(self, context: "Context", items: Sequence[Item], others: Sequence[Item]) -> "Refit":
        """Take what a version of one of the ``refits`` learned from, to be trained anew without some of it.

        ``others`` are what the version that it meets learned from: features that depend on all items depend on both.
        Raises TrainingError, saying why that cannot be.
        """
        raise NotImplementedError(f"{type(self).__name__} names recipes in refits, and not how they are trained anew")

    def truth(self, votes: Sequence[Vote], choice: Choice) -> Truth:
        """Give what most annotators say; a tie is no truth."""
        return settle(votes, choice)

    def measure(self, context: "Context") -> None:
        """Measure accuracy, rates of each class and calibration on the test side (docs/evaluation.md)."""
        from labelloop.data.split import splits
        from labelloop.run.context import write_json
        from labelloop.run.scoring import Scored, VersionOpponent
        from labelloop.train.evaluation import measure

        manifest, folder = context.manifest, context.folder
        items = tuple(splits(manifest, context.named_sides)["test"])
        scores, asked, thresholds = self._scores(context, VersionOpponent("the new model", folder.bundle), items)
        kept = tuple(item for item, counts in zip(items, asked, strict=True) if counts)
        tested = Scored.of(kept, manifest.classes, scores[asked], thresholds)
        tested.write(folder.predictions)
        # Of a model that lies elsewhere and answered nothing there is nothing to measure.
        arguments = (tested.truth, tested.scores, manifest.classes, manifest.choice, context.settings.seed)
        write_json(folder.metrics, measure(*arguments, thresholds=thresholds) if kept else {})

    def judge(self, context: "Context", name: str, opponent: "Opponent | None", rename: "Rename") -> "Verdict":
        """Let the run's bundle and its opponent meet on the same test items (docs/gate.md)."""
        import numpy as np

        from labelloop.data.split import splits
        from labelloop.run.gate import judge, judge_first, meet_bootstrap
        from labelloop.run.refits import SMALL, refitted
        from labelloop.run.scoring import Scored, VersionOpponent, truth_of
        from labelloop.run.verdict import Conceded, GateRule, Predictions

        manifest, tested = context.manifest, Scored.read(context.folder.predictions)
        challenger = Predictions(name, tested.scores, thresholds=tested.thresholds)
        sides, known = splits(manifest, context.named_sides), set(tested.pictures)
        items = tuple(sides["test"])
        met = tuple(item for item in items if item.content in known)
        left_out = len(items) - len(met)
        if opponent is None or opponent.record is None:
            learned_from = truth_of(tuple(sides["train"]), manifest.classes)
            first = judge_first(tested.truth, challenger, learned_from, manifest.choice, left_out)
            if opponent is None or not first.passed:
                # Nobody is asked, and paid, where that changes nothing.
                return first
            other = Predictions(opponent.name, *self._scores(context, opponent, met, rename))
            answered = np.ones(len(met), dtype=bool) if other.asked is None else other.asked
            right, theirs = (side.right(tested.truth, manifest.choice) for side in (challenger, other))
            return meet_bootstrap(first, name, opponent.name, right, theirs, answered)
        # Many test items tell by themselves what refits could only blur.
        small = len(tested.truth) < SMALL
        origin = opponent.origin if small and isinstance(opponent, VersionOpponent) else None
        return judge(
            tested.truth,
            Predictions(opponent.name, *self._scores(context, opponent, met, rename)),
            challenger,
            manifest.classes,
            manifest.choice,
            GateRule(margin=context.settings.gate_margin),
            context.settings.seed,
            Conceded.read(opponent.record.metrics.get("gate", {})),
            left_out,
            refitted(self, context, origin, rename) if origin else "",
        )

    def aside(self, context: "Context", items: Iterable[Item]) -> Iterator[LeftOut]:  # noqa: ARG002
        """Nothing: classes are learned as they are given."""
        return iter(())

    def nearest(self, asked: Item, learned: "Learned", progress: Progress) -> Sequence[tuple[Item, float]]:  # noqa: ARG002
        """None, unless a kind knows better."""
        return ()

    def label_errors(self, context: "Context", learned: "Learned | None") -> Json:  # noqa: ARG002
        """Refuse, unless a kind knows better."""
        raise TrainingError(f"nothing looks for probable label errors where {context.manifest.kind} is learned")

    def right(self, context: "Context") -> Mapping[int, bool]:
        """Tell which test items are given exactly their classes."""
        from labelloop.run.scoring import Scored
        from labelloop.run.verdict import Predictions

        tested = Scored.read(context.folder.predictions)
        given = Predictions("", tested.scores, thresholds=tested.thresholds)
        right = given.right(tested.truth, context.manifest.choice)
        return dict(zip(tested.tasks.tolist(), right.tolist(), strict=True))

    def agreement(
        self, context: "Context", by: "Opponent", items: Sequence[Item], rename: "Rename"
    ) -> Sequence[float | None]:
        """Give 1 where an item is given exactly its classes, else 0."""
        from labelloop.run.scoring import truth_of
        from labelloop.run.verdict import Predictions

        manifest = context.manifest
        found = self._scores(context, by, items, rename)
        given = Predictions(by.name, found.scores, thresholds=found.thresholds)
        right = given.right(truth_of(tuple(items), manifest.classes), manifest.choice)
        return [float(one) if asked else None for one, asked in zip(right, found.asked, strict=True)]

    def _scores(self, context: "Context", by: "Opponent", items: Sequence[Item], rename: "Rename" = str) -> "Scores":
        """Let somebody score items."""
        from labelloop.run.scoring import scores_of

        manifest = context.manifest
        return scores_of(by.answers(context, items), len(items), manifest.classes, rename, manifest.choice)
