"""The progress bar, on a terminal and where there is none."""

import io
import sys

import pytest

from labelloop.cli.terminal import Bar
from labelloop.loop.standing import standing
from labelloop.loop.status import ProjectStatus


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("shown", [True, False])
def test_without_a_terminal_nothing_is_drawn_and_nothing_fails(monkeypatch: pytest.MonkeyPatch, shown: bool) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with Bar(shown) as bar:
        bar("waiting", 0, 0)
        bar("train: epochs", 3, 10)
        bar("", 1, 4)
    assert stderr.getvalue() == ""


def test_on_a_terminal_it_shows_what_is_done_at_which_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with Bar(True, "task") as bar:
        bar.stage("prelabel")
        bar("prelabel", 0, 10)
        bar("prelabel: tasks", 5, 10)
        drawn = stderr.getvalue()
    assert "prelabel: tasks" in drawn
    assert "5/10" in drawn
    assert "task/s" in drawn


@pytest.mark.parametrize(("count", "said"), [(1, "1 label was left out"), (7, "7 labels were left out"), (0, "")])
def test_status_says_how_many_labels_training_left_out_and_where_they_are(count: int, said: str) -> None:
    run = {"key": "k", "state": "promoted", "attempts": 1, "verdict": "good", "version": "v3", "suspects": count}
    told = [line for line in standing(ProjectStatus("a/7", "v3", "v3", run=run)) if "left out" in line]
    assert len(told) == bool(said)
    assert all(said in line and "`labelloop label-errors --project 7`" in line for line in told)
