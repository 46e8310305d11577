"""Who answers the test items, a version or an endpoint, and the scores of their answers."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import ClassesInfo, EndpointHeadInfo, ForeignInfo
from labelloop.errors import BundleError, Outage, StoreError, TrainingError
from labelloop.files import whole_file
from labelloop.kinds.majority import chosen
from labelloop.models.bundle import read_bundle_info
from labelloop.models.features import Features
from labelloop.models.versions import VersionRecord
from labelloop.serve.engines.base import Predictor, open_measured
from labelloop.serve.engines.head import Head
from labelloop.trainers.base import Trainer
from labelloop.trainers.handover import RunInputs
from labelloop.types import HALF, Answer, Choice, Failure, Item, NotAsked, Output, Shown, chunks

if TYPE_CHECKING:
    from labelloop.run.context import Context
    from labelloop.run.refits import Origin


_log = logging.getLogger(__name__)

_AT_ONCE, _OF_FEATURES = 32, 1024
"""Items that are answered together, by what they are or by features that are at hand."""

_FEATURELESS = "its endpoint gave no features of it"


class Opponent(Protocol):
    """What answers the test items."""

    @property
    def name(self) -> str:
        """What sentences call it."""
        ...

    @property
    def record(self) -> VersionRecord | None:
        """Its record, where it is a version."""
        ...

    def answers(self, context: "Context", items: Sequence[Item]) -> Iterator[Answer | Shown | Failure]:
        """Give one answer per item, in order: NotAsked where nobody could be asked, which shows nothing of its worth.

        Raises BundleError, or an Outage where it may help to wait.
        """
        ...


@dataclass(frozen=True, slots=True)
class VersionOpponent:
    """A version by its bundle on this machine.

    Where its model lies elsewhere, its bundle has its answers to the test items of its own run; ``trainer`` is asked
    about the others, if it can be. ``origin`` has the labels it learned from.
    """

    name: str
    bundle: Path
    record: VersionRecord | None = None
    trainer: Trainer | None = None
    origin: "Origin | None" = None

    def answers(self, context: "Context", items: Sequence[Item]) -> Iterator[Answer | Failure]:
        """Let the engine that measures versions answer; see Opponent."""
        info = read_bundle_info(self.bundle)
        if isinstance(info, EndpointHeadInfo):
            return _by_features(self.name, self.bundle, info, context, items)
        found = self._measured(context, items)
        if self.trainer is None or not self.trainer.predicts or not isinstance(info, ForeignInfo):
            return found
        return iter(_completed(list(found), self.trainer, info, context, items))

    def _measured(self, context: "Context", items: Sequence[Item]) -> Iterator[Answer | Failure]:
        count, done = len(items), 0
        asked = _ByInputs(self.bundle, context, self.name)
        by_features = _ByFeatures.of(self.bundle, context, self.name)
        for part in chunks(items, _AT_ONCE if by_features is None else _OF_FEATURES):
            yield from asked.answers(part) if by_features is None else by_features.answers(part, asked)
            done += len(part)
            context.progress(f"test items with {self.name}", done, count)


class _ByInputs:
    """Asks a version's model about the inputs themselves; it is not loaded before it is asked."""

    def __init__(self, bundle: Path, context: "Context", version: str) -> None:
        self._bundle, self._context, self._version = bundle, context, version

    @cached_property
    def _model(self) -> Predictor:
        return open_measured(self._bundle)

    def answers(self, items: Sequence[Item]) -> Iterator[Answer | Failure]:
        """Give one answer per item, in order."""
        for part in chunks(items, _AT_ONCE):
            yield from self._model.predict(list(self._context.contents(part)), self._version)


@dataclass(frozen=True, slots=True)
class _ByFeatures:
    """Asks a head about the features that are at hand: no input is read for that, and no network loaded."""

    head: Head[ClassesInfo]
    features: Features
    version: str

    @classmethod
    def of(cls, bundle: Path, context: "Context", version: str) -> Self | None:
        """Open the head of a bundle; None where it is none, or no features are kept. Raises BundleError."""
        info = read_bundle_info(bundle)
        if context.features is None or not isinstance(info, ClassesInfo) or not info.features:
            return None
        head = Head.read(bundle, info)
        return cls(head, context.features(info.features, head.width), version)

    def answers(self, items: Sequence[Item], others: _ByInputs) -> Iterator[Answer | Failure]:
        """Give one answer per item, in order; ``others`` are asked about those without features."""
        rows, there = self.features.asked([item.content for item in items], flips=self.head.info.flips)
        found = iter(self.head.answers(rows[there], self.version))
        rest = iter(others.answers([item for item, known in zip(items, there, strict=True) if not known]))
        for known in there:
            yield next(found) if known else next(rest)


@dataclass(frozen=True, eq=False)
class Scored:
    """Test pictures (sha256) with their tasks, ``truth`` bool (pictures, classes) and ``scores`` float64 likewise.

    A row of nan is a picture that the model had no answer for. ``thresholds`` (classes,) are those that the model gives
    classes by; None, as earlier releases wrote it: a half for each.
    """

    classes: tuple[str, ...]
    pictures: tuple[str, ...]
    tasks: npt.NDArray[np.int64]
    truth: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        items: tuple[Item, ...],
        classes: tuple[str, ...],
        scores: npt.NDArray[np.float64],
        thresholds: npt.NDArray[np.float64] | None = None,
    ) -> Self:
        """Put items and the scores of their pictures together."""
        return cls(
            classes,
            tuple(item.content for item in items),
            np.array([item.task for item in items], dtype=np.int64),
            truth_of(items, classes),
            scores,
            thresholds,
        )

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        with whole_file(path) as aside:
            held = {
                "pictures": np.array(self.pictures),
                "tasks": self.tasks,
                "truth": self.truth,
                "scores": self.scores,
            }
            if self.thresholds is not None:
                held["thresholds"] = self.thresholds
            np.savez_compressed(aside, allow_pickle=False, classes=np.array(self.classes), **held)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; raises StoreError."""
        try:
            with np.load(path, allow_pickle=False) as held:
                classes, pictures = (tuple(str(name) for name in held[key]) for key in ("classes", "pictures"))
                thresholds = held.get("thresholds")
                return cls(classes, pictures, held["tasks"], held["truth"], held["scores"], thresholds)
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{path} cannot be read ({error}): run the evaluate stage of this run") from error


def truth_of(items: tuple[Item, ...], classes: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Tell which item has which class: bool, (items, classes)."""
    return np.array([[name in item.labels for name in classes] for item in items], dtype=bool).reshape(
        len(items), len(classes)
    )


Rename = Callable[[str], str | None]
"""Gives the name that a class has today; None for one that there is no more."""


class Scores(NamedTuple):
    """Probabilities, float64 (items, classes), nan where there is no answer; ``asked`` (items,) where one was due.

    ``thresholds`` (classes,) are those that the answers give classes by; None: a half for each.
    """

    scores: npt.NDArray[np.float64]
    asked: npt.NDArray[np.bool_]
    thresholds: npt.NDArray[np.float64] | None = None


def scores_of(
    answers: Iterable[Answer | Shown | Failure],
    count: int,
    classes: Sequence[str],
    rename: Rename = str,
    choice: Choice = "single",
) -> Scores:
    """Arrange what was answered to ``count`` items.

    An item whose best class is none of ``classes`` has no answer either: a model may be older than the label config.
    Of an answer as annotators see it each label counts as sure. Raises what answering does.
    """
    scores, asked = np.full((count, len(classes)), np.nan), np.ones(count, dtype=bool)
    places: dict[str | None, int] = {name: at for at, name in enumerate(classes)}
    column = cache(lambda name: places.get(rename(name)))
    thresholds: npt.NDArray[np.float64] | None = None
    for row, answer in enumerate(answers):
        output = _named(answer, classes, choice) if isinstance(answer, Shown) else answer
        asked[row] = not isinstance(output, NotAsked)
        if isinstance(output, Output) and column(output.label) is not None:
            scores[row] = 0.0
            for name, score in output.scores.items():
                if (at := column(name)) is not None:
                    scores[row, at] = score
            if output.thresholds and thresholds is None:
                # They are the model's, and the same in all of its answers.
                thresholds = np.full(len(classes), HALF)
                for name, least in output.thresholds.items():
                    if (at := column(name)) is not None:
                        thresholds[at] = least
    return Scores(scores, asked, thresholds)


def _named(shown: Shown, classes: Sequence[str], choice: Choice) -> Output | Failure:
    labels = dict.fromkeys(chosen(result.get("value") for result in shown.results), 1.0)
    if not labels.keys() <= set(classes) or not (labels or choice == "multiple"):
        return Failure("it names no label, or one that is asked for elsewhere")
    scores = labels or {classes[0]: 0.0}
    label = next(iter(scores))
    return Output(label, scores[label], scores, "", choice)


def _by_features(
    name: str, bundle: Path, info: EndpointHeadInfo, context: "Context", items: Sequence[Item]
) -> Iterator[Answer | Failure]:
    """Let a head answer by the features that the project's endpoint gives; raises BundleError where it gives none."""
    source = context.endpoint_features
    if source is None:
        raise BundleError(f"{name} is a head on the features of an endpoint, which the project does not have any more")
    if source.name != info.features:
        return iter([Failure(f"{name} learned from features that its endpoint does not give any more")] * len(items))
    rows, there = source.rows([item.content for item in items])
    answers = iter(Head.read(bundle, info).answers(rows[there], name))
    return iter([next(answers) if at_hand else Failure(_FEATURELESS) for at_hand in there])


def _completed(
    answers: list[Answer | Failure], trainer: Trainer, info: ForeignInfo, context: "Context", items: Sequence[Item]
) -> list[Answer | Failure]:
    """Ask a trainer about what a model of its own was not asked yet; where it cannot be, that stays as it is."""
    rows = [row for row, answer in enumerate(answers) if isinstance(answer, NotAsked)]
    if not rows:
        return answers
    try:
        told = trainer.predict(info.model, RunInputs(context, [items[row] for row in rows]), info.classes)
    except Outage:
        raise
    except TrainingError as error:
        _log.warning("%s could not be asked about %d test items: %s", info.model, len(rows), error)
        return answers
    for row, answer in zip(rows, told, strict=True):
        answers[row] = answer
    return answers
