"""What simulated loops say of the test side and of the order, with the error of the simulation itself.

A version is measured on the test items that are labeled by then; the truth is its accuracy on the pictures that no loop
labels. These are few as well, so that the interval of a perfect test side would not cover it at its own level either:
"by chance" is what it would show. Were test items and those pictures one lot, parted by chance, how many of the right
ones are test items would be hypergeometric.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import lgamma
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.train.intervals import wilson

Row = Mapping[str, Any]
Floats = npt.NDArray[np.float64]

ENOUGH = 20
"""Test items from which on an interval is asked whether it covers."""

_FEWEST = 10
"""Loops with so many test items; of fewer no share is told."""


def test_side(rows: Sequence[Row]) -> dict[str, str]:
    """Tell of every round what the test side says of the newest version, and whether its interval covers the truth."""
    return {f"test side, {labels} labels": _told(some) for labels, some in by_round(rows)}


def champions(rows: Sequence[Row]) -> dict[str, str]:
    """Tell of every round how far the champion's accuracy on the test items of that round is from the truth."""
    return {
        f"champion after {labels} labels": f"error {_points(_errors(some, 'champion_right', 'champion_truth'))}"
        for labels, some in by_round(rows)
    }


def by_round(rows: Sequence[Row]) -> Iterator[tuple[int, list[Row]]]:
    for labels in sorted({int(row["labels"]) for row in rows}):
        yield labels, [row for row in rows if row["labels"] == labels]


def _told(rows: Sequence[Row]) -> str:
    items = np.mean([row["items"] for row in rows])
    said, true = (np.mean([row[a] / row[b] for row in rows]) for a, b in (("right", "items"), ("truth", "held_out")))
    error = _points(_errors(rows, "right", "truth"))
    return f"{items:.0f} items say {said:.3f}, truth {true:.3f}, error {error}; {_covered(rows)}"


def _errors(rows: Sequence[Row], right: str, truth: str) -> Floats:
    return np.array([row[right] / row["items"] - row[truth] / row["held_out"] for row in rows])


def _points(errors: Floats) -> str:
    """Give the mean in points, with the 95 % interval that so many loops leave."""
    half = 1.96 * errors.std(ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else np.nan
    return f"{100 * errors.mean():+.1f} ± {100 * half:.1f} points"


def _covered(rows: Sequence[Row]) -> str:
    some = [row for row in rows if row["items"] >= ENOUGH]
    if len(some) < _FEWEST:
        return f"{len(some)} loops with {ENOUGH} items"
    hits = sum(_covers(row["right"], row["items"], row["truth"], row["held_out"]) for row in some)
    chance = np.mean([_by_chance(row["right"] + row["truth"], row["items"], row["held_out"]) for row in some])
    low, high = wilson(hits, len(some))
    return f"covered in {hits / len(some):.1%} of {len(some)} loops ({low:.1%} to {high:.1%}), by chance {chance:.1%}"


def _covers(right: int, items: int, truth: int, held_out: int) -> bool:
    low, high = wilson(right, items)
    return low <= truth / held_out <= high


@lru_cache(maxsize=100_000)
def _by_chance(right: int, items: int, held_out: int) -> float:
    """Give the chance that the interval covers, were the ``right`` ones of both parted by chance."""
    found = 0.0
    for here in range(max(0, right - held_out), min(items, right) + 1):
        if _covers(here, items, right - here, held_out):
            ways = _ways(items, here) + _ways(held_out, right - here) - _ways(items + held_out, right)
            found += float(np.exp(ways))
    return found


def _ways(of: int, chosen: int) -> float:
    return lgamma(of + 1) - lgamma(chosen + 1) - lgamma(of - chosen + 1)


def order(ordered: Sequence[Row], at_random: Sequence[Row]) -> dict[str, str]:
    """Compare the order with chance on the same pictures: accuracy after so many labels, and the labels it saves."""
    rounds = [labels for labels, _ in by_round(ordered)]
    seeds = sorted({row["seed"] for row in ordered} & {row["seed"] for row in at_random})
    mine, theirs = (_curves(rows, seeds, rounds) for rows in (ordered, at_random))
    return {
        f"order, {labels} labels": f"{mine[:, at].mean():.3f}, at random {theirs[:, at].mean():.3f}, difference "
        f"{_points(mine[:, at] - theirs[:, at])}; {saved(mine, theirs, np.array(rounds, dtype=np.float64), at)}"
        for at, labels in enumerate(rounds)
    }


def _curves(rows: Sequence[Row], seeds: Sequence[int], rounds: Sequence[int]) -> Floats:
    """Give the true accuracy of each loop's versions: (loops, rounds)."""
    held = {(row["seed"], row["labels"]): row["truth"] / row["held_out"] for row in rows}
    return np.array([[held[seed, labels] for labels in rounds] for seed in seeds])


def saved(ordered: Floats, at_random: Floats, rounds: Floats, at: int, resamples: int = 1000) -> str:
    """Say how many labels fewer the order takes to what chance has in round ``at``, with its bootstrap interval.

    ``ordered`` and ``at_random`` are accuracies, (loops, rounds), of the same loops; ``rounds`` their labels.
    """
    random = np.random.default_rng(0)
    draws = [random.integers(0, len(ordered), len(ordered)) for _ in range(resamples)]
    low, high = np.quantile([_saved(ordered[one], at_random[one], rounds, at) for one in draws], (0.025, 0.975))
    return f"saves {_saved(ordered, at_random, rounds, at):.0f} ({low:.0f} to {high:.0f})"


def _saved(ordered: Floats, at_random: Floats, rounds: Floats, at: int) -> float:
    """Read where the order's curve crosses; beyond its ends nobody knows, and the end itself is taken."""
    curve = np.maximum.accumulate(ordered.mean(axis=0))  # what is reached is not unlearned
    goal = float(at_random.mean(axis=0)[at])
    if goal <= curve[0] or goal > curve[-1]:
        return float(rounds[at] - rounds[0 if goal <= curve[0] else -1])
    after = int(np.argmax(curve >= goal))
    share = (goal - curve[after - 1]) / (curve[after] - curve[after - 1])
    return float(rounds[at] - rounds[after - 1] - share * (rounds[after] - rounds[after - 1]))
