"""Imports of predictions: into a model run, and, as pre-labels, into a project; each line is checked and told of."""

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from labelloop.types import Json
from support.labelbox.checking import Bad, Checker
from support.labelbox.front import Operation, operation
from support.labelbox.links import Links, lines_of, ndjson
from support.labelbox.model_runs import ModelRuns
from support.labelbox.rows import Rows
from support.labelbox.wire import Call, Refused, malformed, missing, moment

_SETTLED = 0.2
"""Seconds that a question about an import waits for its thread: what is small is done when it is first asked about."""


@dataclass
class Project:
    """A project that takes pre-labels."""

    id: str
    name: str
    rows: Rows
    ontology: Json


@dataclass
class Order:
    """What a test wants of the next import: ``hangs``, ``fails``, or that these lines (numbers from 0) are refused."""

    hangs: bool = False
    fails: bool = False
    refused: frozenset[int] = frozenset()


@dataclass
class Import:
    """One import, by its name below a model run or project; ``path`` is that of its three files."""

    name: str
    parent: str
    path: str
    order: Order
    count: int
    checker: Checker
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: str = "RUNNING"
    lines: int = 0
    refused: int = 0
    thread: threading.Thread | None = None


class Imports:
    """All imports that there were, by parent and name."""

    def __init__(self, links: Links, model_runs: ModelRuns) -> None:
        self.links, self.model_runs = links, model_runs
        self.projects: dict[str, Project] = {}
        self.made: dict[tuple[str, str], Import] = {}
        self.orders: list[Order] = []

    def forget(self) -> None:
        for one in self.made.values():
            if one.thread:
                one.thread.join()
        self.made.clear()
        self.projects.clear()
        self.orders.clear()

    def operations(self) -> Iterator[Operation]:
        by_file = "file contentLength name"
        yield operation("createMEAPredictionImportByFilePyApi", f"{by_file} modelRunId", self._begin)
        yield operation("getModelErrorAnalysisPredictionImportPyApi", "modelRunId name", self._get)
        yield operation("createMALPredictionImportByFilePyApi", f"{by_file} projectId", self._begin_labels)
        yield operation("getModelAssistedLabelingPredictionImportPyApi", "projectId name", self._get_labels)
        yield operation("GetProjectPyApi", "param_0", lambda call: {"project": self._project(call["param_0"])})

    def of(self, parent: str) -> list[Import]:
        """Give the imports of a model run or project, in order, as far as they are."""
        return [one for (of, _), one in self.made.items() if of == parent]

    def taken(self, one: Import) -> Iterator[Json]:
        """Give the lines of an import that were taken, each with the id of its row."""
        if one.state != "FINISHED":
            return
        sent, statuses = (lines_of(self.links.folder / one.path / f"{name}.ndjson") for name in ("input", "status"))
        for line, status in zip(map(json.loads, sent), map(json.loads, statuses), strict=True):
            if status["status"] == "SUCCESS":
                yield {**line, "dataRow": status["dataRow"]}

    def _begin(self, call: Call) -> Json:
        run = self.model_runs.run(call["modelRunId"])
        checker = Checker(run.rows.find, self.model_runs.ontology_of(run))
        told = self._told(self._take(call, run.id, checker), begun=True)
        return {"createModelErrorAnalysisPredictionImport": {**told, "modelRunId": run.id}}

    def _begin_labels(self, call: Call) -> Json:
        project = self.projects.get(call["projectId"])
        if project is None:
            raise missing("Project", call["projectId"])
        made = self._take(call, project.id, Checker(project.rows.find, project.ontology))
        told = self._told(made, begun=True)
        return {"createModelAssistedLabelingPredictionImport": {**told, "project": self._project(project.id)}}

    def _get(self, call: Call) -> Json:
        run = self.model_runs.run(call["modelRunId"])
        told = self._told(self._find(run.id, call["name"]))
        return {"modelErrorAnalysisPredictionImport": {**told, "modelRunId": run.id}}

    def _get_labels(self, call: Call) -> Json:
        told = self._told(self._find(call["projectId"], call["name"]))
        return {"modelAssistedLabelingPredictionImport": {**told, "project": self._project(call["projectId"])}}

    def _find(self, parent: str, name: str) -> Import:
        if (parent, name) not in self.made:
            raise missing("AnnotationImport", name)
        return self.made[parent, name]

    def _take(self, call: Call, parent: str, checker: Checker) -> Import:
        """Begin to take in what was sent."""
        if call.file is None or call["contentLength"] < len(call.file) or not call.file.strip():
            raise malformed("filePayload: the file is not of the length that was told, or empty")
        if (parent, call["name"]) in self.made:
            raise Refused("RESOURCE_CONFLICT", f"an import named {call['name']} exists already")
        order = self.orders.pop(0) if self.orders else Order()
        made = Import(call["name"], parent, f"import/{uuid.uuid4()}", order, call.file.count(b"\n") or 1, checker)
        self.links.write(f"{made.path}/input.ndjson", call.file)
        self.made[parent, made.name] = made
        if not order.hangs:
            self.go_on(made)
        return made

    def go_on(self, made: Import) -> None:
        """Let an import do its work."""
        made.thread = threading.Thread(target=self._check, args=(made,), daemon=True)
        made.thread.start()

    def _check(self, made: Import) -> None:
        """Tell of each line whether it was taken; what is no JSON fails the whole import."""
        folder = self.links.folder / made.path
        with (folder / "status.ndjson").open("w") as statuses, (folder / "error.ndjson").open("w") as errors:
            for line in lines_of(folder / "input.ndjson"):
                told = self._checked(made, line)
                if told is None or made.order.fails:
                    made.state = "FAILED"
                    return
                statuses.write(ndjson(told))
                if told["errors"]:
                    errors.write(ndjson(told))
                    made.refused += 1
                made.lines += 1
        made.state = "FINISHED"

    def _checked(self, made: Import, text: str) -> Json | None:
        try:
            line = json.loads(text)
        except ValueError:
            return None
        if not isinstance(line, dict):
            return None
        told = {"uuid": line.get("uuid", str(uuid.uuid4())), "dataRow": line.get("dataRow")}
        try:
            row = made.checker.check(line)
        except Bad as bad:
            return _refused(told, bad)
        if made.lines in made.order.refused:
            return _refused(told, Bad("InternalError", "the stand-in was told to refuse this line"))
        return {**told, "dataRow": {"id": row.id}, "status": "SUCCESS", "errors": []}

    def _told(self, made: Import, *, begun: bool = False) -> Json:
        """Tell of an import; as it begins, it is always running."""
        if made.thread and not begun:
            made.thread.join(_SETTLED)
        state = "RUNNING" if begun else made.state
        done = state == "FINISHED"
        return {
            "id": made.id,
            "name": made.name,
            "state": state,
            "progress": f"{100 if done else made.lines * 100 // max(1, made.count)}%",
            "inputFileUrl": self.links.sign(f"{made.path}/input.ndjson"),
            "errorFileUrl": self.links.sign(f"{made.path}/error.ndjson") if done else None,
            "statusFileUrl": self.links.sign(f"{made.path}/status.ndjson") if done else None,
        }

    def _project(self, id: str) -> Json | None:
        if id not in self.projects:
            return None
        project, now = self.projects[id], moment(self.links.clock())
        return {
            **dict.fromkeys(("autoAuditNumberOfLabels", "autoAuditPercentage", "description", "editorTaskType")),
            **dict.fromkeys(("isBenchmarkEnabled", "isConsensusEnabled"), False),
            **dict.fromkeys(("createdAt", "updatedAt", "lastActivityTime", "modelSetupComplete", "setupComplete"), now),
            "id": id,
            "name": project.name,
            "dataRowCount": len(project.rows),
            "uploadType": "Auto",
            "allowedMediaType": "IMAGE" if project.ontology["tools"] else "TEXT",
        }


def _refused(told: Json, bad: Bad) -> Json:
    return {**told, "status": "FAILURE", "errors": [{"name": bad.name, "message": bad.message}]}
