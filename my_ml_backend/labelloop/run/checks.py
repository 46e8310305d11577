"""The three questions of the gate: accuracy, each class, calibration. Each answers with a reason to reject, or none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from labelloop.run.paired import TOLERANCE, Floats, Paired, compare, gap_interval
from labelloop.run.verdict import Conceded, GateRule, Predictions, Refits
from labelloop.train import metrics
from labelloop.train.intervals import worse
from labelloop.train.metrics import Indicators, correct
from labelloop.types import Choice, Json


@dataclass(frozen=True, slots=True)
class Pair:
    """Champion and challenger on the same test items, ``truth`` (items, classes); ``refits`` answer for more items."""

    truth: Indicators
    champion: Predictions
    challenger: Predictions
    classes: Sequence[str]
    choice: Choice
    rule: GateRule
    seed: int
    refits: Refits | None = None

    def met(self) -> list[Paired]:
        """Compare the versions on the test items, and their refits, where there are any, on the others."""
        old, new = (side.right(self.truth, self.choice) for side in (self.champion, self.challenger))
        found = [compare(old, new, self.rule.confidence)]
        if (more := self.refits) is not None:
            old, new = (correct(more.truth, given) for given in (more.champion, more.challenger))
            found.append(compare(old, new, self.rule.confidence))
        return found

    def shown(self) -> tuple[Indicators, Indicators, Indicators]:
        """Give the truth of all these items and whether each class is right for both: bool, (items, classes) each."""
        old, new = (
            (side.given(self.choice) == self.truth) & side.answered[:, None]
            for side in (self.champion, self.challenger)
        )
        more = self.refits
        if more is None:
            return self.truth, old, new
        truth = np.concatenate((self.truth, more.truth))
        return (
            truth,
            np.concatenate((old, more.champion == more.truth)),
            np.concatenate((new, more.challenger == more.truth)),
        )


@dataclass(frozen=True, slots=True)
class Check:
    """What one question found: ``reasons`` to reject, a ``remark`` for a verdict that passes, and its numbers."""

    reasons: tuple[str, ...] = ()
    remark: str = ""
    numbers: Json = field(default_factory=dict)


def check_accuracy(met: Sequence[Paired], rule: GateRule, conceded: Conceded) -> Check:
    """Reject what is worse beyond chance on all items they ``met`` on: in this contest, or since the best version.

    Small losses do not add up, for what earlier contests let pass counts as evidence in later ones.
    """
    lost, gained, items = (sum(one) for one in zip(*((one.lost, one.gained, one.items) for one in met), strict=True))
    after, p = conceded.after(lost, gained), worse(lost, gained)
    reasons = []
    if p <= rule.error:
        reasons.append(f"it is worse beyond chance: {_test(lost, gained, rule)}")
    elif lost > gained and worse(after.lost, after.gained) <= rule.error:
        told = _test(after.lost, after.gained, rule)
        reasons.append(f"with what passed since the best version it is worse beyond chance: {told}")
    remark = f"it is measured worse, which may be chance: {_test(lost, gained, rule)}" if lost > gained else ""
    decided_by = {"method": "McNemar's mid-p", "items": items, "lost": lost, "gained": gained, "p": p}
    numbers = {"decided_by": decided_by | {"error": rule.error}, **after.numbers(items)}
    return Check(tuple(reasons), "" if reasons else remark, numbers)


def _test(lost: int, gained: int, rule: GateRule) -> str:
    """Tell the test of the items that only one has right."""
    told = f"of {lost + gained} items that only one has right it loses {lost}"
    return f"{told} (McNemar's mid-p test: p = {worse(lost, gained):.2g}, at most {rule.error:g} rejects)"


def check_classes(pair: Pair, *, better: bool) -> Check:
    """Reject where a class with enough items falls by more than the margin, and not by chance.

    Where the whole is ``better``, classes may trade places: it is told and does not decide.
    """
    groups = list(_groups(pair))
    error = pair.rule.error / max(1, len(groups))
    judged = dict(groups)
    fallen = {name: one for name, one in judged.items() if -one.difference > pair.rule.margin + TOLERANCE}
    texts = {name: f"{name} falls from {_share(one)} on {one.items} items" for name, one in fallen.items()}
    proven = [name for name, one in fallen.items() if one.p <= error]
    if not judged:
        remark = f"no class has the {pair.rule.class_items} items to be judged alone"
    else:
        told = [texts[name] if name in proven else f"{texts[name]}, which may be chance" for name in fallen]
        remark = "; ".join(told) or f"no class falls by more than {pair.rule.margin:g}"
        remark += ", where the whole is better" if better and proven else ""
    return Check(
        () if better else tuple(texts[name] for name in proven),
        remark,
        {"classes": {name: one.numbers() for name, one in judged.items()}},
    )


def _groups(pair: Pair) -> Iterator[tuple[str, Paired]]:
    """Compare each class on the items that have it; with choice ``multiple`` also on those that do not.

    Intervals are wider by the number of classes, for among many one looks worse by chance (Bonferroni).
    """
    truth, old, new = pair.shown()
    groups = []
    for at, name in enumerate(pair.classes):
        groups.append((f"class {name}", at, truth[:, at]))
        if pair.choice == "multiple":
            groups.append((f"withholding class {name}", at, ~truth[:, at]))
    groups = [group for group in groups if group[2].sum() >= pair.rule.class_items]
    confidence = 1 - (1 - pair.rule.confidence) / max(1, len(groups))
    for name, at, items in groups:
        yield name, compare(old[items, at], new[items, at], confidence)


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
