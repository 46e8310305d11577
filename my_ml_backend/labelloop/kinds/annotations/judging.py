"""How many test items are answered right, and whether a version may replace another by that."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.data.split import splits
from labelloop.errors import LabelConfigError, SettingsError, StoreError
from labelloop.files import whole_file
from labelloop.kinds.annotations.correctness import is_right
from labelloop.run.checks import check_accuracy
from labelloop.run.context import Context, Render, write_json
from labelloop.run.gate import against_majority, meet_bootstrap, unjudged
from labelloop.run.paired import compare
from labelloop.run.scoring import Opponent, VersionOpponent
from labelloop.run.verdict import Conceded, GateRule, Verdict
from labelloop.train.intervals import FEW, too_few, wilson
from labelloop.types import Answer, Failure, Item, Json, NotAsked, Shown, canonical

_WRONG, _RIGHT, _UNTOLD, _UNASKED = 0, 1, -1, -2

_SHOWN = 200
"""Characters of a reason in a sentence; the metrics have the rest."""

Marks = npt.NDArray[np.int8]
"""One mark per item: right (1), wrong (0), one that nobody can tell of (-1), one that nobody was asked about (-2)."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of items: ``marks`` (items,), how many answers failed, and why the first of them did.

    ``tags`` names the control tags that answers of their form can fill: they were compared by these alone.
    """

    marks: Marks
    tags: frozenset[str]
    failed: int = 0
    reason: str = ""


def compared(context: Context, by: Opponent, items: Sequence[Item]) -> Compared:
    """Let somebody answer items, and compare with their truth what an annotator would get.

    An answer that failed, or that cannot be shown, is wrong. Raises BundleError.
    """
    marks = np.full(len(items), _UNASKED, dtype=np.int8)
    tags: frozenset[str] = frozenset()
    failures: dict[int, str] = {}
    for at, (item, answer) in enumerate(zip(items, by.answers(context, items), strict=True)):
        if isinstance(answer, NotAsked):
            continue
        shown = _shown(context, answer, item)
        if isinstance(shown, Failure):
            failures[at] = shown.reason
            continue
        tags |= shown.tags
        marks[at] = _mark(is_right(_only(item.result, shown.tags), shown.results))
    for at in failures:
        # Where even the truth could not be told, a failure is no more wrong than an answer.
        truth = _only(items[at].result, tags)
        marks[at] = _UNTOLD if is_right(truth, truth) is None else _WRONG
    return Compared(marks, tags, len(failures), next(iter(failures.values()), ""))


def _mark(right: bool | None) -> int:
    return _UNTOLD if right is None else _RIGHT if right else _WRONG


def _only(result: str, tags: frozenset[str]) -> list[Json]:
    """Give what a result says for some control tags."""
    return [region for region in json.loads(result or "[]") if region.get("from_name") in tags]


def _shown(context: Context, answer: Answer | Shown | Failure, item: Item) -> Shown | Failure:
    if isinstance(answer, Failure):
        return answer
    try:
        shown = answer if isinstance(answer, Shown) else _render(context)(answer, item)
    except LabelConfigError as error:
        return Failure(str(error))
    return shown if shown.tags else Failure("it says nothing that annotators are asked")


def _render(context: Context) -> Render:
    if context.render is None:
        raise SettingsError("nobody says how answers are shown in Label Studio: make this run by `labelloop retrain`")
    return context.render


def measure_annotations(context: Context) -> None:
    """Write ``metrics.json`` and ``predictions.npz``; where there is no item to measure on, metrics of nothing."""
    items = tuple(splits(context.manifest, context.named_sides)["test"])
    found = compared(context, VersionOpponent("the new model", context.folder.bundle), items)
    _write(context.folder.predictions, items, found)
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
        "tags": sorted(found.tags),
        "accuracy": {"value": right / count, "low": low, "high": high},
    }


def right_by_task(context: Context) -> dict[int, bool]:
    """Tell which of the test items that count are answered right."""
    items = tuple(splits(context.manifest, context.named_sides)["test"])
    marks = _read(context.folder.predictions, items).marks
    return {item.task: bool(mark == _RIGHT) for item, mark in zip(items, marks, strict=True) if mark >= 0}


def judge_annotations(context: Context, name: str, opponent: Opponent | None) -> Verdict:
    """Judge what was measured, as version ``name``, on the test items of which there is a mark for both.

    The first version must be right on more of them than what annotators say most often would be.
    """
    sides = splits(context.manifest, context.named_sides)
    items = tuple(sides["test"])
    after = _read(context.folder.predictions, items)
    if opponent is None or opponent.record is None:
        first = _unjudged(name, after.marks) or _first(name, after, items, sides["train"])
        if opponent is None or not first.passed:
            # Nobody is asked, and paid, where that changes nothing.
            return first
        before, met = compared(context, opponent, items), after.marks >= 0
        if told := _apart(before, after, opponent.name):
            return replace(first, sentence=f"{first.sentence}; {told}")
        own, theirs = after.marks[met], before.marks[met]
        return meet_bootstrap(first, name, opponent.name, own == _RIGHT, theirs == _RIGHT, theirs >= 0)
    before = compared(context, opponent, items)
    if told := _apart(before, after, opponent.name):
        numbers: Json = {"test_items": 0, "left_out": len(items), "few": True, "conceded": 0.0}
        return Verdict(False, f"{name} cannot be judged: kept, not promoted; {told}", numbers)
    marks = np.minimum(before.marks, after.marks)
    rule = GateRule(margin=context.settings.gate_margin)
    conceded = Conceded.read(opponent.record.metrics.get("gate", {}))
    return _unjudged(name, marks, opponent.name) or _against(name, opponent.name, before.marks, after, rule, conceded)


def _apart(before: Compared, after: Compared, other: str) -> str:
    """Say so where two answer different questions; empty where they do not, or one answers none."""
    if not before.tags or not after.tags or before.tags == after.tags:
        return ""
    own, theirs = (", ".join(sorted(one.tags)) for one in (after, before))
    return f"it answers for {own}, and {other} for {theirs}, so the two cannot be compared"


def _unjudged(name: str, marks: Marks, champion: str = "") -> Verdict | None:
    """Leave a version unjudged where only a part of the test items counts, and that is too small."""
    met, items = int((marks >= 0).sum()), len(marks)
    if met and (met == items or met >= FEW):
        return None
    against = f" with {champion}" if champion else ""
    verdict = unjudged(name, f"it can be compared{against} on", met, items - met)
    return replace(verdict, sentence="; ".join([verdict.sentence, *_left_out(marks)]))


def _left_out(marks: Marks) -> list[str]:
    """Say which test items do not count."""
    untold, unasked = int((marks == _UNTOLD).sum()), int((marks == _UNASKED).sum())
    told = f"{untold} test items cannot be compared (masks, polygons, key points)" if untold else ""
    asked = f"{unasked} test items that nobody could be asked about do not count" if unasked else ""
    return [part for part in (told, asked) if part]


def _first(name: str, found: Compared, items: Sequence[Item], learned_from: Iterable[Item]) -> Verdict:
    marks, met = found.marks, found.marks >= 0
    count, right = int(met.sum()), int((marks == _RIGHT).sum())
    usual = _most_frequent(learned_from, found.tags)
    truths = [_only(item.result, found.tags) for item, counts in zip(items, met, strict=True) if counts]
    share = sum(is_right(truth, usual) is True for truth in truths) / count
    verdict = against_majority(name, right, count, share, "the most frequent answer")
    return _told(verdict.passed, [verdict.sentence], marks, found, verdict.numbers)


def _most_frequent(items: Iterable[Item], tags: frozenset[str]) -> list[Json]:
    """Give what most items have for some control tags; of several the first."""
    # By their hashes: of a million items, each with boxes of its own, the results are more than memory should hold.
    counts: Counter[bytes] = Counter()
    for item in items:
        counts[_hash(_only(item.result, tags))] += 1
    most = max(counts, key=counts.__getitem__)
    return next(result for item in items if _hash(result := _only(item.result, tags)) == most)


def _hash(result: list[Json]) -> bytes:
    return hashlib.sha256(canonical(result).encode()).digest()


def _against(name: str, champion: str, before: Marks, after: Compared, rule: GateRule, conceded: Conceded) -> Verdict:
    marks = np.minimum(before, after.marks)
    met = marks >= 0
    paired = compare(before[met] == _RIGHT, after.marks[met] == _RIGHT, rule.confidence)
    check = check_accuracy([paired], rule, conceded)
    shares = paired.numbers()
    numbers: Json = {"test_items": shares.pop("items"), **shares, "few": paired.items < FEW} | check.numbers
    parts = paired.told(champion, name, rule.confidence, rejected=bool(check.reasons))
    parts += check.reasons or ([check.remark] if check.remark else [])
    return _told(not check.reasons, parts, marks, after, numbers)


def _told(passed: bool, parts: Sequence[str], marks: Marks, found: Compared, numbers: Json) -> Verdict:
    """Put a verdict together; ``marks`` say which items count, ``found`` is what became of the challenger's answers."""
    left_out = int((marks < 0).sum())
    failed = [f"{found.failed} answers failed and count as wrong: {found.reason[:_SHOWN]}"] if found.failed else []
    remarks = [*too_few(len(marks) - left_out), *failed, *_left_out(marks)]
    return Verdict(passed, "; ".join([*parts, *remarks]), numbers | ({"left_out": left_out} if left_out else {}))


def _write(path: Path, items: Sequence[Item], found: Compared) -> None:
    """Write marks by item, in a form that a report reads as that of a version without scores."""
    with whole_file(path) as aside:
        np.savez_compressed(
            aside,
            classes=np.array((), dtype=str),
            pictures=np.array([item.content for item in items], dtype=str),
            tasks=np.array([item.task for item in items], dtype=np.int64),
            truth=np.zeros((len(items), 0), dtype=bool),
            scores=np.zeros((len(items), 0)),
            marks=found.marks,
            tags=np.array(sorted(found.tags), dtype=str),
            failed=np.int64(found.failed),
            reason=np.str_(found.reason),
        )


def _read(path: Path, items: Sequence[Item]) -> Compared:
    """Read the marks of these items; raises StoreError."""
    try:
        with np.load(path, allow_pickle=False) as held:
            known = dict(zip(held["pictures"].tolist(), held["marks"].tolist(), strict=True))
            tags, failed, reason = frozenset(held["tags"].tolist()), int(held["failed"]), str(held["reason"])
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run the evaluate stage of this run") from error
    marks = np.array([known.get(item.content, _UNASKED) for item in items], dtype=np.int8)
    return Compared(marks, tags, failed, reason)
