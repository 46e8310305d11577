"""What is to be uploaded, as it is kept on a machine: in order, by version, whole or not at all."""

import os
import sqlite3
from pathlib import Path

import pytest

from labelloop.errors import StoreError
from labelloop.labelbox import predicted
from labelloop.labelbox.predicted import Counted, Predicted, PredictedRows


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PredictedRows:
    monkeypatch.setattr(predicted, "_TOGETHER", 3)
    return PredictedRows(tmp_path / "run" / "predicted.sqlite")


def said(number: int, version: str = "v1") -> Predicted:
    return Predicted(number, version, [{"uuid": f"{number}", "of": version}, {"uuid": f"{number} metric"}])


def test_rows_come_in_the_order_of_their_numbers_once(rows: PredictedRows) -> None:
    rows.add(said(number) for number in (9, 4, 7, 1, 12, 3, 5))
    rows.add([said(4, "v2"), said(2, "v2")])
    assert list(rows.numbers()) == [1, 2, 3, 4, 5, 7, 9, 12]
    assert [line["uuid"] for line in rows.lines("v1")][::2] == ["1", "3", "4", "5", "7", "9", "12"]
    assert [line["of"] for line in rows.lines() if "of" in line] == ["v1"] * 7 + ["v2"] * 2


def test_a_row_is_counted_by_what_can_be_said_of_it(rows: PredictedRows) -> None:
    rows.add([said(1), Predicted(2, "v1"), *(Predicted(at, "v1", reason="too large") for at in (3, 4))])
    rows.add([Predicted(5, "v1", reason="gone"), said(1, "v2")])
    assert rows.count("v1") == Counted(2, 3, ("too large", "gone"))
    assert rows.count() == Counted(2, 3, ("too large", "gone"))
    # What is said later of the same row and version is what counts.
    rows.add([said(3)])
    assert rows.count("v1") == Counted(3, 2, ("gone", "too large"))


def test_all_of_a_batch_is_kept_or_nothing_of_it(rows: PredictedRows) -> None:
    def broken() -> object:
        yield said(1)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        rows.add(broken())  # type: ignore[arg-type]
    assert rows.count() == Counted(0, 0, ())


def test_another_attempt_forgets_where_it_is_told_to(rows: PredictedRows) -> None:
    rows.begin(1, forget=True)
    rows.add([said(1)])
    rows.begin(1, forget=True)
    assert list(rows.numbers()) == [1]
    rows.begin(2, forget=False)
    assert list(rows.numbers()) == [1]
    rows.begin(3, forget=True)
    assert list(rows.numbers()) == []


def test_what_earlier_attempts_said_and_this_one_does_not_is_withdrawn_once(rows: PredictedRows) -> None:
    def boxes(number: int, count: int) -> Predicted:
        return Predicted(number, "", [{"uuid": f"{number} {at}", "bbox": at, "confidence": 0.9} for at in range(count)])

    numbers = range(1, 8)
    rows.begin(1, forget=True)
    rows.add(boxes(number, 3) for number in numbers)
    assert list(rows.withdrawn()) == []
    # Killed before it has uploaded anything, and the one after it again.
    rows.begin(2, forget=True)
    rows.add(boxes(number, 2) for number in numbers)
    rows.begin(3, forget=True)
    rows.add([boxes(1, 1), boxes(2, 4), Predicted(3, "", reason="too large"), *(boxes(at, 2) for at in (5, 6, 7))])
    gone = {1: (1, 2), 3: (0, 1, 2), 4: (0, 1, 2), 5: (2,), 6: (2,), 7: (2,)}
    assert [(line["uuid"], line["confidence"]) for line in rows.withdrawn()] == [
        (f"{number} {at}", 0.0) for number, places in gone.items() for at in places
    ]
    assert list(rows.withdrawn()) == list(rows.withdrawn())


def test_rows_are_found_by_their_numbers_without_a_look_at_all(rows: PredictedRows, tmp_path: Path) -> None:
    rows.add([said(1)])
    base = sqlite3.connect(tmp_path / "run" / "predicted.sqlite")
    for condition in ("number > 5 ORDER BY number LIMIT 3", "number = 5"):
        plan = base.execute(f"EXPLAIN QUERY PLAN SELECT DISTINCT number FROM predicted WHERE {condition}").fetchall()
        assert "SEARCH predicted USING" in plan[0][-1]
    base.close()


def test_a_damaged_file_is_begun_anew(rows: PredictedRows, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "predicted.sqlite").write_bytes(os.urandom(5000))
    assert list(rows.numbers()) == []
    rows.add([said(1)])
    assert list(rows.numbers()) == [1]


def test_a_disk_that_refuses_is_told_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=f"cannot be kept in {tmp_path}/file"):
        list(PredictedRows(tmp_path / "file" / "predicted.sqlite").numbers())
