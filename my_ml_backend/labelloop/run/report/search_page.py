"""``search.html``: one page that says what a search has found."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from labelloop.models.headline import ACCURACY
from labelloop.run.report.charts import Chart, Mark, Series, line_chart
from labelloop.run.report.html import render_page
from labelloop.run.report.numbers import importance_rows
from labelloop.train.intervals import FEW, TOO_FEW, wilson
from labelloop.training_parameters import SEARCHED
from labelloop.types import Json


def search_page(found: Json) -> str:
    """Write the page of what ``search.json`` holds."""
    best = found["best"]
    return render_page(
        "search.html",
        summary=_summary(found),
        best=_best(best, found) if best else None,
        figure=found["figure"],
        history=_history(found["trials"], found["figure"]),
        importances=importance_rows(found["importances"]),
        columns=list(found["space"]),
        trials=[
            _row(one, found["space"], is_best=bool(best) and one["number"] == best["number"]) for one in found["trials"]
        ],
        space=[(name, _values(name, values)) for name, values in found["space"].items()],
    )


def _summary(found: Json) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count)
    begun, pace = sum(found["counts"].values()), found["trials_per_minute"]
    return (
        f"{begun} trials ({counts or 'none ended'}), judged by {found['objective']}, on "
        f"{found['pictures']} {found['item']}s; the test side was not looked at. The last start took "
        f"{found['seconds']:g} s with {found['jobs']} at a time, {pace:g} trials a minute, and ended: {found['ended']}."
    )


def _best(best: Json, found: Json) -> Json:
    items, figure = found["pictures"], found["figure"]
    few = f"{TOO_FEW.capitalize()}. " if items < FEW else ""
    bounds = ""
    if figure == ACCURACY:
        low, high = wilson(round(best["accuracy"] * items), items)
        bounds = (
            f"The 95 % interval of this accuracy is {low:.3f} to {high:.3f}, one {found['item']} more or less is "
            f"{1 / items:.3f}. "
        )
    loss = "" if best["log_loss"] is None else f", log-loss {best['log_loss']:.3f}"
    return {
        "number": best["number"],
        "title": f"Best: trial {best['number']}, {figure} {best['accuracy']:.3f}{loss}",
        "doubt": f"{few}{bounds}The best of many trials looks better here than it is: what it is worth, the test side "
        "says.",
        "parameters": [(name, _short(value)) for name, value in best["parameters"].items()],
    }


def _history(trials: Sequence[Json], figure: str) -> Chart | None:
    """Draw the figure by trial, and a line for the best so far; None without any."""
    shown = [one for one in trials if one["accuracy"] is not None and one["state"] in ("finished", "pruned")]
    finished = [one for one in shown if one["state"] == "finished"]
    best = accumulate((one["accuracy"] for one in finished), max)
    points = [(one["number"], value) for one, value in zip(finished, best, strict=True)]
    marks = [Mark(one["number"], one["accuracy"], one["state"], _told(one)) for one in shown]
    return line_chart(f"{figure} by trial", [Series("best so far", points, steps=True)], "trial", marks=marks)


def _told(one: Json) -> str:
    values = ", ".join(f"{name} {value}" for name, value in one["parameters"].items())
    return f"trial {one['number']}: {one['accuracy']:.3f}, {values}"


def _row(one: Json, columns: Iterable[str], *, is_best: bool) -> Json:
    same = f", as trial {one['same_as']}" if one["same_as"] is not None else ""
    return {
        "number": one["number"],
        "kind": "best" if is_best else one["state"],
        "values": [_short(one["parameters"].get(name, "")) for name in columns],
        "figures": [_figure(one["accuracy"]), _figure(one["log_loss"]), one["epochs"] or "", f"{one['seconds']:.1f}"],
        "ended": f"{one['state']}{same}" + (f": {one['reason']}" if one["reason"] else ""),
    }


def _values(name: str, values: Sequence[str]) -> str:
    return (" to " if name in SEARCHED and SEARCHED[name].is_range else ", ").join(values)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _short(value: str) -> str:
    """Shorten a learning rate; everything else stays."""
    try:
        return f"{float(value):.3g}" if "." in value or "e-" in value else value
    except ValueError:
        return value
