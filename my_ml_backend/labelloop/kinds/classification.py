"""What all kinds that give an item classes have in common: votes, measures, and what the gate counts.

An item is right where it is given exactly its classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.kinds.base import SCORED_BY
from labelloop.majority import Truth, Vote, settle
from labelloop.types import Choice, Item

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.models.versions import VersionRecord
    from labelloop.run.context import Context
    from labelloop.run.scoring import Rename
    from labelloop.run.verdict import Verdict
    from labelloop.serve.engines.base import Engine


class Classification(ABC):
    """A kind whose truth is classes, and whose model gives every class a score in [0, 1]."""

    contrasts = True

    @abstractmethod
    def open(self, directory: Path, engine: str) -> "Engine":
        """Load a bundle; its engine answers with outputs. Raises BundleError."""

    def truth(self, votes: Sequence[Vote], choice: Choice) -> Truth:
        """Give what most annotators say; a tie is no truth."""
        return settle(votes, choice)

    def measure(self, context: "Context") -> None:
        """Measure accuracy, rates of each class and calibration on the test side (docs/evaluation.md)."""
        from labelloop.data.split import splits
        from labelloop.run.context import write_json
        from labelloop.run.scored import Scored
        from labelloop.train.evaluation import measure

        manifest, folder = context.manifest, context.folder
        items = tuple(splits(manifest, context.named_sides)["test"])
        scores = self._scores(context, folder.bundle, items, "the new model")
        tested = Scored.of(items, manifest.classes, scores)
        tested.write(folder.predictions)
        found = measure(tested.truth, tested.scores, manifest.classes, manifest.choice, context.settings.seed)
        write_json(folder.metrics, found)

    def judge(
        self, context: "Context", name: str, champion: "tuple[VersionRecord, Path] | None", rename: "Rename"
    ) -> "Verdict":
        """Let the run's bundle and the champion meet on the same test items (docs/gate.md)."""
        from labelloop.data.split import splits
        from labelloop.run.gate import GateRule, Predictions, judge, judge_first
        from labelloop.run.scored import Scored, truth_of

        manifest, tested = context.manifest, Scored.read(context.folder.predictions)
        challenger = Predictions(name, tested.scores)
        sides = splits(manifest, context.named_sides)
        if champion is None:
            learned_from = truth_of(tuple(sides["train"]), manifest.classes)
            return judge_first(tested.truth, challenger, learned_from, manifest.choice)
        record, bundle = champion
        scores = self._scores(context, bundle, tuple(sides["test"]), record.version, rename)
        return judge(
            tested.truth,
            Predictions(record.version, scores),
            challenger,
            manifest.classes,
            manifest.choice,
            GateRule(margin=context.settings.gate_margin),
            context.settings.seed,
            float(record.metrics.get("gate", {}).get("conceded", 0.0)),
        )

    def _scores(
        self, context: "Context", bundle: Path, items: Sequence[Item], version: str, rename: "Rename" = str
    ) -> "npt.NDArray[np.float64]":
        """Let a bundle score items: float64 (items, classes), nan where it has no answer."""
        from labelloop.run.scoring import scores_of

        engine, classes = self.open(bundle, SCORED_BY), context.manifest.classes
        return scores_of(engine, context.contents(items), len(items), classes, version, context.progress, rename)
