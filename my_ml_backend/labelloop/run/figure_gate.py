"""The gate of kinds that find regions: versions meet by a figure of the whole on the same items (docs/gate.md)."""

from dataclasses import replace

import numpy as np

from labelloop.run.finders import Contest, Ends, Finder, Passed
from labelloop.run.gate import unjudged
from labelloop.run.paired import TOLERANCE
from labelloop.run.verdict import Verdict
from labelloop.train.intervals import FEW, too_few
from labelloop.types import Json

_FIRST_MUST_BEAT = 0.0
"""What finding nothing reaches, by F1 as by average precision."""


def judge_first(name: str, version: Finder, interval: Ends, left_out: int = 0) -> Verdict:
    """Judge the first version: it must beat finding nothing. ``interval`` bounds its figure, called ``name``.

    ``left_out``: further test items, which it could not be asked about.
    """
    if not version.items or (left_out and version.items < FEW):
        return unjudged(version.version, "it could be asked about", version.items, left_out)
    if np.isnan(version.value):
        return _nothing_true(version, left_out)
    passed = version.value > _FIRST_MUST_BEAT
    told = f"{name} {version.value:.3f}{_bounds(interval)} on {version.items} test items: {version.told()}"
    beaten = "finding nothing has 0" if passed else "no better than finding nothing"
    opening = "becomes the first champion" if passed else "is rejected"
    sentence = f"{version.version} {opening}: {told}; {beaten}"
    numbers: Json = {"test_items": version.items, "figure": name, "challenger": version.value, "conceded": 0.0}
    numbers |= {"majority": _FIRST_MUST_BEAT, "regions": {"challenger": version.numbers()}, "few": version.items < FEW}
    remarks = [*too_few(version.items), *_failures(version), *_left_out(left_out, numbers)]
    return Verdict(passed, "; ".join([sentence, *remarks]), numbers)


def meet_bootstrap(first: Verdict, contest: Contest, asked: int) -> Verdict:
    """Judge a first version that has passed once more: it must beat the endpoint that has predicted until now, too.

    The ``contest`` is on the items that the endpoint answered, of those that it was ``asked`` about; where they are too
    few, the verdict stands.
    """
    bootstrap, count = contest.champion.version, contest.champion.items
    if not count or count < min(FEW, asked) or np.isnan(contest.difference):
        why = f"{bootstrap} answered {count} of {asked} test items, too few for it to be compared with"
        return replace(first, sentence=f"{first.sentence}; {why}")
    passed = contest.difference > 0
    told = _met(contest, rejected=not passed)
    told += [f"{asked - count} test items that {bootstrap} did not answer do not count there"] if asked > count else []
    told += [first.sentence] if passed else [f"{bootstrap} predicts until a version beats it", *too_few(count)]
    numbers = first.numbers | {"bootstrap": {"version": bootstrap, "items": count, **_shares(contest)}}
    return Verdict(passed, "; ".join(told), numbers)


def judge(contest: Contest, since: Passed, left_out: int = 0) -> Verdict:
    """Judge a challenger: its figure not worse beyond chance, here or since the best version, and no label fallen.

    ``since`` is what the champion's own verdict noted. ``left_out``: further test items, which not both could be asked
    about. The same arguments give the same verdict.
    """
    challenger, count = contest.challenger, contest.challenger.items
    if not count or (left_out and count < FEW):
        return unjudged(
            challenger.version, f"both it and {contest.champion.version} could be asked about", count, left_out
        )
    if np.isnan(contest.difference):
        return _nothing_true(challenger, left_out)
    reasons, remark, numbers = _whole(contest, since)
    fallen, told, labels = _labels(contest)
    found = [*reasons, *fallen]
    parts = [*_met(contest, rejected=bool(found)), *(found or [one for one in (remark, told) if one])]
    numbers = {"test_items": count, **_shares(contest), "few": count < FEW, **numbers, **labels, "seed": contest.seed}
    parts += [*too_few(count), *_failures(challenger), *_left_out(left_out, numbers)]
    return Verdict(not found, "; ".join(parts), numbers)


def _whole(contest: Contest, since: Passed) -> tuple[list[str], str, Json]:
    """Judge the whole: reasons to reject, a remark where there are none, and numbers."""
    difference, p, error = contest.difference, contest.p, contest.rule.error
    total = since.after(contest)
    in_all = total.p(contest.champion.items)
    reasons, remark = [], ""
    if difference < -TOLERANCE and p <= error:
        reasons.append(f"it is worse beyond chance: {_test(p, error)}")
    elif difference < -TOLERANCE and in_all <= error:
        told = f"{total.difference:+.3f} in all, p = {in_all:.2g}, at most {error:g} rejects"
        reasons.append(f"with what passed since the best version it is worse beyond chance: {told}")
    elif difference < -TOLERANCE:
        remark = f"it is measured worse, which may be chance: {_test(p, error)}"
    decided_by = {"method": "paired bootstrap", "items": contest.champion.items, "p": p, "error": error}
    return reasons, remark, {"decided_by": decided_by, **total.numbers()}


def _test(p: float, error: float) -> str:
    return f"paired bootstrap of the items, p = {p:.2g}, at most {error:g} rejects"


def _labels(contest: Contest) -> tuple[list[str], str, Json]:
    """Judge each label: reasons to reject, a remark, and numbers; where the whole is better, none decides."""
    judged, margin = list(contest.labels()), contest.rule.margin
    error = contest.rule.error / max(1, len(judged))
    better, reasons, told = contest.difference > TOLERANCE, list[str](), list[str]()
    numbers: Json = {}
    for name, items, before, after, p, (low, high) in judged:
        key = f"class {name}"
        difference = {"value": after - before, "low": low, "high": high}
        numbers[key] = {"items": items, "champion": before, "challenger": after, "difference": difference}
        if before - after > margin + TOLERANCE:
            text = f"{key} falls from {before:.3f} to {after:.3f} on {items} items"
            proven = p <= error
            reasons += [text] if proven and not better else []
            told.append(f"{text}, where the whole is better" if proven else f"{text}, which may be chance")
    if not judged:
        told.append(f"no class has the {contest.rule.class_items} items to be judged alone")
    return reasons, "; ".join(told) or f"no class falls by more than {margin:g}", {"classes": numbers}


def _met(contest: Contest, *, rejected: bool) -> list[str]:
    """Say how the two met, as the beginning of a verdict's sentence: part by part."""
    champion, challenger = contest.champion, contest.challenger
    opening = f"{challenger.version} is rejected" if rejected else f"{challenger.version} replaces {champion.version}"
    reached = f"{contest.name} {challenger.value:.3f} on {challenger.items} test items"
    return [
        f"{opening}: {reached} against {champion.value:.3f} of {champion.version}",
        f"difference {contest.difference:+.3f}{_between(contest.interval(), contest.rule.confidence)}",
        f"{challenger.told()}, against {', '.join(map(str, champion.regions))}",
    ]


def _shares(contest: Contest) -> Json:
    low, high = contest.interval()
    sides = {"champion": contest.champion, "challenger": contest.challenger}
    return {
        "figure": contest.name,
        **{name: side.value for name, side in sides.items()},
        "difference": {"value": contest.difference, "low": low, "high": high},
        "regions": {name: side.numbers() for name, side in sides.items()},
    }


def _nothing_true(version: Finder, left_out: int) -> Verdict:
    """Leave a version unjudged where no test item has anything to be found."""
    numbers: Json = {"test_items": version.items, "few": True, "conceded": 0.0} | (
        {"left_out": left_out} if left_out else {}
    )
    told = f"none of the {version.items} test items has a region, so nothing shows what it finds: label more"
    return Verdict(False, f"{version.version} cannot be judged: kept, not promoted; {told}", numbers)


def _failures(version: Finder) -> list[str]:
    return [f"{version.failed} predictions of {version.version} failed and found nothing"] if version.failed else []


def _left_out(count: int, numbers: Json) -> list[str]:
    if not count:
        return []
    numbers["left_out"] = count
    return [f"{count} test items that not both could be asked about do not count"]


def _bounds(interval: Ends) -> str:
    low, high = interval
    return "" if low is None or high is None else f" (95 % interval {low:.3f} to {high:.3f})"


def _between(interval: Ends, confidence: float) -> str:
    low, high = interval
    return "" if low is None or high is None else f", {confidence * 100:g} % interval [{low:+.3f}, {high:+.3f}]"
