"""Which picture comes when, and that it comes whole."""

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest

from support import materials, shapes

pytestmark = pytest.mark.train


def test_every_picture_comes_once_before_any_comes_again() -> None:
    from labelloop.train.loading import Draw

    draw = Draw(7, seed=3)
    turns = [draw.turn(number).tolist() for number in range(3)]
    assert all(sorted(turn) == list(range(7)) for turn in turns)
    assert turns[0] != turns[1] != turns[2]
    assert turns[1] == Draw(7, seed=3).turn(1).tolist() != Draw(7, seed=4).turn(1).tolist()


def test_weights_draw_the_rare_as_often() -> None:
    from labelloop.train.loading import Draw

    draw = Draw(100, seed=0, weights=np.where(np.arange(100) < 10, 5.0, 5 / 9))
    rare = np.mean([np.mean(draw.turn(number) < 10) for number in range(50)])
    assert 0.45 < rare < 0.55


def test_the_ranks_share_every_step() -> None:
    from labelloop.train.loading import Positions

    alone = Positions(batches=2, size=6, rank=0, ranks=1)
    several = [Positions(batches=2, size=2, rank=rank, ranks=3) for rank in range(3)]
    for epoch in range(2):
        for one in (alone, *several):
            one.epoch = epoch
        steps = [[list(batch) for batch in one] for one in several]
        assert [sorted(itertools.chain(*parts)) for parts in zip(*steps, strict=True)] == list(alone)


@pytest.mark.parametrize(("count", "ranks"), [(0, 1), (5, 1), (5, 2), (1, 3), (64, 2)])
def test_validation_is_dealt_out_evenly_and_wholly(count: int, ranks: int) -> None:
    from labelloop.train.loading import rank_batches

    dealt = [rank_batches(count, 2, rank, ranks) for rank in range(ranks)]
    rows = [[row for batch in share for row in batch] for share in dealt]
    assert len({len(share) for share in rows}) == 1
    together = [row for place in zip(*rows, strict=True) for row in place]
    assert together[:count] == list(range(count))


def test_workers_are_as_many_as_cores_and_shared_memory_allow() -> None:
    from labelloop.train.loading import worker_count

    cores = len(os.sched_getaffinity(0))
    assert worker_count(1, ranks=1) == min(8, cores - 1)
    assert worker_count(1, ranks=cores) == 0
    assert worker_count(1 << 50, ranks=1) == 0


def test_the_packed_file_is_removed_and_so_are_those_of_killed_runs(tmp_path: Path) -> None:
    from labelloop.train.pixels import packed

    given = materials.material(shapes.dataset(tmp_path / "pictures"), shapes.settings(), tmp_path)
    old, young = tmp_path / ".packed-old", tmp_path / ".packed-young"
    for folder in (old, young):
        folder.mkdir()
    week_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (week_ago, week_ago))
    with packed(given.dataset.train, given.pixels, tmp_path) as pixels:
        np.testing.assert_array_equal(pixels.rows(), given.pixels.many(given.dataset.train))
    assert [path.name for path in tmp_path.glob(".packed-*")] == [young.name]
