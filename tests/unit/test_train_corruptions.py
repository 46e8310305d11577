"""Corruptions grow with their severity, at every size, and depend on the seed alone."""

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.train.corruptions import CORRUPTIONS, SEVERITIES, corruption

pytestmark = pytest.mark.train

Pixels = npt.NDArray[np.uint8]


def picture(side: int, seed: int) -> Pixels:
    """Draw shapes on a ground that changes slowly, with a fine texture."""
    chance = np.random.default_rng(seed)
    ground = np.linspace(40, 170, side)[:, None, None] * chance.uniform(0.6, 1, 3)
    shown = np.broadcast_to(ground, (side, side, 3)) + chance.normal(0, 6, (side, side, 3))
    for _ in range(6):
        top, left = chance.integers(0, side * 3 // 4, 2)
        shown[top : top + side // 4, left : left + side // 5] = chance.integers(20, 220, 3)
    return shown.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("side", [32, 96])
def test_the_higher_the_severity_the_further_from_the_picture(name: str, side: int) -> None:
    shown = [picture(side, seed) for seed in range(8)]
    distances = []
    for severity in SEVERITIES:
        change = corruption(name, severity)
        changed = [change(one, seed) for seed, one in enumerate(shown)]
        assert all(one.shape == (side, side, 3) and one.dtype == np.uint8 for one in changed)
        distances.append(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(shown, changed, strict=True)]))
    assert distances[0] > 0.5
    assert (np.diff(distances) > 0).all(), distances


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_seed_decides(name: str) -> None:
    shown = picture(48, 0)
    assert np.array_equal(corruption(name, 3)(shown, 5), corruption(name, 3)(shown, 5))
    drawn = {corruption(name, 3)(shown, seed).tobytes() for seed in range(6)}
    assert len(drawn) == {"rotation": 2, "noise": 6, "fog": 6, "rain": 6, "snow": 6}.get(name, 1)


def test_pictures_may_be_oblong_or_tiny() -> None:
    for name in CORRUPTIONS:
        for size in ((24, 40), (12, 12)):
            assert corruption(name, 5)(np.full((*size, 3), 90, np.uint8), 0).shape == (*size, 3)


def test_unknown_ones_are_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no corruption 'hail' of severity 1: there are noise, blur"):
        corruption("hail", 1)
    with pytest.raises(ValueError, match="severity 6"):
        corruption("fog", 6)
