"""Exports: a task that writes lines to a file in a thread of its own, and hands it out in parts by signed links."""

import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from labelloop.types import Json
from support.labelbox.front import Operation, operation
from support.labelbox.links import Links, ndjson
from support.labelbox.model_runs import USER, ModelRun, ModelRuns
from support.labelbox.wire import Call, malformed, missing, moment

_PARAMS = {
    "mediaTypeOverride",
    "includeAttachments",
    "includeEmbeddings",
    "includeMetadata",
    "includeDataRowDetails",
    "includePredictions",
    "includeModelRunDetails",
}
_SETTLED = 0.2
"""Seconds that a question about a task waits for its thread: what is small is done when it is first asked about."""


@dataclass
class Part:
    """Bytes and lines of an export that one link gives; ends are included."""

    start: int
    end: int
    first: int
    last: int


@dataclass
class Order:
    """What a test wants of the next export: ``hangs``, ``fails``, or which of its parts is ``missing`` or ``cut``."""

    hangs: bool = False
    fails: bool = False
    missing: int | None = None
    cut: int | None = None


@dataclass
class Export:
    """One export of a model run."""

    id: str
    rows: int
    name: str | None
    path: str
    created: float
    order: Order
    parts: list[Part] = field(default_factory=list)
    lines: int = 0
    status: str = "IN_PROGRESS"
    thread: threading.Thread | None = None

    @property
    def size(self) -> int:
        return self.parts[-1].end + 1 if self.parts else 0


class Exports:
    """All exports that there were, by the ids of their tasks."""

    def __init__(self, links: Links, model_runs: ModelRuns, part: int) -> None:
        self.links, self.model_runs, self.part = links, model_runs, part
        self.tasks: dict[str, Export] = {}
        self.orders: list[Order] = []

    def forget(self) -> None:
        for one in self.tasks.values():
            if one.thread:
                one.thread.join()
        self.tasks.clear()
        self.orders.clear()

    def operations(self) -> Iterator[Operation]:
        yield operation("exportDataRowsInModelRunPyApi", "input", self._begin)
        yield operation("GetUserCreatedTasksPyApi", "param_0 param_1", self._tasks)
        yield operation("GetExportMetadataHeaderPyApi", "where streamType", self._header)
        yield operation("GetExportFileFromOffsetPyApi", "where streamType offset", self._part)

    def _begin(self, call: Call) -> Json:
        asked = call["input"]
        params = asked["params"]
        if set(params) != _PARAMS or not asked["streamable"] or not asked["isStreamableReady"]:
            raise malformed(f"ExportDataRowsInModelRunInput: {asked}")
        if params["includePredictions"]:
            raise malformed("the stand-in exports no predictions")
        run = self.model_runs.run(asked["filters"]["modelRunId"])
        task = str(uuid.uuid4())
        order = self.orders.pop(0) if self.orders else Order()
        export = Export(task, len(run.rows), asked["taskName"], f"export/{task}.ndjson", self.links.clock(), order)
        self.tasks[task] = export
        if not order.hangs:
            export.thread = threading.Thread(target=self._write, args=(export, run, params), daemon=True)
            export.thread.start()
        return {"exportDataRowsInModelRun": {"taskId": task, "isStreamable": True}}

    def _write(self, export: Export, run: ModelRun, params: Json) -> None:
        if export.order.fails:
            export.status = "FAILED"
            return
        where = self.links.folder / export.path
        where.parent.mkdir(parents=True, exist_ok=True)
        start = at = first = 0
        with where.open("wb") as file:
            for row in run.rows:
                content = ndjson(self.model_runs.line(run, row, params)).encode()
                file.write(content)
                at += len(content)
                export.lines += 1
                if at - start >= self.part:
                    export.parts.append(Part(start, at - 1, first, export.lines - 1))
                    start, first = at, export.lines
        if at > start:
            export.parts.append(Part(start, at - 1, first, export.lines - 1))
        export.status = "COMPLETE"

    def _tasks(self, call: Call) -> Json:
        if call["param_1"] != USER:
            raise missing("User", call["param_1"])
        found = self.tasks.get(call["param_0"])
        return {"user": {"createdTasks": [self._told(found)] if found else []}}

    def _told(self, export: Export) -> Json:
        if export.thread:
            export.thread.join(_SETTLED)
        done = export.lines / max(1, export.rows)
        return {
            "id": export.id,
            "name": export.name,
            "status": export.status,
            "type": "export-data-rows",
            "completionPercentage": round(100 * done, 1),
            "createdAt": moment(export.created),
            "updatedAt": moment(self.links.clock()),
            **dict.fromkeys(("result", "errors")),
            "metadata": {},
        }

    def _export(self, call: Call) -> Export:
        if call["where"]["id"] not in self.tasks:
            raise missing("Task", call["where"]["id"])
        return self.tasks[call["where"]["id"]]

    def _header(self, call: Call) -> Json:
        export = self._export(call)
        if call["streamType"] == "ERRORS" or export.status != "COMPLETE" or not export.parts:
            return {"task": {"exportMetadataHeader": None}}
        return {"task": {"exportMetadataHeader": {"totalSize": export.size, "totalLines": export.lines}}}

    def _part(self, call: Call) -> Json:
        export, offset = self._export(call), int(call["offset"])
        for number, part in enumerate(export.parts if call["streamType"] == "RESULT" else ()):
            if part.start <= offset <= part.end:
                path = export.path + ".gone" if number == export.order.missing else export.path
                told = {
                    "offsets": {"start": part.start, "end": part.end},
                    "lines": {"start": part.first, "end": part.last},
                    "file": self.links.sign(path, part.start, part.end - (number == export.order.cut)),
                }
                return {"task": {"exportFileFromOffset": told}}
        return {"task": {"exportFileFromOffset": None}}
