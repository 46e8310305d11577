"""Augmentation policies keep size and label, and depend on the seed alone."""

import hashlib
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.errors import TrainingError
from labelloop.train.augmentations.policy import POLICIES, load_policy
from labelloop.train.grids import policy_grid

pytestmark = pytest.mark.train

Pixels = npt.NDArray[np.uint8]


def picture(height: int = 40, width: int = 56, seed: int = 0) -> Pixels:
    """Draw something smooth: neighbours alike, as in a photograph."""
    down, across = np.mgrid[:height, :width]
    chance = np.random.default_rng(seed).uniform(0.05, 0.2, (3, 2))
    waves = np.stack([np.sin(down * one + across * two) for one, two in chance], axis=-1)
    return (127 + 100 * waves).astype(np.uint8)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("size", [(32, 32), (40, 56), (64, 48)])
def test_the_size_stays_and_the_seed_decides(name: str, size: tuple[int, int]) -> None:
    policy, shown = load_policy(name), picture(*size)
    before = shown.copy()
    one, again, other = policy(shown, 3), policy(shown, 3), policy(shown, 4)
    assert one.shape == shown.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, again)
    assert np.array_equal(one, other) == (name == "none")
    assert np.array_equal(shown, before), "the picture that was given is changed"


@pytest.mark.parametrize("name", POLICIES)
def test_another_process_or_thread_gives_the_same(name: str) -> None:
    policy, shown = load_policy(name), picture()
    here = [policy(shown, seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as threads:
        there = list(threads.map(lambda seed: policy(shown, seed), range(6)))
    assert all(np.array_equal(one, other) for one, other in zip(here, there, strict=True))
    again = pickle.loads(pickle.dumps(policy))
    assert again.name == name
    assert np.array_equal(again(shown, 5), here[5])


def test_a_process_of_its_own_gives_the_same_and_asks_no_network() -> None:
    """And ``light`` needs neither torch nor albumentations, which take seconds to import."""
    code = (
        "import hashlib, sys, numpy as np\n"
        "from labelloop.train.augmentations.policy import load_policy\n"
        "shown = np.arange(40 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 40, 3)\n"
        "light = [load_policy('light')(shown, seed) for seed in range(8)]\n"
        "assert not {'albumentations', 'torch'} & set(sys.modules)\n"
        "import socket\n"
        "socket.socket.connect = None\n"
        "changed = light + [load_policy('realistic')(shown, seed) for seed in range(8)]\n"
        "print(hashlib.sha256(np.stack(changed).tobytes()).hexdigest())\n"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, check=True
    )
    shown = np.arange(40 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 40, 3)
    changed = [load_policy(name)(shown, seed) for name in ("light", "realistic") for seed in range(8)]
    assert found.stdout.strip() == hashlib.sha256(np.stack(changed).tobytes()).hexdigest()


def test_light_neither_flips_nor_moves_out_of_sight() -> None:
    shown = np.zeros((32, 32, 3), dtype=np.uint8)
    shown[8:14, 8:14] = 255  # a square in the upper left
    policy = load_policy("light")
    for seed in range(200):
        changed = policy(shown, seed).astype(int).sum(axis=2)
        quarters = [changed[rows, columns].sum() for rows in HALVES for columns in HALVES]
        assert np.argmax(quarters) == 0


def test_light_changes_contrast_and_brightness_by_up_to_thirty_percent() -> None:
    policy = load_policy("light")
    levels = np.array([policy(np.full((8, 8, 3), 200, np.uint8), seed)[4, 4, 0] for seed in range(300)], dtype=int)
    assert 135 <= levels.min() < 160  # 127.5 + 0.7 * 72.5 - 38.25 = 140 at the least
    assert 240 < levels.max() <= 255


def test_decisions_within_realistic_are_independent() -> None:
    """With one seed for every transform, all would be drawn or none."""
    policy, shown = load_policy("realistic"), picture(64, 64)
    difference = np.array([np.abs(policy(shown, seed).astype(int) - shown).mean() for seed in range(60)])
    assert len(np.unique(difference)) > 50
    assert (difference > 0).mean() > 0.9


def test_unknown_names_are_answered_with_those_there_are() -> None:
    with pytest.raises(TrainingError, match=r"auto, none, light, crop, realistic, or the path of a .yaml file"):
        load_policy("heavy")


def test_the_grid_has_a_row_for_each_picture() -> None:
    grid = policy_grid(load_policy("light"), [picture(32, 32, seed) for seed in range(2)], variants=3)
    assert grid.size == (4 * 100 - 4, 2 * 100 - 4)
    first = np.asarray(grid)[:96:3, :96:3]  # enlarged three times, each pixel as a square
    assert np.array_equal(first, picture(32, 32, 0))
    with pytest.raises(ValueError, match="no pictures"):
        policy_grid(load_policy("none"), [])


HALVES = (slice(0, 16), slice(16, 32))


def test_auto_crops_where_mirror_images_keep_their_labels() -> None:
    assert load_policy("auto", mirrors=True).name == "crop"
    assert load_policy("auto").name == "light"
    assert load_policy("light", mirrors=True).name == "light"


def test_a_crop_holds_at_least_half_of_the_picture_and_nothing_else() -> None:
    """Rows and columns of a ramp tell which part was taken."""
    height, width = 60, 80
    down, across = np.mgrid[:height, :width]
    ramps = np.stack([across * 2 + 40, down * 2 + 40, np.full_like(down, 128)], axis=-1).astype(np.uint8)
    crop, areas, brightened = load_policy("crop"), [], set()
    for seed in range(60):
        part = crop(ramps, seed).astype(float)
        light = part[:, :, 2].mean() - 128
        wide, high = (part[0, -1, 0] - part[0, 0, 0]) / 158, (part[-1, 0, 1] - part[0, 0, 1]) / 118
        assert np.ptp(part[:, :, 2]) == 0, "light changes evenly"
        areas.append(wide * high)
        brightened.add(light > 0)
        assert part[0, 0, 0] <= part[0, -1, 0]
        assert part[0, 0, 1] <= part[-1, 0, 1]
    assert brightened == {True, False}
    assert 0.5 * 0.7**2 <= min(areas) < 0.6, "contrast is in both sides"
    assert 0.9 < max(areas) <= 1.3**2
