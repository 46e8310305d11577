"""The table of an export's rows: what is kept together, read in order, and emptied by whom."""

import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.errors import StoreError
from labelloop.kinds.majority import Vote
from labelloop.labelbox.rows import Row
from labelloop.labelbox.table import ExportState, RowTable
from labelloop.settings import Settings
from labelloop.types import ProjectKey
from support.examples import examples

_WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
_VOTES = st.builds(Vote, st.frozensets(_WORDS, max_size=3), _WORDS, result=_WORDS)
_SIZE = st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999))
_ROWS = st.builds(
    Row,
    st.integers(1, 2**59 - 1),
    _WORDS,
    _WORDS,
    _WORDS,
    st.sampled_from(["", "TEST", "UNASSIGNED"]),
    st.lists(_VOTES, max_size=3).map(tuple),
    _WORDS,
    _SIZE,
    st.dictionaries(_WORDS, st.integers(0, 9), max_size=2),
)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[RowTable]:
    table = RowTable(tmp_path / "run" / "rows.sqlite")
    yield table
    table.close()


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RowTable]:
    """Give a table that is emptied by whoever uses it."""
    table = RowTable(tmp_path_factory.mktemp("table") / "rows.sqlite")
    yield table
    table.close()


def rows(*numbers: int, split: str = "") -> list[Row]:
    """Make rows of these numbers."""
    return [Row(number, f"row {number}", f"https://bucket/{number}?signature=1", split=split) for number in numbers]


@settings(max_examples=examples(50))
@given(st.lists(_ROWS, max_size=5, unique_by=lambda row: row.number))
def test_rows_come_back_as_they_were_and_in_order(same: RowTable, given: list[Row]) -> None:
    same.clear()
    same.add(given)
    assert list(same.rows()) == sorted(given, key=lambda row: row.number)
    assert [same.get(row.number) for row in given] == given


def test_rows_may_be_written_while_they_are_read(table: RowTable) -> None:
    table.add(rows(*range(1, 1501)))
    reading = table.rows()
    first = next(reading)
    table.add(rows(*range(1501, 1601)))
    assert [first.number, *(row.number for row in reading)] == list(range(1, 1601))
    assert [row.number for row in table.rows(after=1598)] == [1599, 1600]


def test_rows_are_ordered_when_all_are_there_and_the_last_of_a_number_stays(table: RowTable) -> None:
    twice = Row(2, "row 2", "https://bucket/again")
    table.add([*rows(3, 2, 1), twice])
    with table.transaction():
        table.order()
    assert [row.number for row in table.rows()] == [1, 2, 3]
    assert table.get(2) == twice
    table.order()
    table.add(rows(2))
    assert [table.get(2), table.counts().rows] == [*rows(2), 3]
    table.clear()
    table.add(rows(2))
    assert list(table.rows()) == rows(2)


def test_what_is_written_together_is_there_whole_or_not_at_all(table: RowTable, tmp_path: Path) -> None:
    def killed() -> None:
        with table.transaction():
            table.add(rows(1))
            table.keep(ExportState("reading", "task", offset=9))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert table.state == ExportState()
    with table.transaction():
        table.add(rows(2))
        table.keep(ExportState("reading", "task", offset=9, rest=b"\xff{"))
    other = RowTable(tmp_path / "run" / "rows.sqlite")
    assert [row.number for row in other.rows()] == [2]
    assert other.state == ExportState("reading", "task", offset=9, rest=b"\xff{")
    other.close()


def test_an_attempt_finds_what_it_has_exported_and_another_one_nothing(table: RowTable) -> None:
    table.begin(1)
    with table.transaction():
        table.add(rows(1))
        table.keep(ExportState("done", "task", 5.0, attempt=1))
    table.begin(1)
    assert (table.complete, table.exported_at) == (True, 5.0)
    table.begin(2)
    assert (table.complete, list(table.rows())) == (False, [])
    assert table.state == ExportState(attempt=2)


def test_counts_tell_splits_and_why_rows_are_left_out(table: RowTable) -> None:
    table.add([*rows(1, 2, split="TEST"), *rows(3), Row(4, "row 4", reason="the data row is empty")])
    counts = table.counts()
    assert counts.rows == 4
    assert counts.splits == {"TEST": 2, "": 2}
    assert counts.left_out == {"the data row is empty": 1}


def test_addresses_and_splits_are_written_to_rows_that_are_there_alone(table: RowTable) -> None:
    table.add(rows(1, 2))
    assert table.tells_splits() is False
    table.split([(1, "TEST"), (3, "TEST")])
    table.readdress([Row(2, "row 2", "https://bucket/2?signature=2", text="another"), *rows(4)])
    assert [(row.number, row.split, row.address[-1], row.text) for row in table.rows()] == [
        (1, "TEST", "1", ""),
        (2, "", "2", ""),
    ]


@pytest.mark.parametrize("content", [b"no table at all, but long enough to be taken for one" * 200, b""])
def test_a_file_that_is_no_table_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(content)
    table = RowTable(path)
    table.add(rows(1))
    assert table.counts().rows == 1
    table.close()


def test_a_table_of_another_form_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    with sqlite3.connect(path) as old:
        old.executescript("CREATE TABLE rows (x); CREATE TABLE export (y); PRAGMA user_version = 99")
    old.close()
    table = RowTable(path)
    assert table.state == ExportState()
    assert list(table.rows()) == []
    table.close()


def test_a_state_of_another_release_is_read(table: RowTable) -> None:
    told = {"stage": "done", "task": "t", "of a later release": 1}
    assert ExportState.read(json.dumps(told)) == ExportState("done", "t")


def test_only_its_owner_reads_a_table_and_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    settings = Settings(model_dir=str(tmp_path))
    table = RowTable.of(settings, ProjectKey("labelbox--abcdefgh", 3))
    path = tmp_path / "cache" / "labelbox" / "labelbox--abcdefgh" / "3" / "rows.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    table.close()
    with pytest.raises(StoreError, match="rows of a model run cannot be kept in"):
        RowTable(path / "below a file" / "rows.sqlite")


def test_what_labels_say_and_is_not_learned_is_counted_over_all_rows(table: RowTable) -> None:
    counts: list[dict[str, int]] = [{"a": 2}, {"a": 2}, {"b": 9, "a": 1}, {}]
    table.add(Row(number, str(number), aside=aside) for number, aside in enumerate(counts, 1))

    assert list(table.aside().items()) == [("b", 9), ("a", 5)]
