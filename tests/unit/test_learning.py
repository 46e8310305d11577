"""The benchmark that simulates loops: what it simulates, and what it says of that."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning import believed, first, suspects, versions
from benchmarks.learning.features import Features


@pytest.fixture
def blobs() -> Features:
    """Make 90 pictures of three classes that overlap."""
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    rows = (np.eye(3, 6)[labels] * 2 + random.normal(size=(90, 6))).astype(np.float32)
    names = tuple(hashlib.sha256(bytes([at])).hexdigest() for at in range(90))
    return Features(names, rows, rows[:, ::-1].copy(), labels, ("a", "b", "c"))


@pytest.mark.train
def test_a_loop_labels_the_least_sure_of_the_train_side_and_measures_every_version(
    blobs: Features, tmp_path: Path
) -> None:
    from benchmarks.learning.head import Trainer
    from benchmarks.learning.loop import Loop
    from labelloop.types import side

    loop = Loop(Trainer(blobs, tmp_path).prepare(), seed=1, pool=60)
    rows = loop.run((24,))
    assert loop.champion is not None
    waiting = list(loop.waiting)
    sure = dict(zip(waiting, loop.champion.scores(np.array(waiting)).max(axis=1), strict=True))
    rows += loop.run((40,))

    assert [row["labels"] for row in rows] == [24, 40]
    assert len(loop.labeled) == len(set(loop.labeled)) == 40
    assert not set(loop.labeled) & {int(at) for at in loop.held_out}
    assert all(0 <= row["right"] <= row["items"] and row["held_out"] == 30 for row in rows)
    assert rows[-1]["truth"] > 15  # of 30, where chance has 10
    served = [sure[at] for at in loop.labeled[24:] if side(loop.content(at)) == "train"]
    left = [sure[at] for at in loop.waiting if side(loop.content(at)) == "train"]
    assert max(served) <= min(left)


def test_a_test_side_by_chance_is_covered_as_chance_says() -> None:
    random = np.random.default_rng(0)
    right = random.hypergeometric(250, 30, 40, size=400)
    rows = [{"labels": 200, "items": 40, "right": int(one), "held_out": 240, "truth": int(250 - one)} for one in right]
    told = believed.test_side(rows)["test side, 200 labels"]

    covered = np.mean([_covers(int(one), int(250 - one)) for one in right])
    assert f"covered in {covered:.1%} of 400 loops" in told
    expected = np.mean([_covers(int(one), int(250 - one)) for one in random.hypergeometric(250, 30, 40, size=40_000)])
    assert float(told.split("by chance ")[1].rstrip("%")) == pytest.approx(100 * expected, abs=0.5)


def _covers(right: int, truth: int) -> bool:
    from labelloop.train.intervals import wilson

    low, high = wilson(right, 40)
    return low <= truth / 240 <= high


def test_the_error_is_that_of_the_test_side_with_what_so_many_loops_leave() -> None:
    rows = [{"labels": 80, "items": 10, "right": one, "held_out": 100, "truth": 80} for one in (5, 6, 7, 6)]
    assert "error -20.0 ± 8.0 points; 0 loops with 20 items" in believed.test_side(rows)["test side, 80 labels"]


def test_labels_are_saved_where_the_order_has_earlier_what_chance_has() -> None:
    rounds = np.array([100.0, 200.0, 300.0])
    at_random = np.tile([0.7, 0.8, 0.9], (5, 1))

    def saved(*curve: float) -> str:
        return believed.saved(np.tile(curve, (5, 1)), at_random, rounds, 2)

    assert saved(0.8, 0.9, 0.95) == "saves 100 (100 to 100)"
    assert saved(0.8, 0.85, 0.95) == "saves 50 (50 to 50)"
    assert saved(0.8, 0.7, 0.9) == "saves 0 (0 to 0)"
    assert believed.saved(np.tile([0.6, 0.7, 0.8], (5, 1)), at_random, rounds, 1) == "saves -100 (-100 to -100)"


def test_a_commit_that_the_clone_does_not_hold_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "BEGAN", "0" * 40)
    with versions.before() as code:
        assert code is None


def test_a_measurement_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"nothing failed: .*No module named"):
        versions.measured("nothing", [])


def test_what_is_left_out_is_told_beside_what_it_gives() -> None:
    def rows(*right: int) -> list[dict[str, float]]:
        counts = {"held_out": 100, "wrong": 10, "left_out": 8, "found": 6}
        return [{"share": share, "truth": one, **counts} for share in suspects.SHARES for one in right]

    told = suspects.told(rows(80, 82), rows(85, 85))["suspects, 5% of 200 labels wrong"]
    assert "before 0.810, now 0.850, +4.0 ± 2.0 points; leaves out 8.0, 6.0 of the 10 wrong ones" in told
    assert suspects.told([], rows(85))["suspects, 20% of 200 labels wrong"].startswith("now 0.850; leaves")


def test_first_labels_are_compared_on_the_same_parts_of_the_pictures(blobs: Features) -> None:
    rows = list(first.trial(blobs, 3, pool=60, rounds=(30, 60)))

    assert [(row["labels"], row["held_out"]) for row in rows] == [(30, 30), (60, 30)]
    assert all(row[arm] > 15 for row in rows for arm in ("typical", "random"))  # of 30, where chance has 10
    assert rows[1]["typical"] == rows[1]["random"], "all that waits is labeled in either order"
    told = first.told([{"labels": 40, "held_out": 100, "typical": 80 + more, "random": 78} for more in (0, 2)])
    assert told == {"first 40 labels": "typical 0.810, at random 0.780, +3.0 ± 2.0 points (2 trials)"}
