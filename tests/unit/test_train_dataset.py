"""What a run accepts to train on."""

from pathlib import Path

import pytest

from labelloop.errors import TrainingError
from labelloop.train.dataset import Dataset, Sample, in_order, indicators, require_contrast


def sample(picture: str, *targets: int) -> Sample:
    return Sample(Path(picture), picture, targets)


def test_kind_single_takes_one_class_a_picture() -> None:
    with pytest.raises(ValueError, match="takes one"):
        Dataset(("cat", "dog"), "single", (sample("a", 0, 1),), ())


def test_a_target_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the 2 classes"):
        Dataset(("cat", "dog"), "single", (sample("a", 2),), ())


def test_the_order_of_fetching_does_not_matter() -> None:
    one, two = sample("a", 0), sample("b", 1)
    assert in_order(Dataset(("x", "y"), "single", (two, one), ())) == in_order(
        Dataset(("x", "y"), "single", (one, two), ())
    )


def test_indicators_tell_which_sample_shows_what() -> None:
    assert indicators((sample("a", 1), sample("b"), sample("c", 0, 2)), 3).tolist() == [
        [False, True, False],
        [False, False, False],
        [True, False, True],
    ]


def test_one_class_alone_cannot_be_trained() -> None:
    with pytest.raises(TrainingError, match=r"fewer than two classes \(seen: cat\)"):
        require_contrast(Dataset(("cat", "dog"), "single", (sample("a", 0), sample("b", 0)), (sample("c", 1),)))


def test_labels_that_every_picture_has_cannot_be_trained() -> None:
    with pytest.raises(TrainingError, match="apart"):
        require_contrast(Dataset(("cat", "dog"), "multiple", (sample("a", 0), sample("b", 0)), ()))


def test_one_label_that_tells_pictures_apart_is_enough() -> None:
    require_contrast(Dataset(("cat", "dog"), "multiple", (sample("a", 0), sample("b")), ()))
