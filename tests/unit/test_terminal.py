"""The progress bar, on a terminal and where there is none."""

import io
import sys

import pytest

from labelloop.cli.terminal import Bar


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
