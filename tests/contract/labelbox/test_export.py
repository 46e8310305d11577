"""An export of a model run over the wire: rows in a table, what is gone on with, and what goes wrong on the way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from labelloop.errors import LabelboxAway, LabelboxError, ModelRunGone
from labelloop.labelbox.client import Labelbox, Pace
from labelloop.labelbox.export import Read, export, refresh
from labelloop.labelbox.rows import read_row, row_number
from labelloop.labelbox.table import ExportState, RowTable
from labelloop.settings import Settings
from support.labelbox import LabelboxStandIn, Row, data_row_id, ontology, radio, single
from support.labelbox.front import Answered, Fetch
from support.labelbox.wire import Call, answer

_NAMES = [data_row_id(str(number)) for number in range(60)]
_TEXT = "Größe 😀 " * 20
_AT_ONCE = Pace(0.0, 0.0, wait=lambda _: None)


@pytest.fixture
def client(labelbox: LabelboxStandIn) -> Iterator[Labelbox]:
    client = Labelbox(Settings.from_environment(), wait=lambda _: None)
    yield client
    client.close()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[RowTable]:
    table = RowTable(tmp_path / "run" / "rows.sqlite")
    yield table
    table.close()


def _model_run(labelbox: LabelboxStandIn, split_key: str = "data_split") -> str:
    rows = [Row(name, text=f"{_TEXT}{name}", labels=((single("topic", "sea"),),)) for name in _NAMES]
    splits = {name: ("TRAINING", "VALIDATION", "TEST")[number % 3] for number, name in enumerate(_NAMES[:30])}
    return labelbox.add_model_run(
        labelbox.add_model(ontology(radio("topic", ("sea", "land")))), rows, splits, split_key=split_key
    )


def _read(run: str) -> Read:
    return partial(read_row, model_run=run)


def _begun(labelbox: LabelboxStandIn) -> int:
    return labelbox.calls.count("exportDataRowsInModelRunPyApi")


class Killed(BaseException):
    """What ends a worker."""


def _killed_at(lines: int) -> Callable[[str, int, int], None]:
    def progress(what: str, done: int, total: int) -> None:
        if what == "exported rows" and done >= lines:
            raise Killed

    return progress


def test_all_rows_come_into_the_table_in_order_of_their_numbers(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable
) -> None:
    run = _model_run(labelbox)
    told: list[tuple[str, int, int]] = []
    export(client, run, table, _read(run), lambda *what: told.append(what), _AT_ONCE)
    rows = list(table.rows())
    assert [row.number for row in rows] == sorted(map(row_number, _NAMES))
    assert {row.data_row: row.text for row in rows} == {name: f"{_TEXT}{name}" for name in _NAMES}
    assert table.counts().splits == {"TRAINING": 10, "VALIDATION": 10, "TEST": 10, "UNASSIGNED": 30}
    assert table.complete
    assert table.exported_at > 0
    assert "modelRunPyApi" not in labelbox.calls
    assert told[-1] == ("exported rows", 60, 60)
    export(client, run, table, _read(run))
    assert _begun(labelbox) == 1


def test_links_are_asked_for_without_the_key(labelbox: LabelboxStandIn, client: Labelbox, table: RowTable) -> None:
    # The stand-in answers 400 to a link that comes with an Authorization, as Cloud Storage does.
    run = _model_run(labelbox)
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert labelbox.calls.count("GET export") == labelbox.calls.count("GetExportFileFromOffsetPyApi") >= 10


def test_a_killed_worker_goes_on_with_the_same_export_where_it_was(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable, tmp_path: Path
) -> None:
    run = _model_run(labelbox)
    with pytest.raises(Killed):
        export(client, run, table, _read(run), _killed_at(20), _AT_ONCE)
    read = labelbox.calls.count("GET export")
    kept = table.counts().rows
    assert 0 < kept < 60
    table.close()
    again = RowTable(tmp_path / "run" / "rows.sqlite")
    labelbox.calls.clear()
    export(client, run, again, _read(run), pace=_AT_ONCE)
    assert again.counts().rows == again.state.lines == 60
    assert _begun(labelbox) == 0
    (written,) = labelbox.exports.tasks.values()
    assert labelbox.calls.count("GET export") + read == len(written.parts) + 1
    again.close()


def test_an_export_that_labelbox_forgot_is_begun_anew(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable
) -> None:
    run = _model_run(labelbox)
    with pytest.raises(Killed):
        export(client, run, table, _read(run), _killed_at(20), _AT_ONCE)
    labelbox.exports.tasks.clear()
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.counts().rows == table.state.lines == 60
    assert _begun(labelbox) == 2


def test_splits_are_read_from_the_model_run_where_the_export_does_not_tell_them(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable
) -> None:
    run = _model_run(labelbox, split_key="")
    labelbox.fail("modelRunPyApi", "unavailable", times=3)
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.counts().splits == {"TRAINING": 10, "VALIDATION": 10, "TEST": 10, "UNASSIGNED": 30}
    assert {row.data_row: row.side for row in table.rows()}[_NAMES[2]] == "test"


def test_pages_of_splits_that_come_to_no_end_are_a_sentence(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _model_run(labelbox, split_key="")
    page = {"nodes": [{"dataRow": {"id": _NAMES[0]}, "dataSplit": "TEST"}], "pageInfo": {"endCursor": "7"}}
    asked = labelbox.front.operations["modelRunPyApi"]
    endless = replace(asked, answer=lambda _: {"annotationGroups": page})
    monkeypatch.setitem(labelbox.front.operations, asked.name, endless)
    with pytest.raises(LabelboxError, match=r"one page of the splits of model run .* over and over"):
        export(client, run, table, _read(run), pace=_AT_ONCE)


def test_a_killed_worker_reads_the_splits_that_are_left(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable
) -> None:
    run = _model_run(labelbox, split_key="")
    labelbox.deny("modelRunPyApi")
    with pytest.raises(LabelboxError, match="may not have Labelbox show the splits"):
        export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.state.stage == "splits"
    labelbox.mend()
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.complete
    assert table.counts().splits["UNASSIGNED"] == 30
    assert _begun(labelbox) == 1


def test_an_export_that_fails_is_a_sentence_and_is_begun_anew(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable
) -> None:
    run = _model_run(labelbox)
    labelbox.spoil_export(fails=True)
    with pytest.raises(LabelboxError, match=f"export of model run {run} ended as FAILED: .* Press the button again"):
        export(client, run, table, _read(run), pace=_AT_ONCE)
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.counts().rows == 60
    assert _begun(labelbox) == 2


def test_an_export_in_which_nothing_moves_is_an_outage_and_another_one_is_begun(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable
) -> None:
    run = _model_run(labelbox)
    labelbox.spoil_export(hangs=True)
    clock = iter(range(0, 100000, 100))
    pace = Pace(still=1000.0, wait=lambda _: None, clock=lambda: float(next(clock)))
    with pytest.raises(LabelboxAway, match=f"still exporting model run {run} .*at 0 % for 1000 seconds"):
        export(client, run, table, _read(run), pace=pace)
    assert labelbox.calls.count("GetUserCreatedTasksPyApi") == 11
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.counts().rows == 60


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "too short"])
def test_a_part_that_stays_broken_ends_the_export_and_leaves_nothing_of_it(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable, gone: bool
) -> None:
    run = _model_run(labelbox)
    labelbox.spoil_export(missing=2 if gone else None, cut=None if gone else 2)
    with pytest.raises(LabelboxAway, match="a part of the export of model run"):
        export(client, run, table, _read(run), pace=_AT_ONCE)
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.counts().rows == table.state.lines == 60
    assert _begun(labelbox) == 2


@pytest.mark.parametrize("how", ["unavailable", "forbidden", "hung up"])
def test_a_part_is_asked_for_once_more_by_a_new_link(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable, how: str
) -> None:
    run = _model_run(labelbox)
    labelbox.fail("GET export", how)
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.counts().rows == table.state.lines == 60
    assert _begun(labelbox) == 1


def test_addresses_are_renewed_and_votes_stay(labelbox: LabelboxStandIn, client: Labelbox, table: RowTable) -> None:
    files = [Row(name, file=f"{name}.txt", content=name.encode(), labels=((),)) for name in _NAMES]
    run = labelbox.add_model_run(labelbox.add_model(ontology(radio("topic", ("sea", "land")))), files)
    refresh(client, run, table, _read(run), pace=_AT_ONCE)
    before, first = {row.number: row for row in table.rows()}, table.exported_at
    labelbox.expire_links()
    with pytest.raises(LabelboxAway, match=r"text \S+ could not be read from \S+/files/\S+: its server answered 403$"):
        _fetch(client, table)
    with pytest.raises(Killed):
        refresh(client, run, table, _read(run), _killed_at(20), _AT_ONCE)
    assert table.complete
    assert table.exported_at == 0
    refresh(client, run, table, _read(run), pace=_AT_ONCE)
    after = {row.number: row for row in table.rows()}
    assert [row.votes for row in after.values()] == [row.votes for row in before.values()]
    assert all(after[number].address != before[number].address for number in before)
    assert table.exported_at >= first
    _fetch(client, table)
    assert _begun(labelbox) == 2


def _fetch(client: Labelbox, table: RowTable) -> None:
    for row in table.rows():
        with client.download(row.address, 10.0, f"text {row.data_row}") as pieces:
            assert b"".join(pieces).decode() == row.data_row


def test_a_model_run_that_is_gone_is_said_to_be(labelbox: LabelboxStandIn, client: Labelbox, table: RowTable) -> None:
    run = _model_run(labelbox)
    labelbox.delete_model_run(run)
    with pytest.raises(ModelRunGone, match=f"no model run {run}"):
        export(client, run, table, _read(run), pace=_AT_ONCE)


def test_a_model_run_without_rows_is_an_empty_table(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable
) -> None:
    run = labelbox.add_model_run(labelbox.add_model(ontology(radio("topic", ("sea", "land")))), [])
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.complete
    assert list(table.rows()) == []


def test_no_row_is_there_of_a_part_that_is_not_whole(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable
) -> None:
    run = _model_run(labelbox)
    labelbox.spoil_export(cut=1)
    seen: list[int] = []
    labelbox.before("GetExportFileFromOffsetPyApi", lambda _: seen.append(table.counts().rows), times=None)
    with pytest.raises(LabelboxAway):
        export(client, run, table, _read(run), pace=_AT_ONCE)
    assert len(seen) == 3
    assert seen[0] == 0
    assert seen[1] == seen[2] > 0


@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.95])
def test_an_export_is_gone_on_with_at_any_byte(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable, share: float
) -> None:
    run = _model_run(labelbox)
    export(client, run, table, _read(run), pace=_AT_ONCE)
    (written,) = labelbox.exports.tasks.values()
    content = (labelbox.links.folder / written.path).read_bytes()
    offset = int(share * len(content))
    *whole, rest = content[:offset].split(b"\n")
    table.clear()
    with table.transaction():
        table.keep(ExportState("reading", written.id, offset=offset, rest=rest, lines=len(whole)))
    export(client, run, table, _read(run), pace=_AT_ONCE)
    assert {row.data_row for row in table.rows()} == set(_NAMES[len(whole) :])
    assert table.state.lines == 60


def _tell_errors(labelbox: LabelboxStandIn, *errors: str) -> None:
    """Let exports tell of errors, as a file of its own beside that of the rows."""
    content = "".join(f"{error}\n" for error in errors).encode()
    labelbox.links.write("export/errors.ndjson", content)
    end = len(content) - 1

    def told(call: Call | Fetch) -> None:
        if isinstance(call, Call) and call["streamType"] == "ERRORS":
            link = labelbox.links.sign("export/errors.ndjson")
            part = {"offsets": {"start": 0, "end": end}, "lines": {"start": 0, "end": len(errors) - 1}, "file": link}
            header = {"totalSize": len(content), "totalLines": len(errors)}
            raise Answered(answer({"data": {"task": {"exportMetadataHeader": header, "exportFileFromOffset": part}}}))

    labelbox.before("GetExportMetadataHeaderPyApi", told, times=None)
    labelbox.before("GetExportFileFromOffsetPyApi", told, times=None)


def test_what_labelbox_could_not_export_is_kept_as_a_remark(
    labelbox: LabelboxStandIn, client: Labelbox, table: RowTable
) -> None:
    run = _model_run(labelbox)
    _tell_errors(labelbox, "no file at https://bucket/1.png?signature=abc", "another")
    export(client, run, table, _read(run), pace=_AT_ONCE)
    said = "rows that could not be exported: 2, the first one for this: no file at https://bucket/1.png"
    assert (table.counts().rows, table.state.remark) == (60, said)


def test_an_export_that_fails_tells_why(labelbox: LabelboxStandIn, client: Labelbox, table: RowTable) -> None:
    run = _model_run(labelbox)
    labelbox.spoil_export(fails=True)
    _tell_errors(labelbox, '{"message": "the dataset was deleted"}')
    with pytest.raises(
        LabelboxError, match=r"ended as FAILED: rows that could not be exported: 1, .*the dataset was deleted"
    ):
        export(client, run, table, _read(run), pace=_AT_ONCE)


def test_a_line_that_is_no_json_ends_the_export(labelbox: LabelboxStandIn, client: Labelbox, table: RowTable) -> None:
    run = _model_run(labelbox)
    export(client, run, table, _read(run), pace=_AT_ONCE)
    (written,) = labelbox.exports.tasks.values()
    path = labelbox.links.folder / written.path
    path.write_bytes(path.read_bytes().replace(b'{"data_row"', b'["data_row"', 1))
    table.clear()
    with table.transaction():
        table.keep(ExportState("reading", written.id))
    with pytest.raises(LabelboxAway, match=f"line 1 of the export of model run {run} is no JSON. .* exported anew"):
        export(client, run, table, _read(run), pace=_AT_ONCE)
    assert table.state == ExportState()
