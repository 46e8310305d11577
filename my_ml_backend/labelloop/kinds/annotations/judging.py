"""How many test items are answered right, and whether a version may replace another by that."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.data.split import splits
from labelloop.errors import LabelConfigError, SettingsError, StoreError
from labelloop.kinds.annotations.compare import is_right
from labelloop.run.checks import check_accuracy
from labelloop.run.context import Context, write_json
from labelloop.run.gate import meet_bootstrap
from labelloop.run.opponent import Opponent, VersionOpponent
from labelloop.run.paired import compare
from labelloop.run.verdict import GateRule, Verdict
from labelloop.train.proportions import FEW, too_few, wilson
from labelloop.types import Answer, Failure, Item, Json, NotAsked, Shown

_WRONG, _RIGHT, _UNTOLD, _UNASKED = 0, 1, -1, -2

Marks = npt.NDArray[np.int8]
"""One mark per item: right (1), wrong (0), one that nobody can tell of (-1), one that nobody was asked about (-2)."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of items: ``marks`` (items,), how many answers failed, and why the first of them did."""

    marks: Marks
    failed: int = 0
    reason: str = ""


def compared(context: Context, by: Opponent, items: Sequence[Item]) -> Compared:
    """Let somebody answer items, and compare with their truth what an annotator would get.

    An answer that failed, or that cannot be shown, is wrong. Raises BundleError.
    """
    marks = np.full(len(items), _UNASKED, dtype=np.int8)
    failed, reason = 0, ""
    for at, (item, answer) in enumerate(zip(items, by.answers(context, items), strict=True)):
        truth = json.loads(item.result or "[]")
        if isinstance(answer, NotAsked):
            continue
        shown = _shown(context, answer, item)
        right = is_right(truth, [] if isinstance(shown, Failure) else shown)
        if right is None:
            marks[at] = _UNTOLD
        elif isinstance(shown, Failure):
            marks[at], failed, reason = _WRONG, failed + 1, reason or shown.reason
        else:
            marks[at] = _RIGHT if right else _WRONG
    return Compared(marks, failed, reason)


def _shown(context: Context, answer: Answer | Shown | Failure, item: Item) -> Sequence[Json] | Failure:
    if isinstance(answer, Failure):
        return answer
    if isinstance(answer, Shown):
        return answer.results
    if context.render is None:
        raise SettingsError("nobody says how answers are shown in Label Studio: make this run by `labelloop retrain`")
    try:
        return context.render(answer, item)
    except LabelConfigError as error:
        return Failure(str(error))


def measure(context: Context) -> None:
    """Write ``metrics.json`` and ``predictions.npz``; where there is no item to measure on, metrics of nothing."""
    items = tuple(splits(context.manifest, context.named_sides)["test"])
    found = compared(context, VersionOpponent("the new model", context.folder.bundle), items)
    _write(context.folder.predictions, items, found.marks)
    count, right = int((found.marks >= 0).sum()), int((found.marks == _RIGHT).sum())
    write_json(context.folder.metrics, _metrics(context, found, count, right) if count else {})


def _metrics(context: Context, found: Compared, count: int, right: int) -> Json:
    low, high = wilson(right, count)
    return {
        "items": count,
        "failed": found.failed,
        "reason": found.reason,
        "untold": int((found.marks == _UNTOLD).sum()),
        "unasked": int((found.marks == _UNASKED).sum()),
        "few": count < FEW,
        "kind": context.manifest.choice,
        "classes": list(context.manifest.classes),
        "accuracy": {"value": right / count, "low": low, "high": high},
    }


def judge(context: Context, name: str, opponent: Opponent | None) -> Verdict:
    """Judge what was measured, as version ``name``, on the test items of which there is a mark for both.

    The first version must be right on more of them than what annotators say most often would be.
    """
    sides = splits(context.manifest, context.named_sides)
    items = tuple(sides["test"])
    after = _read(context.folder.predictions, items)
    if opponent is None or opponent.record is None:
        first = _unjudged(name, after) or _first(name, after, items, sides["train"])
        if opponent is None or not first.passed:
            # Nobody is asked, and paid, where that changes nothing.
            return first
        own, theirs = after[after >= 0], compared(context, opponent, items).marks[after >= 0]
        return meet_bootstrap(first, name, opponent.name, own == _RIGHT, theirs == _RIGHT, theirs >= 0)
    before = compared(context, opponent, items).marks
    conceded = float(opponent.record.metrics.get("gate", {}).get("conceded", 0.0))
    return _unjudged(name, np.minimum(before, after), opponent.name, conceded) or _against(
        name, opponent.name, before, after, GateRule(margin=context.settings.gate_margin), conceded
    )


def _unjudged(name: str, marks: Marks, champion: str = "", conceded: float = 0.0) -> Verdict | None:
    """Leave a version unjudged where only a part of the test items counts, and that is too small."""
    met, items = int((marks >= 0).sum()), len(marks)
    if met and (met == items or met >= FEW):
        return None
    against = f" with {champion}" if champion else ""
    sentence = (
        f"{name} cannot be judged: kept, not promoted; it can be compared{against} on {met} of {items} test items, and "
        f"{FEW} are needed where it is not all of them"
    )
    numbers: Json = {"test_items": met, "left_out": items - met, "few": True, "conceded": conceded}
    return Verdict(False, "; ".join([sentence, *_left_out(marks)]), numbers)


def _left_out(marks: Marks) -> list[str]:
    """Say which test items do not count."""
    untold, unasked = int((marks == _UNTOLD).sum()), int((marks == _UNASKED).sum())
    told = f"{untold} test items cannot be compared (masks, polygons, key points)" if untold else ""
    asked = f"{unasked} test items that nobody could be asked about do not count" if unasked else ""
    return [part for part in (told, asked) if part]


def _first(name: str, marks: Marks, items: Sequence[Item], learned_from: Iterable[Item]) -> Verdict:
    met = marks >= 0
    count, right = int(met.sum()), int((marks == _RIGHT).sum())
    usual = json.loads(_most_frequent(learned_from))
    truths = [json.loads(item.result or "[]") for item, counts in zip(items, met, strict=True) if counts]
    reached, share = right / count, sum(is_right(truth, usual) is True for truth in truths) / count
    low, high = wilson(right, count)
    numbers: Json = {"test_items": count, "challenger": reached, "majority": share, "conceded": 0.0}
    numbers |= {"accuracy": {"value": reached, "low": low, "high": high}, "few": count < FEW}
    told = f"{right} of {count} test items right ({reached:.3f}, 95 % interval {low:.3f} to {high:.3f})"
    if reached > share:
        sentence = f"{name} becomes the first champion: {told}, the most frequent answer alone has {share:.3f}"
    else:
        sentence = f"{name} is rejected: {told}, no better than the most frequent answer with {share:.3f}"
    return _told(reached > share, [sentence], marks, numbers)


def _most_frequent(items: Iterable[Item]) -> str:
    """Give the result that most items have; of several the first."""
    # By their hashes: of a million items, each with boxes of its own, the results are more than memory should hold.
    counts: Counter[bytes] = Counter()
    for item in items:
        counts[_hash(item)] += 1
    most = max(counts, key=counts.__getitem__)
    return next(item.result for item in items if _hash(item) == most) or "[]"


def _hash(item: Item) -> bytes:
    return hashlib.sha256(item.result.encode()).digest()


def _against(name: str, champion: str, before: Marks, after: Marks, rule: GateRule, conceded: float) -> Verdict:
    marks = np.minimum(before, after)
    met = marks >= 0
    paired = compare(before[met] == _RIGHT, after[met] == _RIGHT, rule.confidence)
    check = check_accuracy(paired, rule, conceded)
    shares = paired.numbers()
    numbers: Json = {"test_items": shares.pop("items"), **shares, "few": paired.items < FEW} | check.numbers
    parts = paired.told(champion, name, rule.confidence, rejected=bool(check.reasons))
    parts += check.reasons or ([check.remark] if check.remark else [])
    return _told(not check.reasons, parts, marks, numbers)


def _told(passed: bool, parts: Sequence[str], marks: Marks, numbers: Json) -> Verdict:
    left_out = int((marks < 0).sum())
    remarks = [*too_few(len(marks) - left_out), *_left_out(marks)]
    return Verdict(passed, "; ".join([*parts, *remarks]), numbers | ({"left_out": left_out} if left_out else {}))


def _write(path: Path, items: Sequence[Item], marks: Marks) -> None:
    """Write marks by item, in a form that a report reads as that of a version without scores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial.npz")
    np.savez_compressed(
        aside,
        classes=np.array((), dtype=str),
        pictures=np.array([item.content for item in items], dtype=str),
        tasks=np.array([item.task for item in items], dtype=np.int64),
        truth=np.zeros((len(items), 0), dtype=bool),
        scores=np.zeros((len(items), 0)),
        marks=marks,
    )
    aside.replace(path)


def _read(path: Path, items: Sequence[Item]) -> Marks:
    """Read the marks of these items; raises StoreError."""
    try:
        with np.load(path, allow_pickle=False) as held:
            known = dict(zip(held["pictures"].tolist(), held["marks"].tolist(), strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run the evaluate stage of this run") from error
    return np.array([known.get(item.content, _UNASKED) for item in items], dtype=np.int8)
