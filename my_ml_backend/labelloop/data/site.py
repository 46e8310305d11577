"""A site: a tool in which people annotate. What LabelLoop reads of its projects there, and tells it.

What is asked and answered there is in ``data/labeling.py``, what it hears from it in ``data/site_events.py``.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal, NamedTuple, Protocol

from labelloop.data.labeling import FIRST, Counters, Labeling, Subject, Touched
from labelloop.data.listing import Record
from labelloop.data.model_run_site import ModelRunSite
from labelloop.sources.media import Media
from labelloop.sources.urls import Home
from labelloop.types import Answer, Assignment, Identity, Input, Json, Prompted, Rendering


@dataclass(frozen=True, slots=True)
class Begun:
    """An annotation that says something: the ``version`` whose prediction it began with, and whether it ``kept`` that.

    ``version`` is empty where it began with none that is known, and the prediction is ``blank`` where it shows nothing.
    ``seconds`` are all that its annotator spent on it, None where nobody took them; ``by`` is the annotator's number.
    """

    version: str
    kept: bool
    seconds: float | None = None
    by: int | None = None
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A task of which annotations changed last ``at`` a moment, and with which predictions each of them ``begun``.

    Moments are the tool's own: what is later comes later in the alphabet.
    """

    task: int
    at: str
    begun: tuple[Begun, ...]


class TaskMoments(NamedTuple):
    """When labels of a task were made and changed last (Unix seconds), as far as the tool still knows."""

    task: int
    moments: tuple[float, ...]


Sampling = Literal["uncertainty", "sequence", "chance"]
"""Which task a tool gives an annotator next: that of the lowest score, of the lowest number, or any."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A project as its tool describes it: which one it is, what is in it, and by whose scores its tasks are ordered.

    ``title`` is what people call it; empty where it has none. Its counters leave out ``labeled`` where that is dear.
    ``asked`` is all that its annotators are asked, as the tool spells it. ``at`` is the tool's own moment, before which
    it was counted; empty where the tool says none.
    """

    identity: Identity
    counters: Counters
    version: str
    title: str = ""
    asked: str = ""
    at: str = ""
    sampling: Sampling = "uncertainty"


@dataclass(frozen=True, slots=True)
class SiteConnection:
    """How a project is connected with this LabelLoop; ``extra_params`` are what its owner says there, as it stands."""

    extra_params: object


@dataclass(frozen=True, slots=True)
class Storage:
    """What the tool writes a project's ``labels`` to, outside itself, or makes its tasks of, which is its ``data``.

    ``address`` is of the form ``s3://bucket/prefix`` or ``gs://bucket/prefix``; what lies there begins with it and a
    slash. ``number`` is what the tool knows it by.
    """

    holds: Literal["labels", "data"]
    address: str
    number: int


class Interface(Protocol):
    """What annotators see of a project's tasks and what they answer with: in Label Studio, its label config.

    It stands between tasks and an endpoint: what of a task is sent, and what of the answer becomes a prediction.
    """

    @property
    def text(self) -> str:
        """All that it was read from: the same text makes the same predictions."""

    @property
    def assignment(self) -> Assignment:
        """What of all that annotators are asked can be said in words."""

    def prompts(self, context: object) -> tuple[Prompted, ...]:
        """Read what an annotator drew who waits for a prediction; what is of another form is left out."""

    def input_of(self, task: Json, deadline: float | None, *, referable: bool) -> Input:
        """Give what of a task goes to the endpoint, read by a ``time.monotonic()`` moment.

        Where it is ``referable`` and another machine can read it, its address will do. Raises MediaError.
        """

    def shows(self, task: Json) -> str:
        """Give the address of the file that a task shows, read by nobody; empty where it shows a text, or nothing."""

    def text_of(self, task: Json) -> str:
        """Give the text that stands in a task itself; empty where it shows a file, or nothing."""

    def render(self, answer: Answer, how: Rendering, asked: Input) -> Json:
        """Make the prediction of a task, as ``Site.put_predictions`` takes it but for its ``task``.

        Raises LabelConfigError where the answer fits nothing that annotators are asked.
        """

    def tags_for(self, answer: Answer, how: Rendering) -> frozenset[str]:
        """Name what of all that annotators are asked an answer of this form can say, whatever it says."""


def shown_of(interface: Interface, task: Json) -> tuple[int, str]:
    """Give a task's number, and what it shows: the address of a file or the text itself, empty for nothing."""
    return int(task["id"]), interface.shows(task) or interface.text_of(task)


class Site(Protocol):
    """One project in the tool. Every method raises the tool's errors (StudioError), above all where it is away."""

    def overview(self) -> Overview:
        """Describe the project; raises NoSuchProject."""

    def connection(self) -> SiteConnection | None:
        """Say how it is connected with this LabelLoop, None where it is not."""

    def interface(self, subject: Subject | None = None) -> Interface:
        """Read what annotators see: all that can be predicted for, or what is learned alone.

        Raises LabelConfigError where there is nothing of it.
        """

    def labeling(self, subject: Subject = FIRST) -> Labeling:
        """Read what is asked; raises LabelConfigError where that is nothing that can be learned.

        Where a foreign trainer learns, anything can be that is predicted for: what no kind of ours learns is of the
        kind that takes what annotators say as it is.
        """

    def judged(self, since: str, subject: Subject = FIRST) -> Iterator[Judged]:
        """Yield the annotated tasks that changed since a moment: UTC, ``2026-11-29T12:00:00.000000Z``."""

    def history(self) -> Iterator[TaskMoments]:
        """Yield every task with a label that is no skip, and when that was made and changed last."""

    def changed(self, since: str, subject: Subject = FIRST, *, annotated: bool = True) -> Iterator[Touched] | None:
        """Yield the annotated tasks that changed since a moment, in order of task.

        A task changes when one of its annotations is made, edited, skipped or deleted. Where not ``annotated`` ones are
        asked for, these are the tasks without an annotation, which may have had some. None where the tool cannot tell:
        whoever wants to know goes through all examples.
        """

    def read(self, record: Record) -> bytes:
        """Read the file of an example; raises MediaError."""

    def waiting(self, version: str) -> Iterator[Json]:
        """Yield the tasks that wait for an annotator and have no prediction of this version; imports may go on."""

    def some_waiting(self, version: str, places: int, each: int) -> Iterator[Json]:
        """Yield ``each`` of them from so many places, which chance chooses: what they are costs no list of all.

        Some may come twice; none come where only such a list could tell.
        """

    def count_waiting(self, version: str) -> int:
        """Say about how many there are."""

    def all_tasks(self, after: int = 0) -> Iterator[Json]:
        """Yield every task whose number is higher than ``after``, in order of it, be it labeled or not."""

    def tasks(self, tasks: Sequence[int]) -> Iterator[Json]:
        """Yield these tasks, in order; those that are there no more are left out."""

    def put_predictions(self, predictions: Sequence[Json]) -> None:
        """Store predictions, each with its ``task`` and ``model_version``; raises where not all could be stored."""

    def outdated(self, versions: Collection[str]) -> Iterator[int]:
        """Yield the numbers of these versions' predictions for tasks that wait for an annotator."""

    def remove_prediction(self, prediction: int) -> None:
        """Remove a prediction by its number."""

    def announce(self, version: str) -> None:
        """Have the tool order its tasks by the scores of this version; may be repeated."""

    def show(self, title: str, tasks: Sequence[int]) -> str:
        """Show people these tasks under a title, in the place of those it showed before; gives an address."""

    def storages(self) -> list[Storage]:
        """Say where its labels are written to and its data come from, beside the tool itself; raises NoSuchProject."""

    def label_at(self, address: str) -> str:
        """Name the label that an object in a storage tells of: ``a7`` is an annotation's, ``t7`` a task's.

        Empty where its name does not tell.
        """

    def take_in(self, storage: Storage) -> bool:
        """Have the tool make tasks of what is new in a storage of data; raises StudioError where that failed.

        False where it was at that already, and may have passed by what is new: ask again. May be repeated.
        """

    def mend_webhook(self, agreed: Callable[[], bool]) -> str:
        """Renew the login and the secret by which the tool tells us of changes; say what is wrong with them still.

        A secret is renewed only where all processes have ``agreed`` on it, which is asked after the tool has called us.
        """


class Tool(Protocol):
    """The tool that the settings name, with all its projects.

    ``needed`` are modules that take long to import: a worker loads them before it forks.
    """

    needed: ClassVar[tuple[str, ...]]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The names it may go by because of its address, its own spelling first; the store knows projects by them.

        Raises SettingsError for an address that is none.
        """

    @property
    def home(self) -> Home | None:
        """The files that its own token opens; None without one."""

    def site(self, project: int, media: Media, called_at: Callable[[], str | None]) -> Site:
        """Give a project by its number; raises SettingsError where nothing says how to reach the tool.

        ``called_at`` says at which address it was last seen to call this LabelLoop, None where that is not known.
        """

    def model_run(self, project: int, media: Media) -> ModelRunSite | None:
        """Give a project as the model run that it is; None where the tool has none, as Label Studio."""

    def close(self) -> None:
        """Close the connections."""


def spelled(moment: datetime) -> str:
    """Spell a moment so that later ones come later in the alphabet: ``2026-11-29T12:00:00.000000Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
