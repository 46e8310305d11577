"""What is told of a version some of whose test items were chosen by score."""

import json
from pathlib import Path

import numpy as np
import pytest

from labelloop.data.manifest import Manifest
from labelloop.run.chosen import chosen_told, tell_chosen, with_chosen
from labelloop.run.context import Context, Labeled, write_json
from labelloop.run.folder import RunFolder
from labelloop.run.report.contents import Files
from labelloop.run.report.scores import figures_section
from labelloop.run.scoring import Scored
from labelloop.run.verdict import Verdict
from labelloop.settings import Settings
from labelloop.train.intervals import wilson
from labelloop.types import Item, ProjectKey

ITEMS = tuple(Item(task, f"{task:064x}", ("a",)) for task in range(1, 51))


def measured(folder: Path, chosen: frozenset[int]) -> Context:
    """A run that is right on the second half of its 50 test items."""
    manifest = Manifest.of(ProjectKey("1", 7), "single", ("a", "b"), ITEMS)
    context = Context(RunFolder(folder), Settings(model_dir=str(folder)), lambda *_: None)
    Labeled(manifest, chosen=chosen).write(context.folder)
    scores = np.array([[0.9, 0.1] if item.task > 25 else [0.1, 0.9] for item in ITEMS])
    context.folder.evaluation.mkdir(parents=True)
    Scored.of(ITEMS, manifest.classes, scores).write(context.folder.predictions)
    write_json(context.folder.metrics, {"items": 50, "accuracy": {"value": 0.5}})
    return context


def test_accuracy_on_the_others_is_told_with_an_interval(tmp_path: Path) -> None:
    context = measured(tmp_path, frozenset(range(1, 32)))
    found = tell_chosen(context)
    low, high = wilson(19, 19)
    assert found["chosen"] == {"items": 31, "others": {"items": 19, "value": 1.0, "low": low, "high": high}}
    assert json.loads(context.folder.metrics.read_text()) == found
    assert tell_chosen(context) == found
    verdict = with_chosen(Verdict(True, "v2 replaces v1"), found)
    assert verdict.sentence == (
        "v2 replaces v1; 31 of 50 test items were chosen by score, which makes them harder than the rest: accuracy on "
        "the 19 others is 1.000 (95 % interval 0.832 to 1.000)"
    )


@pytest.mark.parametrize("chosen", [frozenset(), frozenset({999})], ids=["none", "none of the test side"])
def test_nothing_is_told_where_none_was_chosen(tmp_path: Path, chosen: frozenset[int]) -> None:
    found = tell_chosen(measured(tmp_path, chosen))
    assert "chosen" not in found
    assert with_chosen(Verdict(True, "v2 replaces v1"), found).sentence == "v2 replaces v1"


def test_the_report_shows_both_accuracies(tmp_path: Path) -> None:
    context = measured(tmp_path, frozenset(range(1, 32)))
    tell_chosen(context)
    section = figures_section(Files(context.folder))
    assert section is not None
    (all_of_them, others) = section.view["rows"]
    assert (all_of_them["name"], all_of_them["value"]) == ("Accuracy", "0.500")
    assert (others["value"], others["interval"]) == ("1.000", "0.832 to 1.000")
    assert others["note"].startswith("on the 19 test items that were not chosen by score")


def test_a_run_reads_what_it_wrote(tmp_path: Path) -> None:
    assert Labeled.read(measured(tmp_path / "some", frozenset({3, 5})).folder).chosen == {3, 5}
    assert Labeled.read(measured(tmp_path / "none", frozenset()).folder).chosen == frozenset()


def test_it_may_be_all_of_them(tmp_path: Path) -> None:
    found = tell_chosen(measured(tmp_path, frozenset(range(1, 51))))
    assert found["chosen"]["others"] == {"items": 0, "value": None, "low": None, "high": None}
    assert chosen_told(found) == "all 50 test items were chosen by score, which makes them harder than the rest"


def test_what_a_version_gives_by_its_own_thresholds_is_right(tmp_path: Path) -> None:
    manifest = Manifest.of(ProjectKey("1", 7), "multiple", ("a", "b"), ITEMS)
    context = Context(RunFolder(tmp_path), Settings(model_dir=str(tmp_path)), lambda *_: None)
    Labeled(manifest).write(context.folder)
    context.folder.evaluation.mkdir(parents=True)
    scores, thresholds = np.array([[0.4, 0.1]] * len(ITEMS)), np.array([0.3, 0.5])
    Scored.of(ITEMS, manifest.classes, scores, thresholds).write(context.folder.predictions)
    assert all(context.kind.right(context).values())
