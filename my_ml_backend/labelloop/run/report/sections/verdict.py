"""Whether the version was promoted, and how it does against the champion."""

from typing import Any

from labelloop.run.report.files import Files
from labelloop.run.report.numbers import is_few, points, share
from labelloop.run.report.section import Section
from labelloop.train.proportions import paired_difference
from labelloop.types import Json

_MOST_ROWS = 40
_ALL = "all test pictures"


def build(files: Files) -> Section | None:
    """Show the verdict; None before the run was judged."""
    verdict = files.verdict
    if not verdict:
        return None
    numbers = verdict.get("numbers") or {}
    return Section(
        "verdict",
        "Verdict",
        "The gate compares this version with the champion on the same test pictures. It turns down what is worse beyond"
        " chance, or loses more than is allowed; a small loss that may be chance passes.",
        {
            "sentence": verdict.get("sentence", ""),
            "state": state(verdict),
            "rows": _rows(numbers)[:_MOST_ROWS],
            "champion": verdict.get("champion"),
            "few": is_few(numbers.get("test_items")),
            "lost": numbers.get("lost"),
            "gained": numbers.get("gained"),
            "allowed": points(numbers["allowed"]).lstrip("+") if "allowed" in numbers else "",
        },
    )


def state(verdict: Json) -> str:
    """Name what became of the version: forced, promoted, rejected, or unjudged."""
    if not verdict:
        return "unjudged"
    if verdict.get("forced"):
        return "forced"
    return "promoted" if verdict.get("passed") else "rejected"


def _rows(numbers: Json) -> list[Json]:
    """Give all pictures, then each class that was judged, the largest fall first."""
    if "difference" not in numbers:
        return []
    classes = sorted(numbers.get("classes", {}).items(), key=lambda entry: entry[1]["difference"]["value"])
    found = [(_ALL, {**numbers, "items": numbers["test_items"]}), *classes]
    found = [(name, {**one, "difference": _honest(name, one)}) for name, one in found]
    reach = max((abs(one["difference"][end]) for _, one in found for end in ("low", "high", "value")), default=0) or 0.1
    return [_row(name, one, reach) for name, one in found]


def _honest(name: str, one: Json) -> Json:
    """Give a difference; one that an earlier release wrote without a width gets the interval that it has today."""
    difference: Json = one["difference"]
    if name != _ALL or difference["low"] < difference["high"]:
        return difference
    low, high = paired_difference(one["lost"], one["gained"], one["items"])
    return {**difference, "low": low, "high": high}


def _row(name: str, one: Json, reach: float) -> Json:
    difference = one["difference"]
    at: dict[str, Any] = {end: round(100 + 95 * difference[end] / reach, 1) for end in ("low", "value", "high")}
    return {
        "name": name,
        "pictures": one["items"],
        "champion": share(one["champion"]),
        "challenger": share(one["challenger"]),
        "difference": points(difference["value"]),
        "interval": f"{points(difference['low'])} to {points(difference['high'])}",
        "at": at,
        "proven": "worse" if difference["high"] < 0 else "better" if difference["low"] > 0 else "open",
    }
