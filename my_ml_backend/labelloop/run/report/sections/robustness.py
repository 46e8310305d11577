"""What bad pictures do to the version."""

from labelloop.run.report.charts import Frame, Series, line_chart
from labelloop.run.report.files import Files
from labelloop.run.report.numbers import is_few, percent, share
from labelloop.run.report.section import Section
from labelloop.types import Json

_ADVICE = "If a row fades and such pictures occur in your data, train with the augmentations realistic, or label some."
_FEW = "These are too few test items to judge: nothing follows from them yet."


def build(files: Files) -> Section | None:
    """Show accuracy per corruption and severity, and under an attack (FGSM)."""
    found = files.evaluation("robustness.json")
    if not found or not found.get("corruptions"):
        return None
    fgsm = [(float(one["epsilon"]), float(one["accuracy"])) for one in found.get("fgsm") or ()]
    clean, few = float(found["clean"]), is_few(found.get("pictures"))
    if fgsm and fgsm[0][0] > 0:
        fgsm.insert(0, (0.0, clean))
    worst = sorted(found["corruptions"].items(), key=lambda entry: sum(entry[1]))
    return Section(
        "robustness",
        "Robustness",
        "Accuracy on test pictures made worse on purpose, weakest first. " + (_FEW if few else _ADVICE),
        {
            "few": few,
            "clean": share(clean),
            "mean": share(found.get("mean")),
            "drop": percent(found.get("relative_drop")),
            "pictures": found.get("pictures"),
            "rows": [_row(name, values, clean) for name, values in worst],
            "severities": list(range(1, 1 + max(len(values) for values in found["corruptions"].values()))),
            "chart": line_chart(
                "accuracy under attack (FGSM)",
                [Series("accuracy", fgsm)],
                "largest change of a pixel, in grey levels",
                Frame(0, max(epsilon for epsilon, _ in fgsm) or 1, 0, 1),
            )
            if fgsm
            else None,
        },
    )


def _row(name: str, values: list[float], clean: float) -> Json:
    mean = sum(values) / len(values)
    return {
        "name": name,
        "cells": [{"text": share(value, 2), "heat": round(min(1, value / (clean or 1)), 3)} for value in values],
        "mean": share(mean, 2),
        "drop": percent((clean - mean) / clean) if clean else "",
    }
