"""How good the version is: key figures with their intervals, each class, and which class is taken for which."""

from collections.abc import Sequence

from labelloop.models.headline import ACCURACY, headline
from labelloop.run.report.contents import Files, Section
from labelloop.run.report.numbers import NO_INTERVAL, fraction, interval, is_few, percent
from labelloop.types import Json

_MEASURES = (("f1", "F1"), ("precision", "Precision"), ("recall", "Recall"), ("auroc", "AUROC"))


def figures_section(files: Files) -> Section | None:
    """Show accuracy, the means over classes, and the calibration error."""
    metrics = files.metrics
    if not metrics:
        return None
    macro, weighted = metrics.get("macro", {}), metrics.get("weighted", {})
    name, main = headline(metrics)
    rows = [] if name == ACCURACY else [{"name": name, "note": "what the gate decides by", **_figure(main)}]
    right = "right answers" if name == ACCURACY else "items with exactly the right regions"
    rows.append({"name": "Accuracy", "note": right, **_figure(metrics["accuracy"])})
    if chosen := metrics.get("chosen"):
        note = f"on the {chosen['others']['items']} test items that were not chosen by score; chosen ones are harder"
        rows.append({"name": "Accuracy, the others", "note": note, **_figure(chosen["others"])})
    for at, name in _MEASURES:
        if found := (metrics.get("micro") or {}).get(at):
            rows.append({"name": f"{name}, all regions", "note": "every region counts the same", **_figure(found)})
    for at, name in _MEASURES:
        if at in macro:
            rows.append({"name": f"{name}, macro", "note": "every class counts the same", **_figure(macro[at])})
    for at, name in _MEASURES:
        if at in weighted:
            rows.append(
                {"name": f"{name}, weighted", "note": f"every {files.item} counts the same", **_figure(weighted[at])}
            )
    if metrics.get("calibration_error"):
        note = "how far scores are from the share that is right; 0 is best"
        rows.append({"name": "Calibration error", "note": note, **_figure(metrics["calibration_error"])})
    return Section(
        "figures",
        "Key figures",
        f"What the version reaches on test {files.items} that training has never seen. Where an interval is wide, "
        "label more before you trust the digits.",
        {
            "rows": rows,
            "pictures": metrics.get("items"),
            "failed": metrics.get("failed", 0),
            "confidence": round(100 * metrics.get("interval", 0.95)),
            "resamples": metrics.get("resamples"),
            "few": is_few(metrics.get("items")),
            "log_loss": fraction(metrics["log_loss"]) if "log_loss" in metrics else "",
            "untold": metrics.get("untold", 0),
            "regions": metrics.get("regions") or {},
        },
    )


def _figure(measured: Json) -> Json:
    ends = [measured[end] for end in ("low", "value", "high") if measured.get(end) is not None]
    return {
        "value": fraction(measured.get("value")),
        "interval": interval(measured) or NO_INTERVAL,
        "bar": [round(200 * end, 1) for end in ends] if len(ends) == 3 and ends[0] < ends[2] else None,
    }


_MOST_CLASSES = 200
_CLASS_MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1", "auroc": "AUROC"}
_BESIDE = {"wrong_border": "wrong border", "wrong_label": "wrong label"}
"""Why regions were missed: something was found there, and was not right."""


def classes_section(files: Files) -> Section | None:
    """Show a table, the weakest class first."""
    classes = files.metrics.get("per_class")
    if not classes:
        return None
    weakest = sorted(classes.items(), key=_strength)
    counts = files.data.get("sides", {}).get("train", {}).get("classes", {})
    regions = "regions" in files.metrics
    measures = [name for name in _CLASS_MEASURES if any(name in one for one in classes.values())]
    return Section(
        "classes",
        "Classes",
        "The weakest class comes first, and what is weak is shaded. Low recall: the class is missed; low precision: "
        f"others are taken for it. With few test {files.items} one more or less moves the figures a lot.",
        {
            "columns": [_CLASS_MEASURES[name] for name in measures],
            "beside": list(_BESIDE.values()) if regions else [],
            "counted": "regions" if regions else files.items,
            "rows": [_class_row(name, one, counts.get(name), measures) for name, one in weakest[:_MOST_CLASSES]],
            "more": max(0, len(weakest) - _MOST_CLASSES),
        },
    )


def _strength(entry: tuple[str, Json]) -> tuple[bool, float]:
    value = entry[1].get("f1")
    return value is None, value or 0.0


def _class_row(name: str, one: Json, learned: int | None, measures: Sequence[str]) -> Json:
    cells = [{"text": fraction(one.get(measure)), "heat": _shortfall(one.get(measure))} for measure in measures]
    return {
        "name": name,
        "cells": cells,
        "recall": interval((one.get("intervals") or {}).get("recall"), 2),
        "support": one.get("support"),
        "beside": [one[key] for key in _BESIDE if key in one],
        "learned": learned,
    }


def _shortfall(value: float | None) -> float:
    """Say how dark a figure is drawn: at a half and below as dark as can be."""
    return 0.0 if value is None else round(min(1.0, 2 * (1 - value)), 3)


_LARGEST = 30
"""Classes up to which the whole matrix is shown; beyond, nobody could read it."""

_MOST_PAIRS = 15


def confusion_section(files: Files) -> Section | None:
    """Show the confusion matrix, or the most frequent mix-ups alone where there are many classes."""
    matrix = files.metrics.get("confusion")
    if not matrix:
        return None
    classes = files.classes
    tells = (
        "Rows are what annotators say, columns what the version says. Look for red cells off the diagonal: those "
        "classes need more examples, or a clearer rule for annotators."
    )
    counted = "regions" if "regions" in files.metrics else files.items
    if counted == "regions":
        tells += " Regions that are missed or invented are in none of them."
    elif files.metrics.get("kind") == "multiple":
        tells += f" A {files.item} with several labels counts in several cells."
    rows = _rows(matrix, classes) if len(classes) <= _LARGEST else []
    view = {"classes": classes, "rows": rows, "pairs": pairs(matrix, classes), "counted": counted}
    return Section("confusion", "Confusion matrix", tells, view)


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
