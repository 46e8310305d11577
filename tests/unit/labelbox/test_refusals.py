"""What is made of the file in which Labelbox says what it refused."""

import json

import pytest

from labelloop.labelbox.refusals import REASONS, Refusals
from labelloop.types import Json


def refused(*lines: Json | bytes) -> Refusals:
    found = Refusals()
    for line in lines:
        found.take(line if isinstance(line, bytes) else json.dumps(line).encode())
    return found


def line(row: Json | None, *messages: str, status: str = "FAILURE") -> Json:
    errors = [{"name": "Bad", "message": message} for message in messages]
    return {"uuid": "u", "dataRow": row, "status": status, "errors": errors}


def test_lines_that_went_well_are_not_counted() -> None:
    found = refused(line({"id": "a"}, status="SUCCESS"), b"", b"  \r", line({"id": "b"}, "no such class"))
    assert (found.count, found.reasons) == (1, ["data row b: no such class"])


def test_a_reason_is_told_once_and_no_more_than_a_few_are() -> None:
    lines = [line({"id": f"row {number}"}, f"reason {number % 20}") for number in range(1000)]
    found = refused(*[one for one in lines for _ in range(2)])
    assert found.count == 2000
    assert found.reasons == [f"data row row {number}: reason {number}" for number in range(REASONS)]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (line({"globalKey": "k"}, "a", "b"), "data row k: a, b"),
        (line(None, "a"), "a"),
        ({"errors": "many"}, "it gave no reason"),
        ({"status": "FAILURE", "errors": [{"name": "Bad"}, 7]}, "Bad"),
        (b"<html>not JSON", "it gave no reason"),
        (b"[" * 100_000, "it gave no reason"),
        (b"\xff\xfe", "it gave no reason"),
        (
            line({"id": "a"}, "see https://x.example/a?signature=hush\nand go"),
            "data row a: see https://x.example/a and go",
        ),
    ],
)
def test_whatever_the_file_holds_is_counted_and_told_without_secrets(said: Json | bytes, reason: str) -> None:
    found = refused(said)
    assert (found.count, found.reasons) == (1, [reason])


def test_a_long_reason_is_cut() -> None:
    (reason,) = refused(line({"id": "a" * 500}, "long " * 500)).reasons
    assert len(reason) < 450
