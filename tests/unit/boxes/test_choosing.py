"""What is chosen on pictures that were not learned from, and which boxes are probably wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from labelloop.kinds.object_detection.recipes.detecting import Candidates
    from labelloop.kinds.object_detection.recipes.examples import Example

pytestmark = pytest.mark.train

LEFT, RIGHT, LOW = (0.0, 0.0, 0.2, 0.2), (0.5, 0.0, 0.7, 0.2), (0.0, 0.6, 0.2, 0.8)


def example(*boxes: tuple[tuple[float, ...], int]) -> "Example":
    from labelloop.kinds.object_detection.recipes.examples import Example
    from labelloop.train.dataset import Sample

    corners = np.array([box for box, _ in boxes], dtype=np.float32).reshape(-1, 4)
    return Example(Sample(Path("x"), "0" * 64, ()), corners, np.array([label for _, label in boxes], dtype=np.int64))


def found(*boxes: tuple[tuple[float, ...], int, float]) -> "Candidates":
    from labelloop.kinds.object_detection.recipes.detecting import Candidates

    scores = np.array([score for *_, score in boxes])
    return Candidates(
        np.array([box for box, *_ in boxes], dtype=np.float32).reshape(-1, 4),
        np.array([label for _, label, _ in boxes], dtype=np.int64),
        np.log(scores / (1 - scores)).astype(np.float32),
    )


def test_scores_are_calibrated_label_by_label() -> None:
    from labelloop.kinds.object_detection.recipes.choosing import calibrated, scores_of

    chance, seen, right = np.random.default_rng(0), [], []
    for _ in range(400):
        # The first label is right half as often as its score says, the second as often.
        label, score = int(chance.integers(2)), float(chance.uniform(0.05, 0.95))
        seen.append(found((LEFT, label, score)))
        right.append(np.array([chance.random() < score * (0.5 if label == 0 else 1)]))
    slopes, shifts = calibrated(seen, right, 2)
    for label, expected in ((0, 0.4), (1, 0.8)):
        assert scores_of(found((LEFT, label, 0.8)), slopes, shifts)[0] == pytest.approx(expected, abs=0.1)


def test_few_boxes_say_little_of_a_label() -> None:
    from labelloop.kinds.object_detection.recipes.choosing import calibrated

    slopes, shifts = calibrated([found((LEFT, 0, 0.9))], [np.array([False])], 2)
    assert 0.3 < slopes[0] < slopes[1] < 1, "a label without boxes has those of all labels"
    assert -0.5 < shifts[0] < shifts[1] < 0


@pytest.mark.parametrize(
    ("drawn", "seen", "expected"),
    [
        ([(LEFT, 0)], [(LEFT, 0, 0.9)], None),
        ([(LEFT, 0)], [(LEFT, 0, 0.9), (RIGHT, 1, 0.9)], ("missed", None, 1)),
        ([(LEFT, 0)], [(LEFT, 1, 0.9), (LEFT, 0, 0.1)], ("label", 0, 0)),
        ([(LEFT, 0)], [((0.1, 0.0, 0.3, 0.2), 0, 0.9)], ("border", 0, 0)),
        ([(LEFT, 0), (LOW, 1)], [(LEFT, 0, 0.9)], ("empty", 1, None)),
        ([(LEFT, 0)], [(LEFT, 0, 0.4), (RIGHT, 1, 0.4)], None),
    ],
    ids=["right", "missed", "label", "border", "empty", "unsure"],
)
def test_a_head_that_is_sure_of_something_else_doubts_a_box(drawn: Any, seen: Any, expected: Any) -> None:
    from labelloop.kinds.object_detection.recipes.doubts import doubts

    told = list(doubts(example(*drawn), found(*seen), np.array([one[2] for one in seen]), np.array([0.6, 0.6])))
    assert [(one.what, one.given, one.found) for one in told] == ([expected] if expected else [])


def test_what_is_clearly_better_is_so_beyond_chance() -> None:
    from dataclasses import replace

    from labelloop.kinds.object_detection.recipes.choosing import Served, figure

    truth = [example((LEFT, 0)) for _ in range(40)]
    all_found = [found((LEFT, 0, 0.9)) for _ in truth]

    def served(seen: list[Any]) -> Served:
        half = np.full(1, 0.5)
        return Served((), 0.6, half, half, half, figure(seen, truth, 1))

    best, less = served(all_found), served([*all_found[:-20], *(found() for _ in range(20))])
    assert best.precision == 1.0
    assert best.clearly_better(less, 0)
    assert not less.clearly_better(best, 0)
    assert not best.clearly_better(replace(best), 0)
    nothing = Served((), 0.6, *(np.full(1, 0.5),) * 3, figure([], [], 1))
    assert not nothing.clearly_better(nothing, 0)
