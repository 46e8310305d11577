"""A site: a tool in which people annotate. What LabelLoop reads of one of its projects there, and tells it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from labelloop.data.listing import Record
from labelloop.majority import Truth, Vote
from labelloop.types import Choice, Json, LeftOut


@dataclass(frozen=True, slots=True)
class Counters:
    """How much there is in a project: cheap to ask for, and blind to edits.

    ``annotations`` are submitted ones, of ``labeled`` different tasks; ``skipped`` are cancelled ones.
    """

    tasks: int
    labeled: int
    annotations: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Example:
    """A labeled task: its input, and what each of its annotations says, none of them settled yet.

    The input is a file's address, or a ``text`` that stands in the task itself. ``reason`` says why it has neither.
    """

    task: int
    uri: str
    votes: tuple[Vote, ...]
    reason: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Labeling:
    """What annotators are asked, and what they have answered by now.

    ``kind`` is the name of what is learned (labelloop.kinds). ``counters`` are from just before the examples are read,
    so that nothing is missed. ``rename`` gives the name that a class of an older model has today, None for one that
    there is no more. ``examples`` yields every labeled task, in order of id.
    """

    kind: str
    choice: Choice
    classes: tuple[str, ...]
    counters: Counters
    rename: Callable[[str], str | None]
    examples: Callable[[], Iterator[Example]]

    def records(self, truth: Callable[[Sequence[Vote], Choice], Truth]) -> Iterator[Record | LeftOut]:
        """Yield every example with its labels, or why it has none that can be learned from; ``truth`` settles votes."""
        for example in self.examples():
            found = truth(example.votes, self.choice)
            reason = found.reason or example.reason
            task = example.task
            yield LeftOut(task, reason) if reason else Record(example.uri, found.labels, task, text=example.text)


class Site(Protocol):
    """One project in the tool. Every method raises the tool's errors (StudioError), above all where it is away."""

    def labeling(self) -> Labeling:
        """Read what is asked; raises LabelConfigError where that is nothing that can be learned."""

    def read(self, record: Record) -> bytes:
        """Read the file of an example; raises MediaError."""

    def waiting(self, version: str) -> Iterator[Json]:
        """Yield the tasks that wait for an annotator and have no prediction of this version; imports may go on."""

    def count_waiting(self, version: str) -> int:
        """Say about how many there are."""

    def put_predictions(self, predictions: Sequence[Json]) -> None:
        """Store predictions, each with its ``task`` and ``model_version``; raises where not all could be stored."""

    def announce(self, version: str) -> None:
        """Have the tool order its tasks by the scores of this version; may be repeated."""
