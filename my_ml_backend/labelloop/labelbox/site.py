"""A model run of Labelbox as a site, as far as it is one.

It is a picture of one moment: what an export gives is all there is. Nobody annotates it meanwhile, its rows have no
order that could be announced, and no storages of its own.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import ParamSpec, TypeVar

from labelloop.data.labeling import FIRST, Counters, Example, Labeling, Subject
from labelloop.data.listing import Record
from labelloop.data.site import Judged, Overview, SiteConnection, Storage, TaskMoments
from labelloop.errors import LabelConfigError, LabelLoopError, MediaError
from labelloop.kinds.majority import Vote
from labelloop.labelbox.answers import of_results, regions_of
from labelloop.labelbox.client import Labelbox
from labelloop.labelbox.interface import Fit, LabelboxInterface
from labelloop.labelbox.model_run import LabelboxModelRun
from labelloop.labelbox.rows import Row
from labelloop.settings import Settings
from labelloop.sources.media import Media, document_in
from labelloop.sources.urls import shown
from labelloop.types import Identity, Json, ProjectKey

P = ParamSpec("P")
T = TypeVar("T")


class LabelboxSite(LabelboxModelRun):
    """What an entry of the menu makes of a model run; see Site. ``fit`` says whether an endpoint's answers fit."""

    def __init__(self, settings: Settings, client: Labelbox, media: Media, key: ProjectKey) -> None:
        """Raises as a LabelboxModelRun."""
        super().__init__(settings, client, media, key)
        self.fit = Fit()
        self._interrupted: LabelLoopError | None = None

    def overview(self) -> Overview:
        """Ask for the model run; raises ModelRunGone. Its counters are those of the last export on this machine."""
        self.info(anew=True)
        return Overview(Identity(self._key.id), self._counters(), "")

    def connection(self) -> SiteConnection:
        """Read the training config; raises SettingsError for an impossible value."""
        return SiteConnection(self.config().options)

    def interface(self, subject: Subject | None = None) -> LabelboxInterface:
        """Read the ontology: what its model type learns, or all that an endpoint can answer."""
        rows = self.rows(subject)
        read, linked = self._heeding(rows.read), self._heeding(rows.linked)
        return LabelboxInterface(self.ontologies(subject or FIRST), rows.find, read, linked, self.fit)

    def labeling(self, subject: Subject = FIRST) -> Labeling:
        """Read the ontology; raises LabelConfigError where it does not hold the model type."""
        if not self.trains:
            raise LabelConfigError("an entry that names an endpoint only predicts: nothing is learned of its rows")
        (ontology,) = self.ontologies(subject)
        return Labeling(
            kind=ontology.type.kind,
            choice=ontology.type.choice,
            classes=ontology.classes,
            counters=self._counters(),
            rename=ontology.finder(),
            examples=lambda: self._examples(subject),
            instead=lambda content: None if ontology.type.of_text else document_in(content) or None,
            drawn=regions_of,
            asked=ontology.asked,
            others=ontology.others,
        )

    def changed(self, since: str, subject: Subject = FIRST, *, annotated: bool = True) -> None:
        """A model run is of labels that stay as they are."""

    def judged(self, since: str, subject: Subject = FIRST) -> Iterator[Judged]:  # noqa: ARG002 - a Site
        """Yield nothing: labels of a model run began with no prediction of its own."""
        return iter(())

    def history(self) -> Iterator[TaskMoments]:
        """Yield nothing: labels of a model run are those of its export, and no policy waits for them."""
        return iter(())

    def read(self, record: Record) -> bytes:
        """Read the file of a data row, by its link, which may have been signed anew since."""
        row = self.rows().find(record.task)
        if row is None:
            raise MediaError(f"{shown(record.uri)} is of a data row that is no more in the model run")
        return self.rows().read(row)

    def waiting(self, version: str) -> Iterator[Json]:  # noqa: ARG002 - a Site
        """Yield the data rows that an endpoint is to predict for, and has not in this attempt; of a training none.

        Raises LabelConfigError when it has turned out that what the endpoint answers fits nothing of the ontology, and
        what has kept links from being signed anew.
        """
        if self.trains:
            return
        self.rows().export()
        predicted = self.predicted.numbers()
        last = next(predicted, None)
        for row in self.rows().rows():
            while last is not None and last < row.number:
                last = next(predicted, None)
            if last != row.number:
                self.fit.require()
                self._go_on()
                yield {"id": row.number, "data": {}}

    def all_tasks(self, after: int = 0) -> Iterator[Json]:  # noqa: ARG002 - a Site
        """Yield nothing: of a model run, only what it learns from is read."""
        return iter(())

    def some_waiting(self, version: str, places: int, each: int) -> Iterator[Json]:  # noqa: ARG002 - a Site
        """Yield none."""
        return iter(())

    def count_waiting(self, version: str) -> int:  # noqa: ARG002 - a Site
        """Count them; the rows are exported for that. Raises what has kept links from being signed anew."""
        if self.trains:
            return 0
        self._go_on()
        self.rows().export()
        return max(0, self.rows().counts().rows - self.predicted.count().rows)

    def tasks(self, tasks: Sequence[int]) -> Iterator[Json]:
        """Yield these data rows, by their numbers."""
        rows = self.rows()
        return ({"id": number, "data": {}} for number in sorted(tasks) if rows.find(number) is not None)

    def put_predictions(self, predictions: Sequence[Json]) -> None:
        """Keep predictions on this machine; ``finish`` uploads them."""
        rows, ontologies = self.rows(), self.ontologies()
        self.predicted.add(
            self.lines(row, version, list(of_results(one["result"], ontologies, version)))
            for one in predictions
            if (row := rows.find(one["task"])) is not None and (version := one["model_version"])
        )

    def outdated(self, versions: Collection[str]) -> Iterator[int]:  # noqa: ARG002 - a Site
        """Give none: a model run shows what was sent to it last."""
        return iter(())

    def remove_prediction(self, prediction: int) -> None:
        """Do nothing: there is none to be removed."""

    def announce(self, version: str) -> None:
        """Do nothing: nobody is given the rows of a model run in an order."""

    def show(self, title: str, tasks: Sequence[int]) -> str:  # noqa: ARG002 - a Site
        """Show nothing: Labelbox has no API that makes slices of a model run."""
        return ""

    def storages(self) -> list[Storage]:
        """List none: the labels of a model run are written nowhere else."""
        return []

    def label_at(self, address: str) -> str:  # noqa: ARG002 - a Site
        """Name nothing: there are no storages."""
        return ""

    def take_in(self, storage: Storage) -> bool:  # noqa: ARG002 - a Site
        """Do nothing: there are no storages."""
        return True

    def mend_webhook(self, agreed: Callable[[], bool]) -> str:  # noqa: ARG002 - a Site
        """Do nothing: what Labelbox sends is signed."""
        return ""

    def _heeding(self, read: Callable[P, T]) -> Callable[P, T]:
        """Make what reads a file one that raises MediaError alone: all else ends what is going on, soon."""

        def heed(*given: P.args, **named: P.kwargs) -> T:
            try:
                return read(*given, **named)
            except MediaError:
                raise
            except LabelLoopError as error:
                self._interrupted = error
                raise MediaError(f"its link could not be signed anew: {error}") from error

        return heed

    def _go_on(self) -> None:
        error, self._interrupted = self._interrupted, None
        if error is not None:
            raise error

    def _counters(self) -> Counters:
        counts = self._table.counts()
        labeled = counts.rows - sum(counts.left_out.values())
        return Counters(counts.rows, labeled, labeled, 0)

    def _examples(self, subject: Subject) -> Iterator[Example]:
        rows = self.rows(subject)
        rows.export()
        return map(_example, rows.measured())


def _example(row: Row) -> Example:
    """Give a row with its labels. Its link has no signature: the picture cache knows a file by what does not change."""
    bare = f"{row.address.partition('?')[0]}#{row.data_row}" if row.address else ""
    votes = (Vote(reason=row.reason),) if row.reason else row.votes
    return Example(row.number, bare, votes, row.reason, row.text, row.side)
