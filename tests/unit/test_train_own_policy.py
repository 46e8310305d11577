"""Policies written as YAML: what they may say, and what is answered to mistakes."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from labelloop.errors import TrainingError
from labelloop.train.augmentations.policy import TRANSFORMS, Augmentation, load_policy

pytestmark = pytest.mark.train

NEEDED = {
    "CenterCrop": "{height: 20, width: 24, p: 1}",
    "Crop": "{x_max: 20, y_max: 20, p: 1}",
    "CropAndPad": "{percent: -0.1, p: 1}",
    "RandomCrop": "{height: 20, width: 24, p: 1}",
    "RandomResizedCrop": "{size: [20, 24], p: 1}",
    "RandomSizedCrop": "{min_max_height: [10, 20], size: [20, 24], p: 1}",
}
SHOWN = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)


def written(folder: Path, text: str) -> Augmentation:
    path = folder / "mine.yaml"
    path.write_text(text)
    return load_policy(str(path))


def test_a_list_with_groups_and_constants_by_name(tmp_path: Path) -> None:
    policy = written(
        tmp_path,
        """
        - Affine: {rotate: [-10, 10], border_mode: BORDER_REPLICATE, interpolation: INTER_CUBIC, p: 0.9}
        - OneOf:
            p: 0.9
            transforms:
              - GaussNoise: {std_range: [0.02, 0.1]}
              - MotionBlur
        """,
    )
    assert policy.name == "mine.yaml"
    changed = policy(SHOWN, 1)
    assert changed.shape == SHOWN.shape
    assert not np.array_equal(changed, SHOWN)
    assert np.array_equal(pickle.loads(pickle.dumps(policy))(SHOWN, 1), changed)


def test_every_allowed_transform_gives_a_picture_of_the_same_size(tmp_path: Path) -> None:
    for name in TRANSFORMS:
        policy = written(tmp_path, f"- {name}: {NEEDED.get(name, '{p: 1}')}")
        changed = policy(SHOWN, 1)
        assert changed.shape == SHOWN.shape, name
        assert changed.dtype == np.uint8, name
        assert np.array_equal(policy(SHOWN, 1), changed), name


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("- Blurr", "'Blurr' is not allowed. Allowed are AdditiveNoise, .*; and the groups OneOf"),
        ("- Lambda", "'Lambda' is not allowed"),
        ("- TextImage: {font_path: /etc/passwd}", "'TextImage' is not allowed"),
        ("- GaussNoise: {std: 3}", "GaussNoise has no argument std; it has std_range, mean_range"),
        ("- GaussNoise: {std_range: [3, 4]}", "GaussNoise: std_range: .*must be >= 0 and <= 1"),
        ("- Rotate: {border_mode: BORDER_NONE}", "Rotate: border_mode: Input should be"),
        ("- Blur: {p: 2}", "Blur: p is a probability from 0 to 1, not 2"),
        ("- OneOf: {p: 1}", r"OneOf.transforms: expected a list of transforms"),
        ("- SomeOf: {transforms: [Blur], k: 1}", "SomeOf has no argument k; it has n"),
        ("- Blur: 3", "expected NAME or NAME: {argument: value}"),
        ("Blur: {p: 1}", "expected a list of transforms"),
        ("", "expected a list of transforms"),
        ("- [", "is no YAML"),
        ("- !!python/object/apply:os.getcwd []", "is no YAML"),
        ("- OneOf: {transforms: [" * 6 + "Blur" + "]}" * 6, "is no YAML|nested"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, answer: str) -> None:
    with pytest.raises(TrainingError, match=answer):
        written(tmp_path, text)


def test_files_that_are_not_there_or_too_long(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="could not be read: No such file"):
        load_policy(str(tmp_path / "other.yaml"))
    with pytest.raises(TrainingError, match="at most 65536 bytes"):
        written(tmp_path, "- Blur\n" * 10_000)


def test_a_picture_that_is_too_small_is_said_to_be(tmp_path: Path) -> None:
    policy = written(tmp_path, "- RandomCrop: {height: 64, width: 64, p: 1}")
    with pytest.raises(TrainingError, match=r"'mine.yaml' cannot change a picture of 40 x 32 pixels"):
        policy(SHOWN, 0)
