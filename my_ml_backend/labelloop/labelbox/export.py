"""An export: Labelbox writes all rows of a model run to files, which are read into a ``RowTable``, part by part.

The SDK's own wait ends silently where an export fails or hangs, and its stream gives the first row when the last one
has come: exports are looked at here, and each part's rows are kept together with where the next part begins. Whoever
repeats the work of a killed process goes on with the same export, at that place. What is asked are the SDK's own
operations.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

from labelloop.errors import LabelboxAway, LabelboxError
from labelloop.labelbox.client import PACE, DeadLink, Labelbox, Pace, gone, told
from labelloop.labelbox.rows import SPLITS, Row, row_number
from labelloop.labelbox.table import ExportState, RowTable
from labelloop.retries import retries
from labelloop.types import Json, Progress

_log = logging.getLogger(__name__)

Read = Callable[[object], Row]
"""Reads an exported line: ``rows.read_row`` with its model run and ontology."""

_EXPORT = """mutation exportDataRowsInModelRunPyApi($input: ExportDataRowsInModelRunInput!)
{exportDataRowsInModelRun(input: $input){taskId isStreamable}}"""
_HEADER = """query GetExportMetadataHeaderPyApi($where: WhereUniqueIdInput, $streamType: TaskStreamType!)
{task(where: $where){exportMetadataHeader(streamType: $streamType){totalSize totalLines}}}"""
_PART = """query GetExportFileFromOffsetPyApi
($where: WhereUniqueIdInput, $streamType: TaskStreamType!, $offset: UInt64!)
{task(where: $where){exportFileFromOffset(streamType: $streamType, offset: $offset)
{offsets{start end} lines{start end} file}}}"""
_SPLITS = """query modelRunPyApi($modelRunId: ID!, $from: String, $first: Int)
{annotationGroups(where: {modelRunId: {id: $modelRunId}}, after: $from, first: $first)
{nodes{dataSplit dataRow{id}} pageInfo{endCursor}}}"""

_PAGE = 100
"""Rows in a page of the model run; the SDK asks for no more."""

_TRIES = 2
"""How often a part is read before the export is given up."""

_LEAST_SECONDS, _LEAST_BYTES = 60.0, 250_000
"""What reading a part may take, and how many bytes a second come at least."""

_LONGEST_LINE = 1 << 26


def export(
    client: Labelbox, run: str, table: RowTable, read: Read, progress: Progress = lambda *_: None, pace: Pace = PACE
) -> None:
    """Bring all rows of a model run to the table; where it is on the way, go on, where it is complete, do nothing.

    Raises LabelboxError where the export failed, which is then forgotten; LabelboxAway, LabelboxDenied, ModelRunGone;
    StoreError where the table cannot be written.
    """
    _Export(client, run, table, read, progress, pace).bring()


def refresh(
    client: Labelbox, run: str, table: RowTable, read: Read, progress: Progress = lambda *_: None, pace: Pace = PACE
) -> None:
    """Export anew for the addresses, which expire; rows and votes stay what they were. Raises as ``export``."""
    _Export(client, run, table, read, progress, pace).renew()


class Lines:
    """Cuts lines out of bytes that come in pieces; ``rest`` is the beginning of the one that is not yet whole.

    ``waiting`` is how many bytes that has.
    """

    def __init__(self, rest: bytes = b"") -> None:
        self._pieces, self.waiting = [rest], len(rest)

    @property
    def rest(self) -> bytes:
        """What came after the last line break."""
        return b"".join(self._pieces)

    def cut(self, piece: bytes) -> list[bytes]:
        """Take a piece and give the lines that end in it, without their breaks."""
        first, broken, last = piece.partition(b"\n")
        self._pieces.append(first)
        self.waiting += len(first)
        if not broken:
            return []
        *lines, rest = last.split(b"\n")
        found = [self.rest, *lines]
        self._pieces, self.waiting = [rest], len(rest)
        return found


class _Lost(LabelboxError):
    """Labelbox does not know an export any more."""


class _Broken(LabelboxError):
    """A part of an export is not what Labelbox says that it is."""


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    end: int
    link: str


@dataclass(frozen=True, slots=True)
class _Export:
    client: Labelbox
    run: str
    table: RowTable
    read: Read
    progress: Progress
    pace: Pace

    def bring(self) -> None:
        if self.table.complete:
            return
        if self.table.state.stage != "splits":
            self._through("reading")
        self._splits()

    def renew(self) -> None:
        if not self.table.complete:
            self.bring()
        else:
            self._through("refreshing")

    def _through(self, stage: Literal["reading", "refreshing"]) -> None:
        """Begin an export, or go on with the one that is on the way, and read all of it."""
        if self.table.state.stage == stage:
            try:
                return self._parts()
            except _Lost as lost:
                _log.info("model run %s is exported again: %s", self.run, lost)
        self._begin(stage)
        return self._parts()

    def _begin(self, stage: Literal["reading", "refreshing"]) -> None:
        """Begin an export, of which the table knows from then on."""
        params = {
            "mediaTypeOverride": None,
            "includeAttachments": False,
            "includeEmbeddings": False,
            "includeMetadata": False,
            "includeDataRowDetails": False,
            "includePredictions": False,
            "includeModelRunDetails": True,
        }
        asked: Json = {
            "taskName": f"labelloop {self.run}",
            "filters": {"modelRunId": self.run},
            "isStreamableReady": True,
            "params": params,
            "streamable": True,
        }
        begun = time.time()
        task = self.client.execute(
            _EXPORT,
            {"input": asked},
            f"export model run {self.run}",
            missing=gone(self.run),
            pick=lambda data: str(data["exportDataRowsInModelRun"]["taskId"]),
        )
        state = ExportState(stage, task, begun, attempt=self.table.state.attempt)
        if stage == "reading":
            self.table.clear()
        with self.table.transaction():
            self.table.keep(state)

    def _parts(self) -> None:
        """Wait for the export, and read its parts; one that is broken ends it, so that the next one begins anew."""
        state = self.table.state
        try:
            self._wait(state.task)
            size, lines = self._header(state.task, "RESULT")
            while state.offset < size:
                self.progress("exported rows", state.lines, lines)
                state = self._part(state, lines)
            self.progress("exported rows", state.lines, lines)
        except _Broken as broken:
            self._forget()
            raise LabelboxAway(f"{broken}. The model run is exported anew.") from None
        remark = self._remark(state.task)
        if remark:
            _log.warning("model run %s: %s", self.run, remark)
        self._last(replace(state, remark=remark))

    def _last(self, state: ExportState) -> None:
        """Take what is left of the last line, and go on to what comes after the rows."""
        with self.table.transaction():
            if state.rest.strip():
                state = self._take(replace(state, rest=b""), [state.rest])
            self.table.order()
            done = state.stage == "refreshing" or self.table.tells_splits() or not state.lines
            self.table.keep(replace(state, rest=b"", stage="done" if done else "splits"))

    def _wait(self, task: str) -> None:
        """Wait until an export is there; raises LabelboxError where it failed, LabelboxAway where nothing moves."""
        from labelloop.labelbox.sdk import Task

        what = f"show export {task}"
        found: Any = self.client.ask(what, lambda sdk: Task.get_task(sdk, task), _lost(task))
        pause, since = self.pace.first, self.pace.clock()
        while found.status == "IN_PROGRESS":
            before = found.completion_percentage
            self.progress("percent exported by Labelbox", int(before or 0), 100)
            self.pace.wait(pause)
            pause = min(2 * pause, self.pace.most)
            self.client.ask(what, lambda _: found.refresh(), _lost(task))
            now = self.pace.clock()
            if found.completion_percentage != before:
                since = now
            elif found.status == "IN_PROGRESS" and now - since >= self.pace.still:
                self._forget()
                raise LabelboxAway(
                    f"Labelbox is still exporting model run {self.run} (export {task}), at {before or 0:.0f} % for "
                    f"{self.pace.still:.0f} seconds. Another export is begun later."
                )
        if found.status != "COMPLETE":
            why = self._remark(task) or told(str(found.errors_url or ""))
            self._forget()
            raise LabelboxError(
                f"Labelbox's export of model run {self.run} ended as {found.status}: {why}. Press the button again; if "
                f"that ends so, too, ask Labelbox's support about export {task}."
            )

    def _header(self, task: str, stream: str) -> tuple[int, int]:
        """Say how many bytes and lines an export has; none where it has nothing of that kind."""

        def pick(data: Any) -> tuple[int, int]:
            found = data["task"]["exportMetadataHeader"]
            return (int(found["totalSize"]), int(found["totalLines"])) if found else (0, 0)

        asked = {"where": {"id": task}, "streamType": stream}
        size: tuple[int, int] = self.client.execute(
            _HEADER, asked, f"show the size of export {task}", missing=_lost(task), pick=pick
        )
        return size

    def _find(self, task: str, stream: str, offset: int) -> _Part:
        """Ask for the part in which a byte is, by a new link."""
        asked = {"where": {"id": task}, "streamType": stream, "offset": str(offset)}

        def pick(data: Any) -> _Part | None:
            found = data["task"]["exportFileFromOffset"]
            return found and _Part(int(found["offsets"]["start"]), int(found["offsets"]["end"]), str(found["file"]))

        part: _Part | None = self.client.execute(
            _PART, asked, f"give a part of export {task}", missing=_lost(task), pick=pick
        )
        if part is None or not part.start <= offset <= part.end:
            raise _Broken(f"export {task} of Labelbox has no part with byte {offset}")
        return part

    def _part(self, state: ExportState, total: int) -> ExportState:
        """Read the part with the next byte, once more, by a new link, where that fails; all its rows are kept or none.

        Raises _Broken where that is how it stays, LabelboxAway where its server is away.
        """
        for left in retries(_TRIES, self.pace.first, wait=self.pace.wait):
            try:
                part = self._find(state.task, "RESULT", state.offset)
                with self.table.transaction():
                    read = self._read_part(state, part, total)
                    self.table.keep(read)
            except (_Broken, LabelboxAway) as failure:
                if not left:
                    raise (_Broken(str(failure)) if isinstance(failure, DeadLink) else failure) from None
                _log.info("a part of the export of model run %s is read again: %s", self.run, failure)
            else:
                return read
        raise AssertionError("there is no try")  # pragma: no cover

    def _read_part(self, state: ExportState, part: _Part, total: int) -> ExportState:
        lines = Lines(state.rest)
        for piece in self._bytes(part, state.offset):
            state = self._take(state, lines.cut(piece))
            self.progress("exported rows", state.lines, total)
            if lines.waiting > _LONGEST_LINE:
                raise _Broken(f"line {state.lines + 1} of the export is longer than {_LONGEST_LINE} bytes")
        return replace(state, offset=part.end + 1, rest=lines.rest)

    def _bytes(self, part: _Part, offset: int) -> Iterator[bytes]:
        """Yield a part's bytes from ``offset`` on; raises _Broken where it has more or fewer than it should."""
        length = part.end - part.start + 1
        seconds = _LEAST_SECONDS + length / _LEAST_BYTES
        skipped, come = offset - part.start, 0
        with self.client.download(part.link, seconds, f"a part of the export of model run {self.run}") as pieces:
            for piece in pieces:
                yield piece[max(0, skipped - come) :]
                come += len(piece)
        if come != length:
            raise _Broken(f"a part of the export of model run {self.run} has {come} bytes, not {length}")

    def _take(self, state: ExportState, lines: list[bytes]) -> ExportState:
        """Write the rows of lines, or their addresses alone."""
        rows = []
        for number, line in enumerate(filter(bytes.strip, lines), state.lines + 1):
            try:
                rows.append(self.read(json.loads(line)))
            except (ValueError, RecursionError):
                raise _Broken(f"line {number} of the export of model run {self.run} is no JSON") from None
        known = [row for row in rows if row.data_row]
        if state.stage == "refreshing":
            self.table.readdress(known)
        else:
            self.table.add(known)
        return replace(state, lines=state.lines + len(rows), unreadable=state.unreadable + len(rows) - len(known))

    def _remark(self, task: str) -> str:
        """Say what Labelbox could not export; empty where it tells of nothing."""
        size, count = self._header(task, "ERRORS")
        if not size:
            return ""
        lines = Lines()
        try:
            pieces = self._bytes(self._find(task, "ERRORS", 0), 0)
            first = next(chain.from_iterable(map(lines.cut, pieces)), b"") or lines.rest
        except LabelboxError as error:
            first = str(error).encode()
        return (
            f"rows that could not be exported: {count}, the first one for this: {told(first.decode(errors='replace'))}"
        )

    def _splits(self) -> None:
        """Read the splits page by page, where the export does not tell them."""
        state = self.table.state
        done = 0
        while state.stage == "splits":
            asked = {"modelRunId": self.run, "from": state.cursor or None, "first": _PAGE}
            splits, cursor = self.client.execute(
                _SPLITS, asked, f"show the splits of model run {self.run}", missing=gone(self.run), pick=_page
            )
            if cursor and cursor == state.cursor:
                raise LabelboxError(f"Labelbox gives one page of the splits of model run {self.run} over and over")
            state = replace(state, cursor=cursor, stage="splits" if cursor else "done")
            with self.table.transaction():
                self.table.split(splits)
                self.table.keep(state)
            done += len(splits)
            self.progress("splits", done, state.lines)

    def _forget(self) -> None:
        """Let the next one begin anew; where addresses alone were read, the rows stay."""
        if self.table.state.stage != "refreshing":
            self.table.clear()
            return
        with self.table.transaction():
            self.table.keep(ExportState("done", attempt=self.table.state.attempt))


def _lost(task: str) -> _Lost:
    return _Lost(f"Labelbox knows the export {task} no more")


def _page(data: Any) -> tuple[list[tuple[int, str]], str]:
    """Read a page of the model run: the splits of rows by their numbers, and which page is next, empty for none."""
    page = data["annotationGroups"]
    told = [(row_number(one["dataRow"]["id"]), str(one["dataSplit"])) for one in page["nodes"]]
    following = str(page["pageInfo"]["endCursor"] or "") if told else ""
    return [(number, name) for number, name in told if name in SPLITS], following
