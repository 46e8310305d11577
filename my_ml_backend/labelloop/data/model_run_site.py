"""What a model run of Labelbox takes beside what any site does: how far it is, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labelloop.types import Answer, Failure, Item, Progress, Side


@dataclass(frozen=True, slots=True)
class Answered:
    """What a version says of an item of the validation or test side; a Failure where it says nothing, and why.

    The item's labels, or its ``result``, are what is true of it; its task is the number by which the tool knows it.
    """

    item: Item
    side: Side
    answer: Answer | Failure


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What a model run has been given: ``rows`` with predictions, of ``lines`` in all; how many were ``refused``.

    ``reasons`` are the first few different ones, of refused lines and of rows that could not be said anything about.
    """

    rows: int = 0
    lines: int = 0
    refused: int = 0
    left_out: int = 0
    reasons: tuple[str, ...] = ()


WAITS = "waits"
"""The stage of a model run that goes on when something is back that is away."""


class ModelRunSite(Protocol):
    """One model run of Labelbox, beside what is asked of any Site: it hears how far a run is, and gets what came of it.

    Every method raises the tool's errors, Outages among them, and NoSuchProject where the model run is gone: then
    nothing more is told.
    """

    def begin(self, attempt: int) -> None:
        """Attempt number ``attempt`` begins, or goes on: its own export on this machine is used, another's made anew.

        Nothing is asked for yet. Where nobody calls it, whatever export is on this machine will do.
        """

    def parameters(self) -> Mapping[str, str]:
        """Read the model run's config: training parameters, spelled as on the command line.

        Raises SettingsError, in a sentence for who wrote the config, for one that is unknown or impossible.
        """

    def tell(self, stage: str, what: str, done: int, total: int) -> None:
        """Show people how far it is: ``done`` of ``total`` (0: unknown) of what is done in a stage of the loop's.

        The stages are ``fetch`` (the export), ``manifest``, ``preprocess``, ``train``, ``evaluate``, ``judge``,
        ``publish``, ``promote``, ``prelabel``, ``answer`` (inference), ``upload``, ``done`` and others, and WAITS, of
        which ``what`` says for whom. May be called several times a second. What is only away is logged.
        """

    def keep(self, version: str, answered: Sequence[Answered]) -> None:
        """Take in what a trained version answers, as ``Site.put_predictions`` takes predictions of any endpoint.

        With the same version and item again it replaces what was taken in before.
        """

    def finish(self, version: str, progress: Progress) -> Uploaded:
        """Upload what was taken in of this version and is not there yet; says what came of all of it.

        Killed and called again, it goes on.
        """

    def complete(self, metadata: Mapping[str, str]) -> None:
        """Say that it is COMPLETE; may be repeated."""

    def fail(self, sentence: str) -> None:
        """Say that it has FAILED, and why; may be repeated."""
