"""The three questions of the gate: accuracy, each class, calibration. Each answers with a reason to reject, or none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from labelloop.run.paired import TOLERANCE, Floats, Paired, compare, gap_interval
from labelloop.run.verdict import GateRule, Predictions
from labelloop.train import metrics
from labelloop.train.intervals import mcnemar
from labelloop.train.metrics import Indicators
from labelloop.types import Choice, Json


@dataclass(frozen=True, slots=True)
class Pair:
    """Champion and challenger on the same test items: ``truth`` is (items, classes)."""

    truth: Indicators
    champion: Predictions
    challenger: Predictions
    classes: Sequence[str]
    choice: Choice
    rule: GateRule
    seed: int


@dataclass(frozen=True, slots=True)
class Check:
    """What one question found: ``reasons`` to reject, a ``remark`` for a verdict that passes, and its numbers."""

    reasons: tuple[str, ...] = ()
    remark: str = ""
    numbers: Json = field(default_factory=dict)


def check_accuracy(paired: Paired, rule: GateRule, conceded: float) -> Check:
    """Reject what is proven worse, and what loses more than ``rule.loss``, one item and chance would.

    ``conceded`` is what earlier verdicts let pass since the best version: it counts as lost already, so that small
    losses do not add up.
    """
    allowed = max(rule.loss, 1 / paired.items, paired.noise)
    lost, reasons = -paired.difference, []
    if paired.proven_worse:
        reasons.append(_proof(paired))
    elif lost > 0 and lost + conceded > allowed + TOLERANCE:
        before = f" on top of {conceded:.3f} conceded since the best version" if conceded else ""
        reasons.append(f"it loses {lost:.3f}{before} where at most {allowed:.3f} is allowed")
    numbers = {"allowed": allowed, "conceded": max(0.0, lost + conceded), "p": mcnemar(paired.lost, paired.gained)}
    return Check(tuple(reasons), "" if reasons or lost <= 0 else _let_pass(paired, allowed), numbers)


def _proof(paired: Paired) -> str:
    """Say what proves a challenger worse; where the interval that is shown does not, name the one that decides."""
    if paired.shown[1] < 0:
        return "the whole interval lies below zero"
    return f"the bootstrap's interval [{paired.low:+.3f}, {paired.high:+.3f}] decides, and lies below zero"


def _let_pass(paired: Paired, allowed: float) -> str:
    """Say why a challenger that was measured worse is not rejected for it."""
    measured = f"it is measured {-paired.difference:.3f} worse"
    test = f"McNemar's exact test: p = {mcnemar(paired.lost, paired.gained):.2g}"
    if paired.shown[1] < 0:
        decides = f"the bootstrap's interval [{paired.low:+.3f}, {paired.high:+.3f}] decides, and reaches zero"
        return f"{measured} ({test}); {decides}, and up to {allowed:.3f} may be lost, so it passes"
    chance = f"which on {paired.items} test items may be chance ({test})"
    return f"{measured}, {chance}, and up to {allowed:.3f} may be lost, so it passes"


def check_classes(pair: Pair) -> Check:
    """Reject where a class with enough test items falls by more than the margin, and not by chance."""
    judged = dict(_class_pairs(pair))
    fallen = {name: one for name, one in judged.items() if -one.difference > pair.rule.margin + TOLERANCE}
    texts = {name: f"{name} falls from {_share(one)} on {one.items} items" for name, one in fallen.items()}
    chance = [f"{texts[name]}, which may be chance" for name, one in fallen.items() if not one.proven_worse]
    if not judged:
        remark = f"no class has the {pair.rule.class_items} test items to be judged alone"
    else:
        remark = "; ".join(chance) or f"no class falls by more than {pair.rule.margin:g}"
    return Check(
        tuple(texts[name] for name, one in fallen.items() if one.proven_worse),
        remark,
        {"classes": {name: one.numbers() for name, one in judged.items()}},
    )


def _class_pairs(pair: Pair) -> Iterator[tuple[str, Paired]]:
    """Compare each class on the items that have it; with choice ``multiple`` also on those that do not.

    The chance of rejecting for nothing is shared among the classes (Bonferroni), or many classes would mean a fall
    somewhere.
    """
    rule, groups = pair.rule, list(_groups(pair))
    confidence = 1 - (1 - rule.confidence) / max(1, len(groups))
    sides = [(side, side.given(pair.choice)) for side in (pair.champion, pair.challenger)]
    for name, at, shown, items in groups:
        old, new = (((given[:, at] == shown) & side.answered)[items] for side, given in sides)
        yield name, compare(old, new, confidence)


def _groups(pair: Pair) -> Iterator[tuple[str, int, bool, Indicators]]:
    for at, name in enumerate(pair.classes):
        has = pair.truth[:, at]
        if has.sum() >= pair.rule.class_items:
            yield f"class {name}", at, True, has
        if pair.choice == "multiple" and (~has).sum() >= pair.rule.class_items:
            yield f"withholding class {name}", at, False, ~has


def check_calibration(pair: Pair) -> Check:
    """Reject where the calibration error rises by more than the rule allows, and not by chance."""
    both = pair.champion.answered & pair.challenger.answered
    rule = pair.rule
    if both.sum() < rule.calibration_items:
        return Check()
    old, new = (_gaps(pair.truth[both], side.scores[both], pair.choice) for side in (pair.champion, pair.challenger))
    before, after = (float(np.abs(gaps.mean(axis=0)).sum()) for gaps in (old, new))
    low, high = gap_interval(old, new, rule.confidence, rule.resamples, pair.seed)
    text = f"calibration error {after:.3f} against {before:.3f}"
    worse = after - before > rule.calibration + TOLERANCE and low > 0
    # Draws that all give the same say nothing of chance.
    ends = (low, high) if high - low > TOLERANCE else (None, None)
    difference = {"value": after - before, "low": ends[0], "high": ends[1]}
    return Check(
        (f"{text} is worse by more than {rule.calibration:g}",) if worse else (),
        text,
        {"calibration": {"champion": before, "challenger": after, "difference": difference}},
    )


def _gaps(truth: Indicators, scores: Floats, choice: Choice) -> Floats:
    """Give each item's confidence less what came true, in the columns of its bins: (items, bins)."""
    bins = metrics.bins(truth, scores, choice)
    gaps: Floats = (bins.confidence - bins.right) / bins.count.sum(axis=1, keepdims=True)
    return gaps


def _share(one: Paired) -> str:
    return f"{one.before / one.items:.3f} to {one.after / one.items:.3f}"
