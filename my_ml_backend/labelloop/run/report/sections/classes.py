"""How well each class is found."""

from labelloop.run.report.files import Files
from labelloop.run.report.numbers import interval, share
from labelloop.run.report.section import Section
from labelloop.types import Json

_MOST = 200
_MEASURES = ("precision", "recall", "f1", "auroc")


def build(files: Files) -> Section | None:
    """Show a table, the weakest class first."""
    classes = files.metrics.get("per_class")
    if not classes:
        return None
    weakest = sorted(classes.items(), key=_strength)
    counts = files.data.get("sides", {}).get("train", {}).get("classes", {})
    return Section(
        "classes",
        "Classes",
        "The weakest class comes first, and what is weak is shaded. Low recall: the class is missed; low precision: "
        "others are taken for it. With few test pictures one more or less moves the figures a lot.",
        {
            "rows": [_row(name, one, counts.get(name)) for name, one in weakest[:_MOST]],
            "more": max(0, len(weakest) - _MOST),
        },
    )


def _strength(entry: tuple[str, Json]) -> tuple[bool, float]:
    value = entry[1].get("f1")
    return value is None, value or 0.0


def _row(name: str, one: Json, learned: int | None) -> Json:
    cells = [{"text": share(one.get(measure)), "heat": _shortfall(one.get(measure))} for measure in _MEASURES]
    return {
        "name": name,
        "cells": cells,
        "recall": interval((one.get("intervals") or {}).get("recall"), 2),
        "support": one.get("support"),
        "learned": learned,
    }


def _shortfall(value: float | None) -> float:
    """Say how dark a figure is drawn: at a half and below as dark as can be."""
    return 0.0 if value is None else round(min(1.0, 2 * (1 - value)), 3)
