"""A labeling: what annotators of a project are asked and what they have answered, as their tool tells of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labelloop.data.listing import Record
from labelloop.kinds.majority import Truth, Vote
from labelloop.types import Choice, Json, LeftOut, Region, Side


@dataclass(frozen=True, slots=True)
class Counters:
    """How much there is in a project: cheap to ask for, and blind to edits.

    ``annotations`` are submitted ones, of ``labeled`` different tasks; ``skipped`` are cancelled ones.
    """

    tasks: int
    labeled: int
    annotations: int
    skipped: int

    @property
    def rows(self) -> int:
        """How many annotations there are, the skipped ones too."""
        return self.annotations + self.skipped


@dataclass(frozen=True, slots=True)
class Example:
    """A labeled task: its input, and what each of its annotations says, none of them settled yet.

    The input is a file's address, or a ``text`` that stands in the task itself. ``reason`` says why it has neither.
    Where what is true is what was said last, ``votes`` are from old to new. ``side`` is the one of the split that the
    tool names; None: by the content, as in Label Studio. ``at`` is the tool's moment at which one of its annotations
    changed last, empty where it tells none.
    """

    task: int
    uri: str
    votes: tuple[Vote, ...]
    reason: str = ""
    text: str = ""
    side: Side | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class Touched:
    """A task that changed: its example, None where it has none any more, and its annotations, the skipped ones too.

    ``made`` says of each annotation by its number when it was made. Moments are the tool's own: what is later comes
    later in the alphabet.
    """

    task: int
    example: Example | None
    made: Mapping[int, str]


class ChangeFeed(Protocol):
    """What a tool tells of single tasks, by which labels are read of which most are known already.

    ``at`` is the tool's own moment, before which the project was described and counted; empty where it says none.
    ``asked`` is all that annotators are asked, as the tool spells it: examples are what annotations say to that. Every
    method raises the tool's errors.
    """

    @property
    def at(self) -> str:
        """The moment."""

    @property
    def asked(self) -> str:
        """What is asked."""

    def annotated(self, since: str = "") -> Iterator[Touched]:
        """Yield the annotated tasks that changed since a moment, or all of them, in order of task."""

    def emptied(self, since: str, until: str) -> Iterator[Touched]:
        """Yield the tasks made ``until`` a moment that changed ``since`` one and have no annotation."""

    def these(self, tasks: Sequence[int]) -> Iterator[Touched]:
        """Yield these tasks; those that are there no more are left out."""

    def newest(self, after: int) -> tuple[int, int]:
        """Say how many tasks are newer than the one of a number, and the newest one's number (``after`` for none)."""

    def up_to(self, last: int) -> int:
        """Say how many tasks there are up to the one of a number."""

    def counters(self) -> Counters:
        """Count anew, but for ``labeled``."""


Drawn = Callable[[Iterable[Json]], tuple[Region, ...]]
"""Gives the regions that the results of a prediction show."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What of all that annotators are asked is learned: what ``tag`` names, else the first that can be.

    Where the trainer is ``foreign``, that is what it learned before LabelLoop knew more kinds, unless a tag is named.
    """

    tag: str = ""
    foreign: bool = False


FIRST = Subject()
"""What is learned where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Labeling:
    """What annotators are asked, and what they have answered by now.

    ``kind`` is the name of what is learned (labelloop.kinds). ``counters`` are from just before the examples are read,
    so that nothing is missed; they may leave out ``labeled``. ``rename`` gives the name that a class of an older model
    has today, None for one that there is no more. ``examples`` yields every labeled task, in order of id. ``instead``
    says what a file is that is recognisably nothing of what annotators are shown, such as a page that asks to log in;
    None for all others. ``withheld`` tells of a task whether it was shown without its prediction. ``drawn`` gives the
    regions that the results of a prediction show of what is learned, in today's labels; none where that is no regions.
    ``asked`` names what is learned in the tool's words, ``others`` what could be in its place. ``named`` yields the
    labeled ones of some tasks, by their numbers, where the tool can read these alone; None: all are read. ``feed``
    tells of single tasks; None where the tool cannot.
    """

    kind: str
    choice: Choice
    classes: tuple[str, ...]
    counters: Counters
    rename: Callable[[str], str | None]
    examples: Callable[[], Iterator[Example]]
    instead: Callable[[bytes], str | None] = lambda _: None
    withheld: Callable[[int], bool] = lambda _: False
    drawn: Drawn = lambda _: ()
    asked: str = ""
    others: tuple[str, ...] = ()
    named: Callable[[Sequence[int]], Iterator[Example]] | None = None
    feed: ChangeFeed | None = None

    @property
    def told(self) -> str:
        """Say what is learned, as what, and how to choose another."""
        other = f'; {" or ".join(self.others)} could be, too: "learn" in extra_params chooses' if self.others else ""
        return f"{self.asked} as {self.kind}{other}".lstrip()

    def records(
        self, truth: Callable[[Sequence[Vote], Choice], Truth], tasks: Sequence[int] | None = None
    ) -> Iterator[Record | LeftOut]:
        """Yield every example with its labels, or why it has none that can be learned from; ``truth`` settles votes.

        With ``tasks`` only the examples of these.
        """
        return (self.record(example, truth) for example in self._examples(tasks))

    def record(self, example: Example, truth: Callable[[Sequence[Vote], Choice], Truth]) -> Record | LeftOut:
        """Give an example with its labels, or why it has none that can be learned from; ``truth`` settles votes."""
        found = truth([self._vote(example.task, vote) for vote in example.votes], self.choice)
        if reason := found.reason or example.reason:
            return LeftOut(example.task, reason)
        return Record(
            example.uri,
            found.labels,
            example.task,
            example.side,
            text=example.text,
            result=found.result,
            confirmed=found.confirmed,
        )

    def _examples(self, tasks: Sequence[int] | None) -> Iterator[Example]:
        if tasks is None:
            return self.examples()
        if self.named is not None:
            return self.named(tasks)
        wanted = frozenset(tasks)
        return (example for example in self.examples() if example.task in wanted)

    def _vote(self, task: int, vote: Vote) -> Vote:
        """Give a vote, or one that says nothing where all that it tells is that a prediction was withheld."""
        if vote.unseen and not vote.ground_truth and self.withheld(task):
            return Vote(reason="made in bulk of a prediction that was withheld")
        return vote
