"""The kind that takes what annotators say as it is, for trainers of one's own (docs/kinds.md)."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from labelloop.bundle_info import BundleInfo
from labelloop.errors import BundleError, TrainingError, Unreadable
from labelloop.kinds.base import Kind, Learned, Says, Supported
from labelloop.kinds.featureless import Featureless
from labelloop.kinds.majority import Truth, Vote, latest
from labelloop.models.headline import ACCURACY
from labelloop.types import ANNOTATIONS, Choice, Item, Json, LeftOut, Progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.models.features import OpenFeatures
    from labelloop.run.context import Context
    from labelloop.run.scoring import Opponent, Rename
    from labelloop.run.verdict import Verdict
    from labelloop.settings import Settings


_ELSEWHERE = "annotations as they stand are learned by a trainer of your own (LABELLOOP_TRAINER, docs/trainers.md)"


@dataclass(frozen=True, slots=True)
class Seeded:
    """The hyperparameters: what else there is to choose is the trainer's."""

    seed: int
    recipes: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Give the values themselves."""
        return asdict(self)

    def fingerprint(self) -> str:
        """Hash all that matters to the result."""
        return hashlib.sha256(f"{ANNOTATIONS} {self.seed}".encode()).hexdigest()


class Annotations(Featureless):
    """Whatever a label config asks for that LabelLoop predicts for: an item's truth is what was said of it last.

    Its bundles hold no model: it lies with the trainer, or where that has brought it.
    """

    name = ANNOTATIONS
    item = "task"
    says: Says = "result"
    figure = ACCURACY
    contrasts, as_shown, whoever_trains = False, True, False
    label_configs: Supported = ()
    recipes: Mapping[str, int] = {}
    settings: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()

    def truth(self, votes: Sequence[Vote], choice: Choice) -> Truth:  # noqa: ARG002 - a kind is asked in one way
        """Give the ground truth, else the newest that is not skipped."""
        return latest(votes)

    def check(self, content: bytes) -> None:
        """Raise Unreadable for nothing at all: what a trainer can read is its own matter."""
        if not content:
            raise Unreadable("it is empty")

    def competing(self, settings: "Settings") -> tuple[str, ...]:  # noqa: ARG002
        """None: what competes is the trainer's matter."""
        return ()

    def hyperparameters(self, settings: "Settings") -> Seeded:
        """Take the seed."""
        return Seeded(settings.seed)

    def check_settings(self, settings: "Settings", *, thorough: bool) -> None:
        """None of them matters here."""

    def prepare(self, context: "Context", items: Iterable[Item], total: int) -> Mapping[str, str]:  # noqa: ARG002
        """Leave the items as they are."""
        return {}

    def aside(self, context: "Context", items: Iterable[Item]) -> Iterator[LeftOut]:  # noqa: ARG002
        """Nothing: what is said goes out as it stands."""
        return iter(())

    def train(self, context: "Context") -> Json:
        """Refuse: nothing here learns it."""
        raise TrainingError(f"{_ELSEWHERE}: nothing in this process learns {context.manifest.kind}")

    def measure(self, context: "Context") -> None:
        """Measure how many test items are answered right (docs/kinds.md)."""
        from labelloop.kinds.annotations.judging import measure_annotations

        measure_annotations(context)

    def judge(
        self,
        context: "Context",
        name: str,
        opponent: "Opponent | None",
        rename: "Rename",  # noqa: ARG002 - answers are shown in today's labels
    ) -> "Verdict":
        """Let the run's bundle and its opponent meet on the test items that both can be compared on (docs/gate.md)."""
        from labelloop.kinds.annotations.judging import judge_annotations

        return judge_annotations(context, name, opponent)

    def right(self, context: "Context") -> Mapping[int, bool]:
        """Tell which of the test items that can be compared are answered right."""
        from labelloop.kinds.annotations.judging import right_by_task

        return right_by_task(context)

    def agreement(
        self,
        context: "Context",  # noqa: ARG002
        by: "Opponent",  # noqa: ARG002
        items: Sequence[Item],
        rename: "Rename",  # noqa: ARG002
    ) -> Sequence[float | None]:
        """Nobody can be asked: the model lies elsewhere."""
        return [None for _ in items]

    def analyse(self, context: "Context") -> None:
        """There is nothing to explain that is known here."""

    def label_errors(self, context: "Context", learned: Learned | None) -> Json:  # noqa: ARG002
        """Refuse: whoever could doubt them is not here."""
        raise TrainingError(f"probable label errors are not known: {_ELSEWHERE}")

    def nearest(self, asked: Item, learned: Learned, progress: Progress) -> Sequence[tuple[Item, float]]:  # noqa: ARG002
        """None: what is alike to a trainer is not known here."""
        return ()

    def features(
        self,
        items: Sequence[Item],  # noqa: ARG002
        settings: "Settings",  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
        opens: "OpenFeatures | None" = None,  # noqa: ARG002
    ) -> "tuple[Sequence[Item], npt.NDArray[np.float32]]":
        """Refuse: what is alike to a trainer is not known here."""
        raise TrainingError(f"tasks cannot be compared: {_ELSEWHERE}")

    def describe(self, raw: Json) -> BundleInfo:
        """Read ``model.json``."""
        return BundleInfo.read(raw)

    def problems(self, info: BundleInfo) -> Iterator[str]:  # noqa: ARG002
        """Refuse a bundle of a model that is to be served from it."""
        yield f'names no model that lies elsewhere ("model"): {_ELSEWHERE}, whose bundle cannot be served'

    def served(self, engine: str) -> tuple[str, ...]:  # noqa: ARG002
        """None: there is no model in its bundles."""
        return ()

    def open(self, directory: Path, info: BundleInfo, engine: str) -> NoReturn:  # noqa: ARG002
        """Refuse: there is no model in its bundles."""
        raise BundleError(f"bundle {directory} has no model that could be served here: {_ELSEWHERE}")


KIND: Kind = Annotations()
