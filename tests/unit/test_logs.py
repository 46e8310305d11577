"""One event a line: what JSON logs say, of which trace, and what may be a trace's id."""

import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from labelloop.logs import JsonFormatter, start_logging
from labelloop.tracing import DOING, Doing, is_trace, note_doing, trace_in, trace_in_hand
from labelloop.types import ProjectKey

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Logs nothing of the other tests, and leaves pytest's handlers as they were."""
    root = logging.getLogger()
    before, level, token = root.handlers[:], root.level, DOING.set(Doing())
    yield
    DOING.reset(token)
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def told(text: str, *args: object, **given: Any) -> dict[str, Any]:
    record = logging.LogRecord("labelloop.loop", logging.WARNING, __file__, 1, text, args, given.get("exc_info"))
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_says_when_what_and_of_what() -> None:
    note_doing(trace=TRACE, job="j1", project="ls-8080/7", version="v3")

    found = told("two\nlines of %s", "text")
    at = datetime.fromisoformat(found.pop("time"))

    assert at.utcoffset() == timedelta(0)
    assert found == {
        "level": "WARNING",
        "logger": "labelloop.loop",
        "message": "two\nlines of text",
        "trace": TRACE,
        "project": "ls-8080/7",
        "job": "j1",
        "version": "v3",
    }


def test_the_project_that_is_named_goes_before_that_of_the_job() -> None:
    note_doing(project="ls-8080/7")
    assert told("project %s: %s", ProjectKey.of("http://ls:8080", 8), "it is late")["project"] == "ls-8080/8"


def test_a_failure_comes_as_text_and_nothing_is_said_of_what_is_not_known() -> None:
    with pytest.raises(ValueError, match="no") as caught:
        int("no")
    found = told("it failed", exc_info=caught._excinfo)
    assert found["exception"].startswith("Traceback")
    assert "ValueError: invalid literal" in found["exception"]
    assert not {"trace", "project", "job", "version"} & set(found)


def test_warnings_of_python_are_lines_of_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this goes away", DeprecationWarning, stacklevel=1)
    logging.getLogger("labelloop.x").debug("not this")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["logger"] == "py.warnings"


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("INFO")
    logging.getLogger("labelloop.x").info("hello")
    assert capsys.readouterr().err.endswith(" INFO labelloop.x: hello\n")


@pytest.mark.parametrize(
    ("traceparent", "request_id", "trace"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", "other-id-1", TRACE),
        ("", "01HXYZ_a.b-c", "01HXYZ_a.b-c"),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", "other-id-1", "other-id-1"),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", "", ""),
        ("", "short", ""),
        ("", "x" * 65, ""),
        ("", 'id"\nwith more', ""),
        ("", "/etc/passwd/x", ""),
    ],
)
def test_only_well_formed_ids_are_taken(traceparent: str, request_id: str, trace: str) -> None:
    assert trace_in(traceparent, request_id) == trace


def test_what_has_no_id_gets_one() -> None:
    made = trace_in_hand()
    assert is_trace(made)
    assert made != trace_in_hand()
    note_doing(trace=made)
    note_doing(trace="", version="v1")
    assert (trace_in_hand(), DOING.get().version) == (made, "v1")
