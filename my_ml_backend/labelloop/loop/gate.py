"""Nothing worse is promoted: champion and challenger meet on the same test items."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

Labels = tuple[str, ...]

_ENOUGH = 10
"""Test items that a class needs before its own accuracy counts; with fewer, one picture would decide."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the challenger may replace the champion, in one sentence and in numbers."""

    passed: bool
    sentence: str
    numbers: dict[str, float] = field(default_factory=dict)


def judge_first(
    truth: Sequence[Labels], challenger: Sequence[Labels], learned_from: Sequence[Labels], name: str
) -> Verdict:
    """Judge the first version: it must beat answering every test item with what was most frequent in training.

    ``truth`` and ``challenger`` hold the sorted labels of each test item, ``learned_from`` those of each training
    item; at least one each.
    """
    majority, _ = Counter(learned_from).most_common(1)[0]
    share, accuracy = _accuracy(truth, [majority] * len(truth)), _accuracy(truth, challenger)
    numbers = {"test_items": len(truth), "challenger": accuracy, "majority": share}
    right = f"{_count(truth, challenger)} of {len(truth)} test items right ({accuracy:.3f})"
    if accuracy > share:
        return Verdict(
            True, f"{name} becomes the first champion: {right}, the majority class alone has {share:.3f}", numbers
        )
    return Verdict(False, f"{name} is rejected: {right}, no better than the majority class with {share:.3f}", numbers)


def judge(
    truth: Sequence[Labels],
    champion: Sequence[Labels],
    challenger: Sequence[Labels],
    names: tuple[str, str],
    margin: float,
) -> Verdict:
    """Judge a challenger: not lower in accuracy, and no class with ten test items falls by more than ``margin``.

    ``names`` are champion's and challenger's. An item is right when all its labels are; an item counts for each of its
    true labels.
    """
    old, new = _accuracy(truth, champion), _accuracy(truth, challenger)
    numbers = {"test_items": len(truth), "champion": old, "challenger": new}
    met = (
        f"{_count(truth, challenger)} of {len(truth)} test items right ({new:.3f}) "
        f"against {_count(truth, champion)} ({old:.3f}) of {names[0]}"
    )
    if new < old:
        return Verdict(False, f"{names[1]} is rejected: {met}", numbers)
    fallen = [
        text
        for label in sorted({one for labels in truth for one in labels})
        if (text := _fall(label, truth, champion, challenger, margin))
    ]
    if fallen:
        return Verdict(False, f"{names[1]} is rejected: {met}, but {'; '.join(fallen)}", numbers)
    return Verdict(True, f"{names[1]} replaces {names[0]}: {met}, and no class falls by more than {margin:g}", numbers)


def _fall(
    label: str, truth: Sequence[Labels], champion: Sequence[Labels], challenger: Sequence[Labels], margin: float
) -> str:
    held = [
        (label in old, label in new)
        for labels, old, new in zip(truth, champion, challenger, strict=True)
        if label in labels
    ]
    if len(held) < _ENOUGH:
        return ""
    before, after = (sum(side) / len(held) for side in zip(*held, strict=True))
    # Shares of a few dozen items are exact in decimals; the tolerance is for their binary form.
    if before - after <= margin + 1e-9:
        return ""
    return f"class {label} falls from {before:.3f} to {after:.3f} on {len(held)} items"


def _count(truth: Sequence[Labels], predicted: Sequence[Labels]) -> int:
    return sum(set(one) == set(other) for one, other in zip(truth, predicted, strict=True))


def _accuracy(truth: Sequence[Labels], predicted: Sequence[Labels]) -> float:
    return _count(truth, predicted) / len(truth)
