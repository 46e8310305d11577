"""``search.html``: one page that says what a search has found, with nothing to fetch."""

from collections.abc import Iterable, Sequence
from html import escape

from labelloop.run.search.drawing import bars, history
from labelloop.train.proportions import FEW, TOO_FEW, wilson
from labelloop.types import Json

_COLUMNS = ("recipe", "model", "image_size", "optimizer", "augmentations", "learning_rate")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1d2330 }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: 14px; white-space: nowrap }
th, td { text-align: left; padding: .25rem .7rem; border-bottom: 1px solid #dfe3ea } td.number { text-align: right }
tr.best { background: #e8f3ec; font-weight: 600 } tr.failed, tr.interrupted { color: #7a8190 }
td.reason { white-space: normal; min-width: 18rem }
code { background: #f1f3f7; padding: .1rem .3rem; border-radius: 3px }
svg { width: 100%; height: auto } svg text { font-size: 12px; fill: #4a5163 } svg .name { text-anchor: end }
svg rect { fill: #3d6fb4 } svg .grid { stroke: #e3e7ee } svg .best { stroke: #2b8a57; fill: none; stroke-width: 2 }
svg .finished { fill: #3d6fb4 } svg .pruned { fill: #fff; stroke: #9aa3b5; stroke-width: 2 }
"""


def search_page(found: Json) -> str:
    """Write the page of what ``search.json`` holds."""
    body = [
        "<h1>Search</h1>",
        f"<p>{escape(_summary(found))}</p>",
        *_best(found),
        *_section("History", history(found["trials"]), _HISTORY),
        *_section("What made a difference", bars(found["importances"]), _IMPORTANCE),
        "<h2>Trials</h2>",
        _table(found),
        "<h2>What was searched</h2>",
        _definitions((name, _values(name, values)) for name, values in found["space"].items()),
    ]
    head = f'<meta charset="utf-8"><title>LabelLoop: search</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


_HISTORY = (
    "Accuracy on the validation side, trial by trial; the line is the best so far. Rings are trials that were cut "
    "short, at what they had reached."
)
_IMPORTANCE = (
    "The share of the differences between finished trials of the best one's recipe that goes with each parameter "
    "(fANOVA). With few trials it says little."
)


def _summary(found: Json) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count)
    return (
        f"{sum(found['counts'].values())} trials ({counts or 'none ended'}), judged by {found['objective']}, on "
        f"{found['pictures']} pictures; the test side was not looked at. The last start took {found['seconds']:g} s "
        f"with {found['jobs']} at a time, {found['trials_per_minute']:g} trials a minute, and ended: {found['ended']}."
    )


def _best(found: Json) -> Iterable[str]:
    best = found["best"]
    if best is None:
        return ["<p>No trial has finished yet.</p>"]
    items = found["pictures"]
    low, high = wilson(round(best["accuracy"] * items), items)
    few = f"{TOO_FEW.capitalize()}. " if items < FEW else ""
    doubt = (
        f"{few}The 95 % interval of this accuracy is {low:.3f} to {high:.3f}, one picture more or less is "
        f"{1 / items:.3f}. The best of many trials looks better here than it "
        "is: what it is worth, the test side says."
    )
    use = (
        f"To train it: <code>labelloop train --run RUN/winner-{best['number']}</code>, RUN being the search's folder. "
        "With <code>--project N</code> the search keeps these values in the store, for the project's next runs."
    )
    return [
        f"<h2>Best: trial {best['number']}, accuracy {best['accuracy']:.3f}{_loss(best)}</h2>",
        f"<p>{doubt}</p>",
        _definitions((name, _short(value)) for name, value in best["parameters"].items()),
        f"<p>{use}</p>",
    ]


def _section(title: str, drawing: str, said: str) -> list[str]:
    return [f"<h2>{title}</h2>", drawing, f"<p>{said}</p>"] if drawing else []


def _table(found: Json) -> str:
    best = found["best"]["number"] if found["best"] else None
    head = "".join(
        f"<th>{name}</th>" for name in ("", *_COLUMNS, "accuracy", "log-loss", "epochs", "s", "how it ended")
    )
    rows = [_row(one, "best" if one["number"] == best else one["state"]) for one in found["trials"]]
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _row(one: Json, kind: str) -> str:
    cells = [str(one["number"]), *(one["parameters"].get(name, "") for name in _COLUMNS)]
    figures = [_figure(one["accuracy"]), _figure(one["log_loss"]), str(one["epochs"] or ""), f"{one['seconds']:.1f}"]
    return (
        f'<tr class="{kind}">'
        + "".join(f"<td>{escape(_short(cell))}</td>" for cell in cells)
        + "".join(f'<td class="number">{figure}</td>' for figure in figures)
        + f'<td class="reason">{escape(_ended(one))}</td></tr>'
    )


def _ended(one: Json) -> str:
    same = f", as trial {one['same_as']}" if one["same_as"] is not None else ""
    return f"{one['state']}{same}" + (f": {one['reason']}" if one["reason"] else "")


def _definitions(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in pairs)
    return f"<table>{rows}</table>"


def _values(name: str, values: Sequence[str]) -> str:
    return " to ".join(values) if name == "learning_rate" else ", ".join(values)


def _loss(one: Json) -> str:
    return "" if one["log_loss"] is None else f", log-loss {one['log_loss']:.3f}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _short(value: str) -> str:
    """Shorten a learning rate; everything else stays."""
    try:
        return f"{float(value):.3g}" if "." in value or "e-" in value else value
    except ValueError:
        return value
