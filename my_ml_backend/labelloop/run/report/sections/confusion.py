"""Which class is taken for which."""

from collections.abc import Sequence

from labelloop.run.report.files import Files
from labelloop.run.report.numbers import percent
from labelloop.run.report.section import Section
from labelloop.types import Json

_LARGEST = 30
"""Classes up to which the whole matrix is shown; beyond, nobody could read it."""

_MOST_PAIRS = 15


def build(files: Files) -> Section | None:
    """Show the confusion matrix, or the most frequent mix-ups alone where there are many classes."""
    matrix = files.metrics.get("confusion")
    if not matrix:
        return None
    classes = files.classes
    tells = (
        "Rows are what annotators say, columns what the version says. Look for red cells off the diagonal: those "
        "classes need more examples, or a clearer rule for annotators."
    )
    if files.metrics.get("kind") == "multiple":
        tells += " A picture with several labels counts in several cells."
    rows = _rows(matrix, classes) if len(classes) <= _LARGEST else []
    return Section(
        "confusion", "Confusion matrix", tells, {"classes": classes, "rows": rows, "pairs": pairs(matrix, classes)}
    )


def pairs(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> list[Json]:
    """Give the most frequent mix-ups: which class, taken for which, how often."""
    found: list[Json] = [
        {"true": classes[at], "given": classes[to], "count": count, "share": percent(count / max(1, sum(row)))}
        for at, row in enumerate(matrix)
        for to, count in enumerate(row)
        if at != to and count
    ]
    return sorted(found, key=lambda one: -one["count"])[:_MOST_PAIRS]


def _rows(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> list[Json]:
    return [
        {
            "name": classes[at],
            "total": sum(row),
            "cells": [
                {"count": count, "heat": round(count / max(1, sum(row)), 3), "right": at == to, "given": classes[to]}
                for to, count in enumerate(row)
            ],
        }
        for at, row in enumerate(matrix)
    ]
