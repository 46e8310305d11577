"""The key figures, each with the interval that chance leaves it."""

from labelloop.run.report.files import Files
from labelloop.run.report.numbers import NO_INTERVAL, interval, is_few, share
from labelloop.run.report.section import Section
from labelloop.types import Json

_MEASURES = (("f1", "F1"), ("precision", "Precision"), ("recall", "Recall"), ("auroc", "AUROC"))


def build(files: Files) -> Section | None:
    """Show accuracy, the means over classes, and the calibration error."""
    metrics = files.metrics
    if not metrics:
        return None
    macro, weighted = metrics.get("macro", {}), metrics.get("weighted", {})
    rows = [{"name": "Accuracy", "note": "right answers", **_figure(metrics["accuracy"])}]
    for at, name in _MEASURES:
        if at in macro:
            rows.append({"name": f"{name}, macro", "note": "every class counts the same", **_figure(macro[at])})
    for at, name in _MEASURES:
        if at in weighted:
            rows.append({"name": f"{name}, weighted", "note": "every picture counts the same", **_figure(weighted[at])})
    if metrics.get("calibration_error"):
        note = "how far scores are from the share that is right; 0 is best"
        rows.append({"name": "Calibration error", "note": note, **_figure(metrics["calibration_error"])})
    return Section(
        "figures",
        "Key figures",
        "What the version reaches on test pictures that training has never seen. Where an interval is wide, label more "
        "before you trust the digits.",
        {
            "rows": rows,
            "pictures": metrics.get("items"),
            "failed": metrics.get("failed", 0),
            "confidence": round(100 * metrics.get("interval", 0.95)),
            "resamples": metrics.get("resamples"),
            "few": is_few(metrics.get("items")),
            "log_loss": share(metrics["log_loss"]) if "log_loss" in metrics else "",
            "untold": metrics.get("untold", 0),
        },
    )


def _figure(measured: Json) -> Json:
    ends = [measured[end] for end in ("low", "value", "high") if measured.get(end) is not None]
    return {
        "value": share(measured.get("value")),
        "interval": interval(measured) or NO_INTERVAL,
        "bar": [round(200 * end, 1) for end in ends] if len(ends) == 3 and ends[0] < ends[2] else None,
    }
