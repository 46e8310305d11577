"""How far the version can be trusted: whether a score means what it says, and what bad pictures do to it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from labelloop.models.headline import ACCURACY
from labelloop.run.report.charts import UNIT, Frame, Series, line_chart
from labelloop.run.report.contents import Files, Section
from labelloop.run.report.numbers import fraction, interval, is_few, percent
from labelloop.run.scoring import Scored
from labelloop.train import metrics
from labelloop.train.intervals import wilson
from labelloop.types import Choice, Json

Floats = npt.NDArray[np.float64]

_SMALLEST = 1e-12


def calibration_section(files: Files) -> Section | None:
    """Show the reliability diagram of the test pictures, with and without the temperature."""
    bins = [one for one in files.metrics.get("reliability") or () if one.get("count")]
    if not bins:
        return None
    temperature = float(files.bundle.get("temperature") or files.trained.get("temperature") or 1.0)
    lines, before = [_series("as served", bins)], None
    if files.tested is not None and temperature != 1.0:
        before, uncalibrated = _uncalibrated(files.tested, temperature, files.metrics.get("kind", "single"))
        lines.append(_series("without the temperature", uncalibrated))
    return Section(
        "calibration",
        "Calibration",
        f"Of the {files.items} with a score of 0.8, eight in ten should be right: then the line follows the diagonal. "
        "Below it the version is too sure of itself, above it too modest; thresholds on the score then mean something "
        "else.",
        {
            "chart": line_chart("share that is right, by score", lines, "score", UNIT, diagonal=True),
            "bins": [
                {**one, "confidence": fraction(one["confidence"]), "accuracy": fraction(one["accuracy"])}
                for one in bins
            ],
            "error": fraction((files.metrics.get("calibration_error") or {}).get("value")),
            "before": fraction(before) if before is not None else "",
            "temperature": f"{temperature:.3g}",
            "fitted": _fitted(files.trained.get("calibration") or {}),
        },
    )


def labels_section(files: Files) -> Section | None:
    """Show what the versions reached by how many labels, and what more of them would bring."""
    learning = files.verdict.get("learning") or {}
    versions = sorted(learning.get("versions") or (), key=lambda one: int(one["labels"]))
    if not versions:
        return None
    rows = [
        {
            "labels": one["labels"],
            "accuracy": fraction(one["right"] / one["items"]),
            "interval": interval(dict(zip(("low", "high"), wilson(one["right"], one["items"]), strict=True))),
            "items": f"{one['items']:.0f}",
        }
        for one in versions
    ]
    name = learning.get("figure") or ACCURACY
    line = Series(
        "versions",
        [(one["labels"], one["right"] / one["items"]) for one in versions],
        [one["items"] for one in versions],
    )
    return Section(
        "labels",
        "More labels",
        f"What each version reached on its test {files.items}, by the labels that it learned from, and what a curve "
        "through them says of more. A model that has hardly begun to learn gets more than is foretold.",
        {
            "chart": line_chart(f"{name}, by labels", [line], "labels"),
            "name": name,
            "rows": rows,
            "shares": name == ACCURACY,
            "sentence": learning.get("sentence") or "",
        },
    )


def _series(name: str, bins: Sequence[Json]) -> Series:
    return Series(name, [(one["confidence"], one["accuracy"]) for one in bins], [one["count"] for one in bins])


def _fitted(calibration: Json) -> list[str]:
    """Say what the temperature changed on the validation pictures: each measure before and after."""
    names = [name.removesuffix("_before") for name in calibration if name.endswith("_before")]
    ends = {name: [fraction(calibration[f"{name}_{when}"]) for when in ("before", "after")] for name in names}
    return [f"{name.replace('_', ' ')} {before} before, {after} after" for name, (before, after) in ends.items()]


def _uncalibrated(tested: Scored, temperature: float, choice: Choice) -> tuple[float, list[Json]]:
    """Undo the temperature: the calibration error, and the bins."""
    answered = np.isfinite(tested.scores).all(axis=1)
    truth, served = tested.truth[answered], tested.scores[answered]
    bins = metrics.bins(truth, _heated(served, temperature, choice), choice)
    error = float(metrics.calibration_errors(np.ones((1, len(truth))), bins)[0])
    return error, metrics.diagram(bins)


def _heated(scores: Floats, temperature: float, choice: Choice) -> Floats:
    """Give the scores of the same logits without division by the temperature."""
    logs = np.log(np.clip(scores, _SMALLEST, 1)) * temperature
    if choice == "multiple":
        return np.asarray(1 / (1 + np.exp(np.log(np.clip(1 - scores, _SMALLEST, 1)) * temperature - logs)))
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


_IF_WEAK = "If a row fades and such pictures occur in your data, train with the augmentations realistic, or label some."
_IF_WEAK_TEXTS = "If a row fades and such texts occur in your data, label some."
_IF_FEW = "These are too few test items to judge: nothing follows from them yet."


def robustness_section(files: Files) -> Section | None:
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
        f"{found.get('figure', 'Accuracy')} on test {files.items} made worse on purpose, weakest first. "
        + (_IF_FEW if few else _IF_WEAK if files.item == "picture" else _IF_WEAK_TEXTS),
        {
            "few": few,
            "figure": found.get("figure", "Accuracy"),
            "clean": fraction(clean),
            "mean": fraction(found.get("mean")),
            "drop": percent(found.get("relative_drop")),
            "pictures": found.get("pictures"),
            "rows": [_corruption_row(name, values, clean) for name, values in worst],
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


def _corruption_row(name: str, values: list[float], clean: float) -> Json:
    mean = sum(values) / len(values)
    return {
        "name": name,
        "cells": [{"text": fraction(value, 2), "heat": round(min(1, value / (clean or 1)), 3)} for value in values],
        "mean": fraction(mean, 2),
        "drop": percent((clean - mean) / clean) if clean else "",
    }
