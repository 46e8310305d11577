"""What became of the version, against the champion, and what to do next, from all that was measured."""

from collections.abc import Iterator
from typing import Any

from labelloop.run.report.contents import Files, Section
from labelloop.run.report.numbers import NO_INTERVAL, fraction, is_few, points
from labelloop.run.report.scores import pairs
from labelloop.train.intervals import TOO_FEW, paired_difference
from labelloop.types import Json

_MOST_ROWS = 40


def verdict_section(files: Files) -> Section | None:
    """Show the verdict; None before the run was judged."""
    verdict = files.verdict
    if not verdict:
        return None
    numbers = verdict.get("numbers") or {}
    decided = numbers.get("decided_by") or {}
    others = "" if "regions" in numbers else ", and refits of both on others"
    return Section(
        "verdict",
        "Verdict",
        f"The gate compares this version with the champion on the same test {files.items}{others}. It turns "
        "down what is worse beyond chance; a loss that may be chance passes.",
        {
            "sentence": verdict.get("sentence", ""),
            "state": outcome(verdict),
            "rows": _difference_rows(numbers, f"all test {files.items}")[:_MOST_ROWS],
            "champion": verdict.get("champion"),
            "few": is_few(decided.get("items", numbers.get("test_items"))),
            "lost": numbers.get("lost"),
            "gained": numbers.get("gained"),
            "figure": numbers.get("figure") or "accuracy",
            "regions": _regions_told(numbers.get("regions") or {}),
            "chance": f"{100 * decided['p']:.0f}" if "p" in decided else "",
        },
    )


def _regions_told(regions: Json) -> str:
    """Say how many regions both have right, where regions are found."""
    if not {"champion", "challenger"} <= regions.keys():
        return ""
    own, theirs = (regions[side] for side in ("challenger", "champion"))
    found = ", ".join(
        f"{own[name]} regions {name} (before: {theirs[name]})" for name in ("right", "missed", "invented")
    )
    return f"This version has {found}."


def outcome(verdict: Json) -> str:
    """Name what became of the version: forced, promoted, rejected, or unjudged."""
    if not verdict:
        return "unjudged"
    if verdict.get("forced"):
        return "forced"
    return "promoted" if verdict.get("passed") else "rejected"


def _difference_rows(numbers: Json, every: str) -> list[Json]:
    """Give ``every`` item together, then each class that was judged, the largest fall first."""
    if "difference" not in numbers:
        return []
    classes = sorted(numbers.get("classes", {}).items(), key=lambda entry: entry[1]["difference"]["value"])
    refits = [("refits of both", numbers["refits"])] if "refits" in numbers else []
    whole = {**numbers, "items": numbers["test_items"]}
    found = [(every, {**whole, "difference": _honest(whole)}), *refits, *classes]
    found = [(name, {**one, "difference": _ended(one["difference"])}) for name, one in found]
    reach = max((abs(one["difference"][end]) for _, one in found for end in ("low", "high", "value")), default=0) or 0.1
    return [_difference_row(name, one, reach) for name, one in found]


def _honest(one: Json) -> Json:
    """Give a difference; one that an earlier release wrote without a width gets the interval that it has today."""
    difference: Json = one["difference"]
    if "lost" not in one or difference["low"] < difference["high"]:
        return difference
    low, high = paired_difference(one["lost"], one["gained"], one["items"])
    return {**difference, "low": low, "high": high}


def _ended(difference: Json) -> Json:
    """Give a difference both ends: where all draws gave the same, which says nothing of chance, its value."""
    return {name: difference["value"] if end is None else end for name, end in difference.items()}


def _difference_row(name: str, one: Json, reach: float) -> Json:
    difference = one["difference"]
    wide = difference["low"] < difference["high"]
    at: dict[str, Any] = {end: round(100 + 95 * difference[end] / reach, 1) for end in ("low", "value", "high")}
    return {
        "name": name,
        "pictures": one["items"],
        "champion": fraction(one["champion"]),
        "challenger": fraction(one["challenger"]),
        "difference": points(difference["value"]),
        "interval": f"{points(difference['low'])} to {points(difference['high'])}" if wide else NO_INTERVAL,
        "at": at,
        "proven": "worse"
        if wide and difference["high"] < 0
        else "better"
        if wide and difference["low"] > 0
        else "open",
    }


_FEW_TESTS = 100
_FEW_OF_CLASS = 10
_WEAK = 0.05
_HEAVY_DROP = 0.15
_MISCALIBRATED = 0.1


def advice_section(files: Files) -> Section | None:
    """List the next steps that the figures suggest, the most useful first; None where they suggest nothing."""
    steps = [step for step in _steps(files) if step]
    if not steps:
        return None
    return Section("advice", "What to do next", "What the figures below suggest.", {"steps": steps})


def _steps(files: Files) -> Iterator[str]:
    yield _label_errors(files)
    yield from _classes(files)
    yield _tests(files)
    yield _robustness(files)
    yield _calibration(files)
    yield _unreadable(files)


def _label_errors(files: Files) -> str:
    errors = (files.evaluation("label_errors.json") or {}).get("errors", [])
    if not errors:
        return ""
    tasks = ", ".join(str(one["task"]) for one in errors[:5])
    more = f" ({len(errors)} in all)" if len(errors) > 5 else ""
    return f"Check the annotations that are likely wrong: tasks {tasks}{more}."


def _classes(files: Files) -> Iterator[str]:
    per_class = files.metrics.get("per_class", {})
    measured = {name: one["f1"] for name, one in per_class.items() if _known(one)}
    mean = (files.metrics.get("macro", {}).get("f1") or {}).get("value")
    if not measured or mean is None:
        return
    name = min(measured, key=lambda one: measured[one])
    if mean - measured[name] > _WEAK:
        mixed = [one["given"] for one in pairs(files.metrics["confusion"], files.classes) if one["true"] == name]
        taken = f"; it is most often taken for {mixed[0]}" if mixed else ""
        yield f"Label more of {name}: its F1 is {fraction(measured[name])} where the mean is {fraction(mean)}{taken}."


def _known(one: Json) -> bool:
    """Whether a class's F1 is more than the luck of a few items."""
    return one.get("f1") is not None and (one.get("support") or 0) >= _FEW_OF_CLASS


def _tests(files: Files) -> str:
    items = files.metrics.get("items")
    if items is None or items >= _FEW_TESTS:
        return ""
    rare = [
        name for name, one in files.metrics.get("per_class", {}).items() if (one.get("support") or 0) < _FEW_OF_CLASS
    ]
    of = f", {len(rare)} classes fewer than {_FEW_OF_CLASS} of them" if rare else ""
    if is_few(items):
        return f"Label more in all: {TOO_FEW}, {items} in all{of}."
    return f"Label more in all: there are {items} test {files.items}{of}; the intervals show how little that tells."


def _robustness(files: Files) -> str:
    found = files.evaluation("robustness.json") or {}
    if (found.get("relative_drop") or 0) < _HEAVY_DROP or is_few(found.get("pictures")):
        return ""
    worst = min(found["corruptions"], key=lambda name: sum(found["corruptions"][name]))
    return (
        f"If your pictures can be bad, train with the augmentations realistic: {worst} costs most, from "
        f"{fraction(found['clean'])} to {fraction(min(found['corruptions'][worst]))} at its worst."
    )


def _calibration(files: Files) -> str:
    value = (files.metrics.get("calibration_error") or {}).get("value")
    if value is None or value < _MISCALIBRATED or is_few(files.metrics.get("items")):
        return ""
    return (
        f"Do not read scores as probabilities yet: the calibration error is {fraction(value)}; "
        f"more validation {files.items} help."
    )


def _unreadable(files: Files) -> str:
    count = len(files.data.get("unreadable", ()))
    return f"Replace {count} {files.items} that cannot be read; they are listed under Data." if count else ""
