"""What all kinds that give an item classes have in common: votes, measures, and what the gate counts.

An item is right where it is given exactly its classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.kinds.base import SCORED_BY
from labelloop.majority import Truth, Vote, settle
from labelloop.types import Choice

if TYPE_CHECKING:
    from labelloop.models.versions import VersionRecord
    from labelloop.run.context import Context
    from labelloop.run.scoring import Rename
    from labelloop.run.verdict import Verdict
    from labelloop.serve.engines.base import Engine


class Classification(ABC):
    """A kind whose truth is classes, and whose model gives every class a score in [0, 1]."""

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
        from labelloop.run.scoring import scores_of
        from labelloop.train.evaluation import measure

        manifest, folder = context.manifest, context.folder
        items = tuple(splits(manifest, context.named_sides)["test"])
        engine = self.open(folder.bundle, SCORED_BY)
        contents = context.contents(items)
        scores = scores_of(engine, contents, len(items), manifest.classes, "the new model", context.progress)
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
        from labelloop.run.scoring import scores_of

        manifest, tested = context.manifest, Scored.read(context.folder.predictions)
        challenger = Predictions(name, tested.scores)
        sides = splits(manifest, context.named_sides)
        if champion is None:
            learned_from = truth_of(tuple(sides["train"]), manifest.classes)
            return judge_first(tested.truth, challenger, learned_from, manifest.choice)
        record, bundle = champion
        items, engine = tuple(sides["test"]), self.open(bundle, SCORED_BY)
        contents, classes = context.contents(items), manifest.classes
        scores = scores_of(engine, contents, len(items), classes, record.version, context.progress, rename)
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
