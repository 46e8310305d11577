"""Models, their ontologies, and model runs: rows with splits, statuses in order, the config."""

import shutil
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from labelloop.types import Json
from support.labelbox.front import Operation, operation
from support.labelbox.links import Links
from support.labelbox.ontologies import schema_id
from support.labelbox.rows import Row, Rows, exported, labels_of
from support.labelbox.wire import Call, malformed, missing, moment

STATUSES = ("EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL", "COMPLETE", "FAILED")
SPLITS = ("TRAINING", "VALIDATION", "TEST", "UNASSIGNED")
PAGE = 100
"""Rows that one page of a model run holds at most."""

USER = schema_id("user")

Splits = Mapping[str, str] | Callable[[str], str]
"""The split of a row by its id; a row that is not named is UNASSIGNED."""


@dataclass
class ModelRun:
    """A model run. ``split_key``: under which name an export tells the split of a row; empty: it does not tell it."""

    id: str
    name: str
    model: str
    rows: Rows
    splits: Splits
    config: Json
    split_key: str
    created: float
    statuses: list[Json] = field(default_factory=list)
    told_at: list[float] = field(default_factory=list)
    assigned: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def split(self, row: str) -> str:
        """Give the split of a row."""
        named = self.splits(row) if callable(self.splits) else self.splits.get(row, "UNASSIGNED")
        return self.assigned.get(row, named)


@dataclass(frozen=True)
class Model:
    """A model with its ontology."""

    id: str
    name: str
    ontology: Json

    @property
    def ontology_id(self) -> str:
        return schema_id(f"ontology {self.id}")


class ModelRuns:
    """All models and model runs that there are."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self.models: dict[str, Model] = {}
        self.runs: dict[str, ModelRun] = {}
        self._tasks: set[str] = set()
        self._reading: dict[str, tuple[int, Iterator[Row]]] = {}

    def forget(self) -> None:
        self.models.clear()
        self.runs.clear()
        # Another model run's files may have the same names.
        shutil.rmtree(self.links.folder / "rows", ignore_errors=True)
        self._reading.clear()

    def operations(self) -> Iterator[Operation]:
        yield operation("GetModelRunPyApi", "param_0", lambda call: {"modelRun": self._told(call["param_0"])})
        yield operation("GetModelPyApi", "param_0", self._model)
        yield operation("GetOntologyPyApi", "param_0", self._ontology)
        yield operation("GetUserPyApi", "", lambda _: {"user": self.user()})
        # What a data row says of itself is read by this: here it is nothing.
        yield operation("GetMetadataOntologyBetaPyApi", "", lambda _: {"customMetadataOntology": []})
        yield operation("setPipelineStatusPyApi", "modelRunId data", self._set_status, experimental=True)
        yield operation("ModelRunPyApi", "modelRunId", lambda call: {"modelRun": self._told(call["modelRunId"])})
        yield operation("updateModelRunConfigPyApi", "modelRunId data", self._update_config)
        yield operation("resetModelRunConfigPyApi", "modelRunId", self._reset_config)
        yield operation("modelRunPyApi", "modelRunId from first", self._page)
        yield operation("assignDataSplitPyApi", "modelRunId data", self._assign, experimental=True)
        yield operation("assignDataRowsToDataSplitTaskStatusPyApi", "id", self._assigned, experimental=True)

    def run(self, id: str) -> ModelRun:
        """Give a model run. Raises Refused where there is none."""
        if id not in self.runs:
            raise missing("ModelRun", id)
        return self.runs[id]

    def ontology_of(self, run: ModelRun) -> Json:
        """Give the ontology by which a model run's predictions are checked."""
        return self.models[run.model].ontology

    def user(self) -> Json:
        """Whose key it is; also the one who asks for tasks."""
        now = moment(self.links.clock())
        return {
            **dict.fromkeys(("lastLoginAt", "createdAt", "updatedAt"), now),
            "id": USER,
            "email": "ml@shop.example",
            "nickname": "ml",
            "name": "ML",
            "picture": "",
            "isViewer": False,
            "isExternalUser": False,
        }

    def row_data(self, row: Row) -> str:
        """Give the text of a row, or a link to its file that is good from now on."""
        if not row.file:
            return row.text
        # Rows of two model runs may have files of one name.
        path = f"rows/{zlib.crc32(row.content):08x}/{row.file}"
        if row.content and not (self.links.folder / path).exists():
            self.links.write(path, row.content)
        return self.links.sign(path)

    def line(self, run: ModelRun, row: Row, asked: Json) -> Json:
        """Write what an export tells of a row."""
        told: Json = {"name": run.name, "run_data_row_id": str(uuid.uuid5(uuid.NAMESPACE_URL, run.id + row.id))}
        if asked["includeModelRunDetails"] and run.split_key:
            told[run.split_key] = run.split(row.id)
        told["labels"] = labels_of(row)
        name = self.models[run.model].name
        return exported(row, self.row_data(row), asked, {run.model: {"name": name, "runs": {run.id: told}}})

    def _told(self, id: str) -> Json | None:
        run = self.runs.get(id)
        if run is None:
            return None
        return {
            "id": run.id,
            "name": run.name,
            "modelId": run.model,
            "modelAppId": None,
            "createdBy": USER,
            "createdAt": moment(run.created),
            "updatedAt": moment(run.created),
            "trainingMetadata": run.config,
        }

    def _model(self, call: Call) -> Json:
        model = self.models.get(call["param_0"])
        told = model and {"id": model.id, "name": model.name, "ontologyId": model.ontology_id}
        return {"model": told}

    def _ontology(self, call: Call) -> Json:
        found = [model for model in self.models.values() if model.ontology_id == call["param_0"]]
        if not found:
            return {"ontology": None}
        told = found[0].ontology
        now = moment(self.links.clock())
        return {
            "ontology": {
                "id": found[0].ontology_id,
                "name": found[0].name,
                "description": None,
                "mediaType": None,
                "normalized": told,
                "objectSchemaCount": len(told["tools"]),
                "classificationSchemaCount": len(told["classifications"]),
                "createdAt": now,
                "updatedAt": now,
            }
        }

    def _set_status(self, call: Call) -> Json:
        run, data = self.run(call["modelRunId"]), call["data"]
        if data.get("status") not in STATUSES or set(data) - {"status", "metadata", "errorMessage"}:
            raise malformed(f"UpdateTrainingPipelineInput: {data}")
        metadata = data.get("metadata", {})
        if not all(isinstance(one, str) for pair in metadata.items() for one in pair):
            raise malformed("metadata maps strings to strings")
        with run.lock:
            run.told_at.append(self.links.clock())
            run.statuses.append(data)
        return {"updateTrainingPipeline": {"status": data["status"]}}

    def _update_config(self, call: Call) -> Json:
        run = self.run(call["modelRunId"])
        run.config = {**run.config, **call["data"]["config"]}
        return {"updateModelRunConfig": {"trainingMetadata": run.config}}

    def _reset_config(self, call: Call) -> Json:
        run = self.run(call["modelRunId"])
        run.config = {}
        return {"resetModelRunConfig": {"trainingMetadata": run.config}}

    def _page(self, call: Call) -> Json:
        run, first = self.run(call["modelRunId"]), call["first"]
        if not isinstance(first, int) or not 1 <= first <= PAGE:
            raise malformed(f"first is between 1 and {PAGE}")
        start = int(call["from"] or 0)
        at, reading = self._reading.pop(run.id, (-1, iter(())))
        # Where the last page ended the next one begins: rows that are made as they are read are made once.
        reading = reading if at == start else islice(run.rows, start, None)
        rows = list(islice(reading, first))
        end = start + len(rows)
        self._reading[run.id] = end, reading
        cursor = str(end) if end < len(run.rows) else None
        nodes = [self._node(run, row) for row in rows]
        return {"annotationGroups": {"nodes": nodes, "pageInfo": {"endCursor": cursor}}}

    def _node(self, run: ModelRun, row: Row) -> Json:
        now = moment(run.created)
        size = row.size
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, run.id + row.id)),
            "modelRunId": run.id,
            "labelId": labels_of(row)[0]["id"] if row.labels else None,
            "dataSplit": run.split(row.id),
            "dataRow": {
                "id": row.id,
                "externalId": row.file or row.id,
                "globalKey": row.global_key or None,
                "rowData": self.row_data(row),
                "createdAt": now,
                "updatedAt": now,
                "mediaAttributes": {"width": size[0], "height": size[1]} if size else {},
                "customMetadata": [],
                "metadataFields": [],
            },
        }

    def _assign(self, call: Call) -> Json:
        run = self.run(call["modelRunId"])
        for one in call["data"]["assignments"]:
            if one["split"] not in SPLITS:
                raise malformed(f"there is no split {one['split']}")
            for key in [*(one["dataRowIds"] or ()), *(one["globalKeys"] or ())]:
                row = run.rows.find(key)
                if row is None:
                    raise missing("DataRow", key)
                run.assigned[row.id] = one["split"]
        task = str(uuid.uuid4())
        self._tasks.add(task)
        return {"createAssignDataRowsToDataSplitTask": task}

    def _assigned(self, call: Call) -> Json:
        if call["id"] not in self._tasks:
            raise missing("Task", call["id"])
        return {"assignDataRowsToDataSplitTaskStatus": {"status": "COMPLETE", "errorMessage": None}}
