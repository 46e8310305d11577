"""Nothing that is worse for certain is promoted: champion and challenger meet on the same items (docs/gate.md)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from labelloop.run.checks import Check, Pair, check_accuracy, check_calibration, check_classes
from labelloop.run.paired import TOLERANCE, Paired, compare
from labelloop.run.verdict import Conceded, GateRule, Predictions, Refits, Verdict
from labelloop.train.intervals import FEW, too_few, wilson
from labelloop.train.metrics import Indicators, accuracy
from labelloop.types import Choice, Json


def judge_first(
    truth: Indicators, challenger: Predictions, learned_from: Indicators, choice: Choice, left_out: int = 0
) -> Verdict:
    """Judge the first version: it must beat answering every test item with what was most frequent in training.

    ``truth`` is (test items, classes), ``learned_from`` (training items, classes), at least one item each.
    ``left_out``: further test items, which the challenger could not be asked about. Raises ValueError where shapes do
    not fit.
    """
    if left_out and len(truth) < FEW:
        return unjudged(challenger.version, "it could be asked about", len(truth), left_out)
    _check_shapes(truth, challenger)
    rows, counts = np.unique(learned_from, axis=0, return_counts=True)
    share = accuracy(truth, np.broadcast_to(rows[counts.argmax()], truth.shape))
    right = int(challenger.right(truth, choice).sum())
    first = against_majority(challenger.version, right, len(truth), share, "the majority class")
    numbers = dict(first.numbers)
    remarks = [*too_few(len(truth)), *_failures(challenger), *_left_out(left_out, numbers)]
    return replace(first, sentence="; ".join([first.sentence, *remarks]), numbers=numbers)


def against_majority(name: str, right: int, items: int, share: float, majority: str) -> Verdict:
    """Judge a first version by the ``items`` it has ``right``: more than the ``share`` that ``majority`` alone has."""
    reached, (low, high) = right / items, wilson(right, items)
    numbers: Json = {"test_items": items, "challenger": reached, "majority": share, "conceded": 0.0}
    numbers |= {"accuracy": {"value": reached, "low": low, "high": high}, "few": items < FEW}
    told = f"{right} of {items} test items right ({reached:.3f}, 95 % interval {low:.3f} to {high:.3f})"
    if reached > share:
        sentence = f"{name} becomes the first champion: {told}, {majority} alone has {share:.3f}"
    else:
        sentence = f"{name} is rejected: {told}, no better than {majority} with {share:.3f}"
    return Verdict(reached > share, sentence, numbers)


def judge_reported(name: str, said: Json, champion: str = "", theirs: float | None = None) -> Verdict:
    """Judge a version by what who trained it says of it, where no test item may be asked about: see docs/trainers.md.

    ``said`` holds ``approval`` (approved, rejected, pending) and, where one is reported, ``accuracy``; ``theirs`` is
    what was reported of the ``champion``, None for one that was judged otherwise.
    """
    own, approval = said.get("accuracy"), said["approval"]
    reported = "no accuracy" if own is None else f"accuracy {own:.3f}"
    told = f"its own pipeline reports {reported}, and it is {approval} there; no test item was asked about"
    if approval == "rejected":
        passed, why = False, "what is rejected there is not promoted"
    elif own is not None and theirs is not None:
        passed, why = own >= theirs, f"{champion} was reported with {theirs:.3f}"
    else:
        passed, why = approval == "approved", "without two reports to compare, its approval there decides"
    verb = "is rejected" if not passed else f"replaces {champion}" if champion else "becomes the first champion"
    numbers: Json = {"test_items": 0, "conceded": 0.0, "reported": own, "approval": approval}
    return Verdict(passed, f"{name} {verb}: {told}; {why}", numbers)


def meet_bootstrap(
    first: Verdict, version: str, bootstrap: str, right: Indicators, theirs: Indicators, answered: Indicators
) -> Verdict:
    """Judge a first version that has passed once more: it must beat the endpoint that has predicted until now, too.

    ``right`` and ``theirs`` tell what it and the ``bootstrap`` endpoint have right, ``answered`` what that one answered
    at all: bool, (items,) each. Only those items count; where they are a part that is too small, the verdict stands.
    """
    count = int(answered.sum())
    if not count or count < min(FEW, len(answered)):
        why = f"{bootstrap} answered {count} of {len(answered)} test items, too few for it to be compared with"
        return replace(first, sentence=f"{first.sentence}; {why}")
    confidence = GateRule().confidence
    paired = compare(theirs[answered], right[answered], confidence)
    passed, left_out = paired.after > paired.before, len(answered) - count
    told = paired.told(bootstrap, version, confidence, rejected=not passed)
    told += [f"{left_out} test items that {bootstrap} did not answer do not count there"] if left_out else []
    told += [first.sentence] if passed else [f"{bootstrap} predicts until a version beats it", *too_few(count)]
    numbers = first.numbers | {"bootstrap": {"version": bootstrap, **paired.numbers()}}
    return Verdict(passed, "; ".join(told), numbers)


def judge(
    truth: Indicators,
    champion: Predictions,
    challenger: Predictions,
    classes: Sequence[str],
    choice: Choice,
    rule: GateRule,
    seed: int = 0,
    conceded: Conceded = Conceded(),  # noqa: B008 - frozen
    left_out: int = 0,
    refits: Refits | str = "",
) -> Verdict:
    """Judge a challenger: not worse in accuracy, no class fallen, calibration not worse.

    ``truth`` is (items, classes), at least one item. ``conceded`` is what the champion's own verdict noted: what was
    let go since the best version. ``left_out``: further test items, which the challenger could not be asked about. Only
    items that both were asked about count. ``refits`` answer for items that the versions learned from; a text says why
    there are none. The same arguments give the same verdict, in whatever order the items come. Raises ValueError where
    shapes do not fit.
    """
    if champion.asked is not None:
        asked = champion.asked
        left_out += int((~asked).sum())
        truth, champion, challenger = truth[asked], champion.only(asked), challenger.only(asked)
    if left_out and len(truth) < FEW:
        both = f"both it and {champion.version} could be asked about"
        return unjudged(challenger.version, both, len(truth), left_out)
    for side in (champion, challenger):
        _check_shapes(truth, side)
    pair = Pair(truth, champion, challenger, classes, choice, rule, seed, None if isinstance(refits, str) else refits)
    met = pair.met()
    better = sum(one.gained - one.lost for one in met) > 0
    checks = (check_accuracy(met, rule, conceded), check_classes(pair, better=better), check_calibration(pair))
    numbers = _numbers(met, checks) | {"seed": seed}
    told = [*_refitted(met, refits), *_left_out(left_out, numbers)]
    return Verdict(
        passed=not any(check.reasons for check in checks),
        sentence="; ".join([*_sentence(pair, met, checks), *told]),
        numbers=numbers,
    )


def require_f1(verdict: Verdict, name: str, measured: Json, least: float) -> Verdict:
    """Reject a version whose macro F1 on the test side is below ``least``; 0 asks nothing.

    ``measured`` is its ``metrics.json``. Where that has no macro F1, the rule says that it cannot be applied.
    """
    if not least:
        return verdict
    reached = macro_f1(measured)
    numbers = verdict.numbers | {"macro_f1": {"value": reached, "least": least}}
    if reached is None:
        told = f"{verdict.sentence}; LABELLOOP_MINIMUM_F1 is not applied, for no macro F1 was measured"
        return replace(verdict, sentence=told, numbers=numbers)
    asked = f"LABELLOOP_MINIMUM_F1 asks for {least:g}"
    met = f"macro F1 {reached:.3f} on {measured['items']} test items"
    if reached >= least:
        return replace(verdict, sentence=f"{verdict.sentence}; {met}, and {asked}", numbers=numbers)
    if verdict.passed:
        sentence = f"{name} is rejected: {met}, but {asked}; without that rule, {verdict.sentence}"
    else:
        sentence = f"{verdict.sentence}; {met}, but {asked}"
    return replace(verdict, passed=False, sentence=sentence, numbers=numbers)


def require_as_good(verdict: Verdict, name: str, champion: str, recipe: str) -> Verdict:
    """Reject a quick recipe's version that is measured worse than a ``champion`` of a ``recipe`` that takes longer.

    That was trained once, and heads are trained again and again: what may be chance each time would not be in the end.
    """
    before, after = (verdict.numbers.get(side) for side in ("champion", "challenger"))
    if before is None or after is None:
        return verdict
    numbers = verdict.numbers | {"as_good": {"champion": before, "challenger": after, "recipe": recipe}}
    if not verdict.passed or after >= before - TOLERANCE:
        return replace(verdict, numbers=numbers)
    sentence = (
        f"{name} is rejected: with {after:.3f} on the test items it is measured worse than {champion} with "
        f"{before:.3f}, and in the place of a {recipe} it is to be as good; without that rule, {verdict.sentence}"
    )
    return replace(verdict, passed=False, sentence=sentence, numbers=numbers)


_MANY = 10
"""Versions from which on the sentence says that the same test side has judged so many."""


def told_contests(verdict: Verdict, judged: int) -> Verdict:
    """Say how many versions the test side has ``judged`` before: what it has chosen, it measures too well."""
    numbers = verdict.numbers | {"judged_before": judged}
    if judged < _MANY:
        return replace(verdict, numbers=numbers)
    told = f"the test side has judged {judged} versions before, and measures somewhat too well what it let pass"
    return replace(verdict, sentence=f"{verdict.sentence}; {told}", numbers=numbers)


def macro_f1(measured: Json) -> float | None:
    """Read the macro F1 of a version's ``metrics.json``; None where none was measured."""
    value = ((measured.get("macro") or {}).get("f1") or {}).get("value")
    return None if value is None else float(value)


def unjudged(name: str, known: str, met: int, left_out: int) -> Verdict:
    """Leave a version unjudged where a part of the test items is known of it that is too small; ``known`` says how.

    All there are may be as few: those nobody has chosen.
    """
    sentence = (
        f"{name} cannot be judged: kept, not promoted; {known} {met} of {met + left_out} test items, and {FEW} are "
        "needed where it is not all of them"
    )
    numbers: Json = {"test_items": met, "left_out": left_out, "few": True, "conceded": 0.0}
    return Verdict(False, sentence, numbers)


def _left_out(count: int, numbers: Json) -> list[str]:
    """Say, and note among the numbers, how many test items do not count."""
    if not count:
        return []
    numbers["left_out"] = count
    return [f"{count} test items that not both could be asked about do not count"]


def _sentence(pair: Pair, met: Sequence[Paired], checks: Sequence[Check]) -> list[str]:
    champion, challenger = pair.champion.version, pair.challenger.version
    reasons = [reason for check in checks for reason in check.reasons]
    told = met[0].told(champion, challenger, pair.rule.confidence, rejected=bool(reasons))
    remarks = reasons or [check.remark for check in checks if check.remark]
    return [*told, *remarks, *too_few(sum(one.items for one in met)), *_failures(pair.challenger)]


def _refitted(met: Sequence[Paired], refits: Refits | str) -> list[str]:
    """Say what refits gave, or why the test items decided alone."""
    if isinstance(refits, str):
        return [f"the test items decide alone: {refits}"] if refits else []
    one = met[1]
    told = f"{one.after} of {one.items} items right that both learned from, against {one.before}"
    return [f"refits that had not seen them have {told}"]


def _numbers(met: Sequence[Paired], checks: Sequence[Check]) -> Json:
    """Give the numbers of the test items first, as earlier releases read them."""
    shares = met[0].numbers()
    numbers: Json = {"test_items": shares.pop("items"), **shares, "few": met[0].items < FEW}
    if len(met) > 1:
        numbers["refits"] = met[1].numbers()
    for check in checks:
        numbers |= check.numbers
    return numbers


def _failures(predictions: Predictions) -> list[str]:
    failed = int((~predictions.answered).sum())
    return [f"{failed} predictions of {predictions.version} failed and count as wrong"] if failed else []


def _check_shapes(truth: Indicators, predictions: Predictions) -> None:
    if not len(truth):
        raise ValueError("there are no test items to judge on")
    if predictions.scores.shape != truth.shape:
        raise ValueError(
            f"{predictions.version} has scores of shape {predictions.scores.shape}, the truth is {truth.shape}"
        )
