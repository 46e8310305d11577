"""How often the gate lets a challenger pass that is truly better, equal or worse: its operating characteristic.

``python -m benchmarks.bench_gate`` makes up test items of six classes. Each has a difficulty that both versions share,
and each version its own luck, so that two equally good ones disagree on whether they are right on about 9 % of the
items. Accuracy is what a version would have on items without end; its confidence is the chance it has of being right.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]

from labelloop.run.gate import judge
from labelloop.run.verdict import GateRule, Predictions, Verdict

_CLASSES = tuple("abcdef")
_SHARED = 0.85
"""Share of the variance that is the item's and not the version's."""
_CHAMPION = 0.88
_ITEMS = (16, 27, 60, 300)
_BETTER = (0.03, 0.0, -0.02, -0.05, -0.10)
_RULE = GateRule()


@dataclass
class TestSide:
    """Test items: their class and their difficulty."""

    items: int
    random: np.random.Generator
    difficulty: npt.NDArray[np.float64] = field(init=False)
    labels: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.difficulty = self.random.normal(size=self.items)
        self.labels = np.arange(self.items) % len(_CLASSES)

    def version(self, name: str, accuracy: float, falls: float = 0.0) -> Predictions:
        """Make up what a version predicts; ``falls`` is how much accuracy one class has less and the others more."""
        shift = np.where(self.labels == 0, -falls, falls / (len(_CLASSES) - 1))
        threshold = ndtri(np.clip(accuracy + shift, 0.01, 0.995))
        chance = ndtr((threshold - np.sqrt(_SHARED) * self.difficulty) / np.sqrt(1 - _SHARED))
        right = self.random.random(self.items) < chance
        given = np.where(right, self.labels, (self.labels + 1) % len(_CLASSES))
        confidence = np.clip(chance, 0.3, 0.999)
        scores = np.repeat((1 - confidence)[:, None] / (len(_CLASSES) - 1), len(_CLASSES), axis=1)
        scores[np.arange(self.items), given] = confidence
        return Predictions(name, scores)

    def judge(self, champion: Predictions, challenger: Predictions, conceded: float = 0.0) -> Verdict:
        truth = np.eye(len(_CLASSES), dtype=bool)[self.labels]
        return judge(truth, champion, challenger, _CLASSES, "single", _RULE, conceded=conceded)


def promoted(items: int, better: float, falls: float = 0.0, times: int = 400) -> float:
    """Share of challengers that pass who are truly better by ``better``."""
    random = np.random.default_rng((items, round(1000 * better) + 1000, round(1000 * falls)))
    passed = 0
    for _ in range(times):
        side = TestSide(items, random)
        old, new = side.version("v1", _CHAMPION), side.version("v2", _CHAMPION + better, falls)
        passed += side.judge(old, new).passed
    return passed / times


def eroded(items: int, rounds: int = 20, times: int = 40, *, counted: bool = True) -> float:
    """Accuracy lost in the mean when each of ``rounds`` challengers is truly worse than the champion by two points.

    ``counted`` is the gate as it is; without, every verdict forgets what those before it conceded.
    """
    random, lost = np.random.default_rng(items), []
    for _ in range(times):
        side, accuracy, conceded = TestSide(items, random), _CHAMPION, 0.0
        champion = side.version("v1", accuracy)
        for _ in range(rounds):
            challenger = side.version("v2", accuracy - 0.02)
            verdict = side.judge(champion, challenger, conceded if counted else 0.0)
            if verdict.passed:
                champion, accuracy, conceded = challenger, accuracy - 0.02, verdict.numbers["conceded"]
        lost.append(_CHAMPION - accuracy)
    return float(np.mean(lost))


def disagreement(items: int = 100_000) -> float:
    """Share of items on which only one of two equally good versions is right."""
    side = TestSide(items, np.random.default_rng(0))
    right = [side.version("v", _CHAMPION).scores.argmax(axis=1) == side.labels for _ in range(2)]
    return float((right[0] != right[1]).mean())


def run() -> Mapping[str, Any]:
    rows: dict[str, Any] = {"two equally good versions disagree on": round(disagreement(), 3)}
    for items in _ITEMS:
        for better in _BETTER:
            rows[f"{items} items, truly better by {better:+.2f}: promoted"] = round(promoted(items, better), 2)
        rows[f"{items} items, one class 30 points worse, the others better: promoted"] = round(
            promoted(items, 0, 0.3), 2
        )
        rows[f"{items} items, accuracy lost after 20 challengers worse by 0.02"] = round(eroded(items), 3)
        rows[f"{items} items, the same if nothing conceded were counted"] = round(eroded(items, counted=False), 3)
    return rows


if __name__ == "__main__":
    for what, value in run().items():
        print(f"{what:<80} {value}")
