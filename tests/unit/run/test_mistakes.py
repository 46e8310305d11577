"""The worst mistakes, and their small pictures."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from labelloop.run import scoring as predictions
from labelloop.run.folder import RunFolder
from labelloop.run.report.gallery import worst_mistakes, write_mistakes, write_thumbnails
from support.run_files import picture


def answers(truth: list[list[int]], scores: list[list[float]]) -> predictions.Scored:
    names = tuple(f"{at:064x}" for at in range(len(truth)))
    return predictions.Scored(
        ("a", "b"), names, np.arange(10, 10 + len(truth)), np.array(truth, dtype=bool), np.array(scores)
    )


SINGLE = answers(
    [[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]],
    [[0.9, 0.1], [0.4, 0.6], [0.95, 0.05], [float("nan"), float("nan")], [0.2, 0.8]],
)


def test_the_most_certain_come_first_and_a_failure_is_no_mistake() -> None:
    found = worst_mistakes(SINGLE, "single")

    assert [one["task"] for one in found] == [12, 14, 11]
    assert found[0] == {
        "picture": SINGLE.pictures[2],
        "task": 12,
        "truth": ["b"],
        "predicted": ["a"],
        "score": 0.95,
        "true_score": 0.05,
    }
    assert [one["task"] for one in worst_mistakes(SINGLE, "single", 1)] == [12]


def test_with_several_labels_the_worst_label_counts() -> None:
    truth, scores = [[1, 1], [0, 0], [1, 1], [1, 0]], [[0.9, 0.4], [0.97, 0.1], [0.9, 0.8], [0.6, 0.7]]
    found = worst_mistakes(answers(truth, scores), "multiple")

    assert [one["task"] for one in found] == [11, 13, 10]
    assert (found[0]["truth"], found[0]["predicted"], found[0]["true_score"]) == ([], ["a"], None)
    assert (found[2]["predicted"], found[2]["score"], found[2]["true_score"]) == (["a"], None, 0.4)


def test_pictures_that_can_be_read_are_made_small(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    SINGLE.write(folder.predictions)
    (tmp_path / SINGLE.pictures[2]).write_bytes(picture(1, 400))
    (tmp_path / SINGLE.pictures[4]).write_bytes(b"no picture")

    found = write_mistakes(folder, "single", lambda name: tmp_path / name)

    assert json.loads((folder.evaluation / "mistakes.json").read_text()) == found
    thumbnail = folder.evaluation / "thumbnails" / f"{SINGLE.pictures[2]}.jpg"
    assert list(thumbnail.parent.iterdir()) == [thumbnail]
    with Image.open(thumbnail) as image:
        assert image.size == (160, 160)


def test_a_thumbnail_is_made_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    (tmp_path / "one").write_bytes(picture(1, 20))
    write_thumbnails(folder, ["one"], lambda name: tmp_path / name)
    (tmp_path / "one").unlink()
    write_thumbnails(folder, ["one"], lambda name: tmp_path / name)

    assert (folder.evaluation / "thumbnails" / "one.jpg").is_file()
