"""How each recipe learned, epoch by epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

from labelloop.run.report.charts import Chart, Series, line_chart
from labelloop.run.report.files import Files
from labelloop.run.report.numbers import share
from labelloop.run.report.section import Section

Epochs = Sequence[Mapping[str, Any]]

_LOSSES = (("train_loss", "training"), ("validation_loss", "validation"))
_ACCURACY = (("validation_accuracy", "validation"),)


def build(files: Files) -> Section | None:
    """Show what each recipe reached on validation, and the curves of those that have epochs."""
    trained = files.trained
    if not trained:
        return None
    reached = [
        {"recipe": name, "accuracy": share(value), "winner": name == trained.get("recipe")}
        for name, value in trained.get("validation", {}).items()
    ]
    return Section(
        "curves",
        "Learning",
        "The recipes compete on the validation pictures. Loss that still falls at the end asks for more epochs; a "
        "validation loss that rises while training's falls asks for more labels or stronger augmentation.",
        {
            "reached": reached,
            "recipe": trained.get("recipe"),
            "charts": [chart for name, epochs in trained.get("curves", {}).items() for chart in _charts(name, epochs)],
            "notes": list(trained.get("notes", ())),
            "balance": trained.get("balance"),
        },
    )


def _charts(recipe: str, epochs: Epochs) -> list[Chart]:
    charts = (
        line_chart(f"{recipe}: loss", _lines(epochs, _LOSSES), "epoch"),
        line_chart(f"{recipe}: accuracy", _lines(epochs, _ACCURACY), "epoch"),
    )
    return [chart for chart in charts if chart]


def _lines(epochs: Epochs, columns: Sequence[tuple[str, str]]) -> list[Series]:
    found = []
    for column, name in columns:
        points = [(float(one["epoch"]), float(one[column])) for one in epochs if one.get(column) is not None]
        if points:
            found.append(Series(name, points))
    return found
