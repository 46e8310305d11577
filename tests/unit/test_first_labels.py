"""Which items are labeled first, by their features alone."""

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.train.first_labels import first_labels, typical

CENTRES = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, -1, 1, -1, 1, -1, 1, -1],
        [1, 1, -1, -1, 1, 1, -1, -1],
        [1, 1, 1, 1, -1, -1, -1, -1],
    ],
    dtype=np.float32,
)


def clusters(*sizes: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Make items around four centres, so many around each, and say which are around which."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    noise = np.random.default_rng(0).normal(0, 0.2, (len(of), 8)).astype(np.float32)
    return CENTRES[of] + noise, of


def test_the_first_items_are_one_of_every_cluster_the_large_ones_first_and_near_its_middle() -> None:
    features, of = clusters(40, 30, 20, 10)

    order = typical(features, 4)

    assert of[order].tolist() == [0, 1, 2, 3]
    closer = []
    for at in order:
        around = features[of == of[at]]
        far = np.linalg.norm(around - around.mean(axis=0), axis=1)
        closer.append((far < np.linalg.norm(features[at] - around.mean(axis=0))).mean())
    assert np.mean(closer) < 0.35  # 0.5 by chance


def test_every_item_comes_once_and_an_outlier_is_none_of_the_first() -> None:
    features, of = clusters(30, 30, 1)

    order = typical(features, 1000)

    assert sorted(order) == list(range(61))
    assert list(of[order]).index(2) > 1


def test_what_is_labeled_already_covers_what_is_like_it() -> None:
    features, of = clusters(40, 30, 20, 10)
    labeled = [0, 1, 45]

    order = typical(features, 2, labeled)

    assert of[order].tolist() == [2, 3]
    assert sorted(typical(features, 1000, labeled) + labeled) == list(range(100))


def test_held_out_items_stay_where_chance_puts_them() -> None:
    features, _ = clusters(100, 60, 30, 10)
    held_out = np.random.default_rng(1).random(200) < 0.2
    train, labeled = np.flatnonzero(~held_out), [int(np.flatnonzero(~held_out)[3]), int(np.flatnonzero(held_out)[3])]

    order = first_labels(features, held_out.tolist(), 60, 7, labeled)

    chance = [at for at in np.random.default_rng(7).permutation(200) if at not in labeled][:60]
    assert [at for at in order if held_out[at]] == [at for at in chance if held_out[at]]
    assert [bool(held_out[at]) for at in order] == [bool(held_out[at]) for at in chance]
    chosen = [at for at in order if not held_out[at]]
    assert chosen == [int(train[at]) for at in typical(features[train], len(chosen), [3])]
    assert order[:20] == first_labels(features, held_out.tolist(), 20, 7, labeled)


def test_how_often_a_held_out_item_comes_early_does_not_hang_on_how_typical_it_is() -> None:
    features, of = clusters(36, 4)
    held_out = [at % 2 == 0 for at in range(40)]

    first = [at for seed in range(300) for at in first_labels(features, held_out, 10, seed) if held_out[at]]

    assert np.mean(of[first] == 1) == pytest.approx(0.1, abs=0.03)  # as many as there are among them: 2 of 20


def test_there_may_be_nothing_to_order() -> None:
    assert first_labels(np.zeros((0, 8), dtype=np.float32), [], 10, 0) == []
    assert first_labels(np.zeros((3, 8), dtype=np.float32), [True] * 3, 2, 0) == [2, 0]
    assert sorted(first_labels(np.zeros((3, 8), dtype=np.float32), [False] * 3, 5, 0)) == [0, 1, 2]
