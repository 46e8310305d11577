"""Whom a challenger meets on the test items: a version, ours or one whose model lies elsewhere, or an endpoint."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from labelloop.errors import Outage, TrainingError
from labelloop.models.bundle import read_bundle_info
from labelloop.models.versions import VersionRecord
from labelloop.serve.engines.opening import open_measured
from labelloop.trainers.base import Trainer
from labelloop.trainers.handover import Inputs
from labelloop.types import Answer, Failure, ForeignInfo, Item, NotAsked, Shown

if TYPE_CHECKING:
    from labelloop.run.context import Context

_log = logging.getLogger(__name__)

_AT_ONCE = 32


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
    about the others, if it can be.
    """

    name: str
    bundle: Path
    record: VersionRecord | None = None
    trainer: Trainer | None = None

    def answers(self, context: "Context", items: Sequence[Item]) -> Iterator[Answer | Failure]:
        """Let the engine that measures versions answer; see Opponent."""
        found = self._measured(context, items)
        info = read_bundle_info(self.bundle)
        if self.trainer is None or not self.trainer.predicts or not isinstance(info, ForeignInfo):
            return found
        return iter(_completed(list(found), self.trainer, info, context, items))

    def _measured(self, context: "Context", items: Sequence[Item]) -> Iterator[Answer | Failure]:
        engine, contents, count = open_measured(self.bundle), context.contents(items), len(items)
        for start in range(0, count, _AT_ONCE):
            yield from engine.predict(list(islice(contents, _AT_ONCE)), self.name)
            context.progress(f"test items with {self.name}", min(start + _AT_ONCE, count), count)


def _completed(
    answers: list[Answer | Failure], trainer: Trainer, info: ForeignInfo, context: "Context", items: Sequence[Item]
) -> list[Answer | Failure]:
    """Ask a trainer about what a model of its own was not asked yet; where it cannot be, that stays as it is."""
    rows = [row for row, answer in enumerate(answers) if isinstance(answer, NotAsked)]
    if not rows:
        return answers
    try:
        told = trainer.predict(info.model, Inputs(context, [items[row] for row in rows]), info.classes)
    except Outage:
        raise
    except TrainingError as error:
        _log.warning("%s could not be asked about %d test items: %s", info.model, len(rows), error)
        return answers
    for row, answer in zip(rows, told, strict=True):
        answers[row] = answer
    return answers
