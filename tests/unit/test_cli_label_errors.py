"""``labelloop label-errors`` on the folder of a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from labelloop.cli.main import main

ERRORS = [
    {"task": 7, "picture": "a" * 64, "given": ["cat"], "suggested": ["dog"], "score": 0.98, "given_score": 0.01},
    {
        "task": 3,
        "picture": "b" * 64,
        "given": ["dog"],
        "suggested": [],
        "score": 0.8,
        "given_score": 0.2,
        "left_out": True,
    },
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "evaluation").mkdir()
    found: dict[str, Any] = {"examined": 90, "folds": 5, "errors": ERRORS}
    (tmp_path / "evaluation" / "label_errors.json").write_text(json.dumps(found))
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["label-errors", *words])


def test_what_the_evaluation_found_is_listed(run: Path) -> None:
    assert call("--run", str(run)).output.splitlines() == [
        "2 of 90 labels are probably wrong:",
        "  task 7: cat (0.01) -> dog (0.98)",
        "  task 3: dog (0.20) -> (none) (0.80), left out of training",
    ]


def test_only_the_most_certain_are_listed_when_asked_for(run: Path) -> None:
    assert call("--run", str(run), "--top", "1").output.splitlines() == [
        "2 of 90 labels are probably wrong; the first 1:",
        "  task 7: cat (0.01) -> dog (0.98)",
    ]
    assert json.loads(call("--run", str(run), "--top", "1", "--json").output)["errors"] == ERRORS[:1]


def test_of_few_labels_it_is_said_that_they_hardly_tell(run: Path) -> None:
    (run / "evaluation" / "label_errors.json").write_text('{"examined": 3, "folds": 5, "errors": []}')
    told = call("--run", str(run)).output.splitlines()
    assert (told[0], told[1].startswith("So few labels hardly tell: ")) == ("0 of 3 labels are probably wrong.", True)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    result = call("--run", str(tmp_path))
    assert result.exit_code == 1
    assert "is no run's folder" in result.output


@pytest.mark.parametrize("words", [(), ("--project", "1", "--run", "."), ("--run", ".", "--push")])
def test_impossible_wishes_are_wrong_usage(words: tuple[str, ...]) -> None:
    assert call(*words).exit_code == 2
