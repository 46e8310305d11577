"""A model run of Labelbox: what one entry of the menu makes of it, from its export to what is uploaded in the end."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from labelloop.data.labeling import FIRST, Subject
from labelloop.data.model_run_site import Answered, Uploaded
from labelloop.errors import LabelConfigError, MediaError
from labelloop.files import remove_stale
from labelloop.kinds.base import find
from labelloop.labelbox import imports
from labelloop.labelbox.client import Labelbox, ModelRunInfo, told
from labelloop.labelbox.exported import ExportedRows
from labelloop.labelbox.fitting import Fitted
from labelloop.labelbox.item_metrics import Matched, item_metrics
from labelloop.labelbox.lines import metric_lines, prediction_lines
from labelloop.labelbox.model_types import FIRST_INFERENCE, ModelType, type_of
from labelloop.labelbox.ontology import Ontology
from labelloop.labelbox.predicted import Predicted, PredictedRows
from labelloop.labelbox.progress import StatusTeller
from labelloop.labelbox.rows import Row
from labelloop.labelbox.table import RowTable
from labelloop.labelbox.training_config import TrainingConfig
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.types import BOXES, Answer, Failure, Findings, Json, Progress, ProjectKey

_NAMED = 3
"""Questions that are not learned, told by name."""

_SENTENCE = 450
"""Letters of what Labelbox is told of a failure: what went wrong, and what to do."""

_KEPT_SECONDS = 30 * 86400.0
"""How long rows and predictions lie on a machine where nobody opens them; what is needed is exported again."""

_TELL_SECONDS = 5.0
"""How long a training waits for Labelbox to hear how far it is."""


class LabelboxModelRun:
    """What an entry of the menu, by its number, makes of a model run. Safe to share between threads; see ModelRunSite.

    Every method raises LabelboxError and what is below it: LabelboxAway where Labelbox is away, ModelRunGone where the
    model run was deleted.
    """

    def __init__(self, settings: Settings, client: Labelbox, media: Media, key: ProjectKey) -> None:
        """Raises LabelConfigError for the number of no entry, StoreError where the disk refuses."""
        self._settings, self._client, self._media, self._key = settings, client, media, key
        self.type: ModelType | None = type_of(key.id)
        if self.type is None and key.id < FIRST_INFERENCE:
            raise LabelConfigError(f"no entry of Labelbox's menu has number {key.id}: types of models have 1 to 6")
        self._teller = StatusTeller(Labelbox(settings, _TELL_SECONDS), self.run, trains=self.trains)
        self._folder = settings.directory / "cache" / "labelbox" / str(key)
        self._table, self.predicted = RowTable.of(settings, key), PredictedRows(self._folder / "predicted.sqlite")
        self._asking = threading.RLock()
        self._attempt = 0
        self._info: ModelRunInfo | None = None
        self._config: TrainingConfig | None = None
        self._normalized: Json | None = None
        self._ontologies: dict[str, tuple[Ontology, ...]] = {}
        self._rows: dict[str, ExportedRows] = {}

    @property
    def run(self) -> str:
        """The id of the model run."""
        return self._key.model_run

    @property
    def trains(self) -> bool:
        """Whether a model is trained; else an endpoint predicts."""
        return self.type is not None

    def info(self, *, anew: bool = False) -> ModelRunInfo:
        """Ask what it is, once unless ``anew``; raises ModelRunGone."""
        with self._asking:
            if self._info is None or anew:
                self._info, self._config = self._client.model_run(self.run), None
            return self._info

    def config(self) -> TrainingConfig:
        """Read its training config; raises SettingsError for an impossible value."""
        with self._asking:
            if self._config is None:
                self._config = TrainingConfig.of(self.info().config, self._settings, trains=self.trains)
            return self._config

    def ontologies(self, subject: Subject = FIRST) -> tuple[Ontology, ...]:
        """Give what of its ontology its model type learns, or all that an endpoint can answer.

        Raises LabelConfigError where it holds nothing of the sort.
        """
        with self._asking:
            if self._normalized is None:
                self._normalized = self._client.ontology(self.info().model)
            # Made once: it is asked for with every row, and may name thousands of classes.
            if subject.tag not in self._ontologies:
                self._ontologies[subject.tag] = self._parts(self._normalized, subject)
            return self._ontologies[subject.tag]

    def _parts(self, normalized: Json, subject: Subject) -> tuple[Ontology, ...]:
        if self.type is not None:
            return (Ontology.of(normalized, self.type, subject.tag),)
        found = Ontology.all_of(normalized)
        if not found:
            raise LabelConfigError(
                f"the ontology {str(normalized.get('name', ''))[:60]!r} asks for nothing that an endpoint can "
                "answer: bounding boxes, entities, radio and checklist questions can be"
            )
        return found

    def rows(self, subject: Subject | None = None) -> ExportedRows:
        """Give its rows on this machine, exported or not; what their labels say of a subject is read, of none nothing.

        Raises LabelConfigError as ``ontologies``.
        """
        ontology = self.ontologies(subject or self._subject)[0] if self.trains else None
        asked = "" if ontology is None else ontology.asked
        with self._asking:
            if asked not in self._rows:
                self._rows[asked] = ExportedRows(
                    self._client, self.run, self._table, self._media, ontology, self._tell_export
                )
            return self._rows[asked]

    def lines(self, row: Row, version: str, found: Sequence[Fitted]) -> Predicted:
        """Write what is answered of a row as Labelbox takes it, or why that cannot be."""
        try:
            lines = [line for ontology, answer in found for line in self._written(row, ontology, answer)]
        except (MediaError, LabelConfigError) as error:
            return Predicted(row.number, version, reason=str(error))
        return Predicted(row.number, version, lines)

    def close(self) -> None:
        """Close its connections and files."""
        self._teller.close()
        self._table.close()

    # --- As a ModelRunSite.

    def begin(self, attempt: int) -> None:
        """Go on with what this attempt has left on this machine; forget what an earlier one has.

        What the disk has of model runs that nobody has opened for a month goes.
        """
        with suppress(OSError):
            self._folder.touch()
        remove_stale(self._settings.directory / "cache" / "labelbox", "*/*", _KEPT_SECONDS)
        self._attempt = attempt
        self._table.begin(attempt)
        self.predicted.begin(attempt, forget=not self.trains)

    def parameters(self) -> Mapping[str, str]:
        """Read the training config; raises SettingsError for an impossible value."""
        return self.config().parameters

    def tell(self, stage: str, what: str, done: int, total: int) -> None:
        """Tell Labelbox how far it is, where it is time to."""
        self._teller.tell(stage, what, done, total)

    def keep(self, version: str, answered: Sequence[Answered]) -> None:
        """Keep on this machine what a version answers, with the metrics of each item."""
        rows, (ontology,) = self.rows(), self.ontologies(self._subject)
        rows.export()
        self.predicted.add(self._concluded(rows.find(one.item.task), version, one, ontology) for one in answered)

    def finish(self, version: str, progress: Progress) -> Uploaded:
        """Upload what is kept of a version; what an endpoint predicts goes to a project, too, where one is set.

        Lines that this attempt has sent are not sent again. Of an endpoint all is uploaded, whichever version it said.
        What an earlier version, or an earlier attempt of an endpoint, said on this machine, and this one does not, is
        withdrawn.
        """
        asked = version if self.trains else ""
        # Of another attempt all lines are sent again: meanwhile another version may have said something else.
        name = f"{self.type.name if self.type else 'endpoint'}-{version}-{self._attempt}"
        folder = self._folder / "uploads"

        def report(done: int, total: int) -> None:
            progress("lines uploaded", done, total)

        lines = chain(self.predicted.lines(asked), self.predicted.withdrawn(asked))
        found = imports.upload(self._client, self.run, lines, name, folder, report)
        if (project := self._settings.labelbox_prelabel_project) and not self.trains:
            found += imports.to_project(self._client, project, self.predicted.lines(), name, folder, report)
        counted = self.predicted.count(asked)
        reasons = tuple(dict.fromkeys((*found.reasons, *counted.reasons)))
        return Uploaded(counted.rows, found.lines, found.refused, counted.left_out, reasons)

    def complete(self, metadata: Mapping[str, str]) -> None:
        """Tell Labelbox that it is complete, what of its config means nothing and what of its labels is not learned."""
        told = {"config": self.config().told, "not_learned": self._not_learned()}
        self._client.tell(self.run, "COMPLETE", {**metadata, **{name: said for name, said in told.items() if said}})

    def fail(self, sentence: str) -> None:
        """Tell Labelbox why it failed; without what signs a link, and not at any length."""
        self._client.tell(self.run, "FAILED", error=told(sentence, self._settings.labelbox_api_key, _SENTENCE))

    def _not_learned(self) -> str:
        """Say what of labels, and of the ontology's questions, is not learned; empty where all is."""
        if not self.trains:
            return ""
        (ontology,) = self.ontologies(self._subject)
        counted = (f"{count} {what}" for what, count in self._table.aside().items())
        return "; ".join((*counted, *ontology.aside[:_NAMED]))

    @property
    def _subject(self) -> Subject:
        learned = self.config().options.get("learn", "")
        return Subject(learned) if isinstance(learned, str) else FIRST

    def _tell_export(self, what: str, done: int, total: int) -> None:
        self.tell("fetch", what, done, total)

    def _written(self, row: Row, ontology: Ontology, answer: Answer) -> list[Json]:
        return prediction_lines(answer, self._sized(row, ontology, answer), ontology, self.run)

    def _sized(self, row: Row, ontology: Ontology, answer: Answer) -> Row:
        """Give a row with the size by which its boxes are drawn, and its labels' with them; raises MediaError."""
        if ontology.type.kind != BOXES or row.size is not None:
            return row
        told = answer.size if isinstance(answer, Findings) else None
        return row.sized(told or self.rows().size_of(row))

    def _concluded(self, row: Row | None, version: str, one: Answered, ontology: Ontology) -> Predicted:
        if isinstance(one.answer, Failure):
            return Predicted(one.item.task, version, reason=one.answer.reason)
        if row is None:
            return Predicted(one.item.task, version, reason="its data row is no more in the model run")
        try:
            row = self._sized(row, ontology, one.answer)
        except MediaError as error:
            return Predicted(row.number, version, reason=str(error))
        found = self.lines(row, version, [(ontology, one.answer)])
        if found.reason:
            return found
        matched: Matched | None = getattr(find(ontology.type.kind), "matched", None)
        metrics = item_metrics(one.answer, row.votes, one.item.labels, matched)
        return replace(found, lines=[*found.lines, *metric_lines(metrics, row, self.run)])
