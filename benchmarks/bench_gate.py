"""How often the gate lets a challenger pass that is truly better, equal or worse: its operating characteristic.

``python -m benchmarks.bench_gate`` makes up items of six classes. Each has a difficulty that both versions share, and
each version its own luck, so that two equally good ones disagree on whether they are right on about 9 % of the items,
or on 5 %. Accuracy is what a version would have on items without end; its confidence is the chance it has of being
right. Refits are as many items more, on which both are as good as they are on the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]

from labelloop.run.gate import judge
from labelloop.run.verdict import Conceded, GateRule, Predictions, Refits, Verdict

_CLASSES = tuple("abcdef")
_SHARED = 0.85
"""Share of the variance that is the item's and not the version's: 9 % disagree. With .96 they are 4.6 %."""
_ALIKE = 0.96
_CHAMPION = 0.88
_ITEMS = ((10, 0), (20, 0), (40, 0), (80, 0), (300, 0), (10, 70), (20, 160), (40, 300))
"""Test items, and items that both versions were trained anew without."""
_BETTER = (0.03, 0.01, 0.0, -0.03, -0.05, -0.10)
_RULE = GateRule(resamples=200)


@dataclass
class TestSide:
    """Items: their class and their difficulty; the last ``refits`` of them are no test items."""

    items: int
    random: np.random.Generator
    refits: int = 0
    shared: float = _SHARED
    difficulty: npt.NDArray[np.float64] = field(init=False)
    labels: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.difficulty = self.random.normal(size=self.items + self.refits)
        self.labels = np.arange(self.items + self.refits) % len(_CLASSES)

    def version(self, name: str, accuracy: float, falls: float = 0.0) -> Predictions:
        """Make up what a version predicts; ``falls`` is how much accuracy one class has less and the others more."""
        shift = np.where(self.labels == 0, -falls, falls / (len(_CLASSES) - 1))
        threshold = ndtri(np.clip(accuracy + shift, 0.01, 0.995))
        chance = ndtr((threshold - np.sqrt(self.shared) * self.difficulty) / np.sqrt(1 - self.shared))
        right = self.random.random(len(self.labels)) < chance
        given = np.where(right, self.labels, (self.labels + 1) % len(_CLASSES))
        confidence = np.clip(chance, 0.3, 0.999)
        scores = np.repeat((1 - confidence)[:, None] / (len(_CLASSES) - 1), len(_CLASSES), axis=1)
        scores[np.arange(len(self.labels)), given] = confidence
        return Predictions(name, scores)

    def judge(self, champion: Predictions, challenger: Predictions, conceded: Conceded = Conceded()) -> Verdict:  # noqa: B008
        truth = np.eye(len(_CLASSES), dtype=bool)[self.labels]
        tested = np.arange(len(truth)) < self.items
        more = [side.given("single")[~tested] for side in (champion, challenger)]
        refits = Refits(truth[~tested], *more) if self.refits else ""
        old, new = champion.only(tested), challenger.only(tested)
        return judge(truth[tested], old, new, _CLASSES, "single", _RULE, conceded=conceded, refits=refits)


def promoted(
    items: int, better: float, falls: float = 0.0, times: int = 300, refits: int = 0, shared: float = _SHARED
) -> float:
    """Share of challengers that pass who are truly better by ``better``."""
    random = np.random.default_rng((items, refits, round(1000 * better) + 1000, round(1000 * falls)))
    passed = 0
    for _ in range(times):
        side = TestSide(items, random, refits, shared)
        old, new = side.version("v1", _CHAMPION), side.version("v2", _CHAMPION + better, falls)
        passed += side.judge(old, new).passed
    return passed / times


@dataclass(frozen=True)
class Chain:
    """What became of many chains of contests on the same items: accuracy lost, and how much too high it is measured."""

    lost: float
    too_high: float


def chained(
    items: int, worse: float, rounds: int = 20, times: int = 40, refits: int = 0, *, counted: bool = True
) -> Chain:
    """Let ``rounds`` challengers follow each other, each truly worse by ``worse`` than the champion it meets.

    ``counted`` is the gate as it is; without, every verdict forgets what those before it conceded.
    """
    random, lost, too_high = np.random.default_rng((items, refits)), [], []
    for _ in range(times):
        side, accuracy, conceded = TestSide(items, random, refits), _CHAMPION, Conceded()
        champion = side.version("v1", accuracy)
        for _ in range(rounds):
            challenger = side.version("v2", accuracy - worse)
            verdict = side.judge(champion, challenger, conceded if counted else Conceded())
            if verdict.passed:
                champion, accuracy, conceded = challenger, accuracy - worse, Conceded.read(verdict.numbers)
        right = champion.scores.argmax(axis=1)[:items] == side.labels[:items]
        lost.append(_CHAMPION - accuracy)
        too_high.append(float(right.mean()) - accuracy)
    return Chain(float(np.mean(lost)), float(np.mean(too_high)))


def disagreement(items: int = 100_000, shared: float = _SHARED) -> float:
    """Share of items on which only one of two equally good versions is right."""
    side = TestSide(items, np.random.default_rng(0), shared=shared)
    right = [side.version("v", _CHAMPION).scores.argmax(axis=1) == side.labels for _ in range(2)]
    return float((right[0] != right[1]).mean())


def run() -> Mapping[str, Any]:
    rows: dict[str, Any] = {}
    for shared in (_SHARED, _ALIKE):
        share = f"{100 * disagreement(shared=shared):.0f} %"
        for items, refits in _ITEMS:
            met = f"{items} test items" + (f" and {refits} refitted" if refits else "")
            for better in _BETTER:
                name = f"{met}, disagreeing on {share}, truly better by {better:+.2f}: promoted"
                rows[name] = round(promoted(items, better, refits=refits, shared=shared), 2)
    for items, refits in ((20, 0), (80, 0), (300, 0), (20, 160)):
        met = f"{items} test items" + (f" and {refits} refitted" if refits else "")
        rows[f"{met}, one class 30 points worse, the others better: promoted"] = promoted(items, 0, 0.3, refits=refits)
        chains = chained(items, 0.02, refits=refits), chained(items, 0.02, refits=refits, counted=False)
        rows[f"{met}, accuracy lost after 20 challengers worse by 0.02"] = round(chains[0].lost, 3)
        rows[f"{met}, the same if nothing conceded were counted"] = round(chains[1].lost, 3)
        equal = chained(items, 0.0, refits=refits)
        rows[f"{met}, test accuracy too high after 20 equally good challengers"] = round(equal.too_high, 3)
    return rows


if __name__ == "__main__":
    for what, value in run().items():
        print(f"{what:<90} {value}")
