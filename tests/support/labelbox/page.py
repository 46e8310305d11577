"""The stand-in's view of its model runs, as pages: statuses, metadata, metrics, and predictions where they belong.

What people drew is dashed, what was predicted is drawn through.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from html import escape

from werkzeug import Response

from labelloop.types import Json
from support.labelbox.imports import Imports
from support.labelbox.model_runs import ModelRun, ModelRuns
from support.labelbox.rows import Row
from support.labelbox.wire import moment

SHOWN = 60
"""Rows that the page of a model run shows at most."""

_ENDED = ("COMPLETE", "FAILED")
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>{refresh}
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; }}
td, th {{ border-bottom: 1px solid #8885; padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; }}
.rows {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }}
.row {{ border: 1px solid #8885; border-radius: .4rem; overflow-wrap: anywhere; padding: .6rem; }}
.row svg {{ height: 9rem; image-rendering: pixelated; width: 100%; }}
.row p {{ margin: .2rem 0; white-space: pre-wrap; }}
rect {{ fill: none; stroke: #2684ff; stroke-width: 1; }}
rect.label {{ stroke: #ffab00; stroke-dasharray: 3 2; }}
mark {{ background: #2684ff33; border-bottom: 2px solid #2684ff; color: inherit; }}
small, dt {{ opacity: .7; }}
dl {{ column-gap: .8rem; display: grid; grid-template-columns: max-content 1fr; margin: 0; }}
dd {{ margin: 0; }}
.FAILED {{ color: #de350b; }} .COMPLETE {{ color: #00875a; }}
</style></head><body>
"""


class Pages:
    """``/``: all model runs; ``/runs/ID``: one of them."""

    def __init__(self, model_runs: ModelRuns, imports: Imports) -> None:
        self.model_runs, self.imports = model_runs, imports

    def answer(self, path: str) -> Response:
        """Give a page."""
        if path == "/":
            return _html(self._all())
        run = self.model_runs.runs.get(path.removeprefix("/runs/"))
        return Response("not here", 404) if run is None else _html(self._one(run))

    def _all(self) -> Iterator[str]:
        yield _HEAD.format(title="Model runs", refresh=_refresh())
        yield "<h1>Model runs</h1><p>A stand-in of Labelbox, as its tests and the demo have it.</p><table>"
        yield "<tr><th>Model</th><th>Run</th><th>Status</th><th>Data rows</th><th>Predictions</th></tr>"
        for run in self.model_runs.runs.values():
            lines = sum(one.lines - one.refused for one in self.imports.of(run.id))
            link = f'<a href="/runs/{run.id}">{escape(run.name)}</a>'
            model = escape(self.model_runs.models[run.model].name)
            yield f"<tr><td>{model}</td><td>{link}</td><td>{_status(run)}</td><td>{len(run.rows)}</td>"
            yield f"<td>{lines}</td></tr>"
        yield "</table>"

    def _one(self, run: ModelRun) -> Iterator[str]:
        over = bool(run.statuses) and run.statuses[-1]["status"] in _ENDED
        yield _HEAD.format(title=escape(run.name), refresh="" if over else _refresh())
        model = escape(self.model_runs.models[run.model].name)
        yield f'<p><a href="/">Model runs</a></p><h1>{escape(run.name)}</h1><p>Model {model}, {_status(run)}</p>'
        yield f"<p><small>modelRunId {run.id}, modelId {run.model}</small></p><h2>Statuses</h2>"
        yield from _statuses(run)
        yield "<h2>Imports</h2><table><tr><th>Name</th><th>State</th><th>Lines</th><th>Refused</th></tr>"
        for one in self.imports.of(run.id):
            yield f"<tr><td>{escape(one.name)}</td><td>{one.state}</td><td>{one.lines}</td><td>{one.refused}</td></tr>"
        yield "</table><h2>Data rows</h2>"
        yield from self._rows(run)

    def _rows(self, run: ModelRun) -> Iterator[str]:
        told = self._predictions(run)
        rows = [row for row in map(run.rows.find, told) if row is not None]
        if len(rows) < SHOWN:
            rows += [row for row, _ in zip(run.rows, range(SHOWN), strict=False) if row.id not in told]
        rows = rows[:SHOWN]
        yield f"<p>{len(rows)} of {len(run.rows)} are shown, those with predictions first.</p>"
        yield '<div class="rows">'
        for row in rows:
            yield '<div class="row">'
            yield from self._row(row, run.split(row.id), list(told.get(row.id, {}).values()))
            yield "</div>"
        yield "</div>"

    def _predictions(self, run: ModelRun) -> dict[str, dict[object, Json]]:
        """Give the lines of the first rows that have any, by row and uuid."""
        told: dict[str, dict[object, Json]] = defaultdict(dict)
        for one in self.imports.of(run.id):
            for number, line in enumerate(self.imports.taken(one)):
                row = line["dataRow"]["id"]
                if row in told or len(told) < SHOWN:
                    told[row][line.get("uuid", (one.id, number))] = line
        return told

    def _row(self, row: Row, split: str, lines: list[Json]) -> Iterator[str]:
        size = row.size
        if size is not None:
            link = escape(self.model_runs.row_data(row))
            yield f'<svg viewBox="0 0 {size[0]} {size[1]}"><image href="{link}" width="{size[0]}" height="{size[1]}"/>'
            yield from _drawn(row, lines)
            yield "</svg>"
        else:
            yield f"<p>{_marked(row.words or '', lines)}</p>"
        yield f"<p><small>{split}; {_said(row)}</small></p>"
        for line in lines:
            if "metricValue" not in line:
                yield f"<p>{escape(_shown(line))}</p>"
        metrics = (f"{one['metricName']} {_value(one['metricValue'])}" for one in lines if "metricValue" in one)
        yield f"<p><small>{escape(', '.join(metrics))}</small></p>"


def _html(parts: Iterable[str]) -> Response:
    return Response("".join(parts), content_type="text/html; charset=utf-8")


def _refresh() -> str:
    return '<meta http-equiv="refresh" content="2">'


def _status(run: ModelRun) -> str:
    status = run.statuses[-1]["status"] if run.statuses else "not begun"
    return f'<b class="{status}">{status}</b>'


def _statuses(run: ModelRun) -> Iterator[str]:
    yield "<table><tr><th>When</th><th>Status</th><th>Metadata</th></tr>"
    for at, one in zip(run.told_at, run.statuses, strict=True):
        pairs = "".join(
            f"<dt>{escape(key)}</dt><dd>{escape(text)}</dd>" for key, text in one.get("metadata", {}).items()
        )
        error = f"<p class=FAILED>{escape(one['errorMessage'])}</p>" if "errorMessage" in one else ""
        yield f"<tr><td>{moment(at)[11:19]}</td><td>{one['status']}</td><td>{error}<dl>{pairs}</dl></td></tr>"
    yield "</table>"


def _drawn(row: Row, lines: list[Json]) -> Iterator[str]:
    """Draw the boxes of the first label, and those that were predicted."""
    for one in row.labels[0] if row.labels else ():
        if "bounding_box" in one:
            yield _rect(one["bounding_box"], "label", one["name"])
    for line in lines:
        if "bbox" in line:
            yield _rect(line["bbox"], "predicted", _shown(line))


def _rect(sides: Json, kind: str, told: str) -> str:
    at = f'x="{sides["left"]}" y="{sides["top"]}" width="{sides["width"]}" height="{sides["height"]}"'
    return f'<rect class="{kind}" {at}><title>{escape(told)}</title></rect>'


def _marked(text: str, lines: list[Json]) -> str:
    """Mark the predicted spans of a text; of those that overlap the first one."""
    told, last = [], 0
    spans = sorted(
        (line["location"]["start"], line["location"]["end"] + 1, line) for line in lines if "location" in line
    )
    for start, end, line in spans:
        if start >= last:
            told += [escape(text[last:start]), f'<mark title="{escape(_shown(line))}">{escape(text[start:end])}</mark>']
            last = end
    return "".join([*told, escape(text[last:])])


def _shown(line: Json) -> str:
    """Tell a prediction: its feature, its answers, and how sure they are."""
    name, answer = line.get("name") or line.get("schemaId"), line.get("answer")
    if answer is None:
        return f"{name}{_sure(line)}"
    answers = answer if isinstance(answer, list) else [answer]
    return f"{name}: {', '.join(map(_answered, answers))}"


def _answered(answer: Json | str) -> str:
    if isinstance(answer, str):
        return answer
    below = "".join(f" > {_shown(one)}" for one in answer.get("classifications", ()))
    return f"{answer.get('name') or answer.get('schemaId')}{_sure(answer)}{below}"


def _sure(told: Json) -> str:
    return f" {told['confidence']:.2f}" if "confidence" in told else ""


def _value(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _said(row: Row) -> str:
    """Tell what people said of a row, each annotation with how often it was said."""
    said: Counter[str] = Counter()
    for label in row.labels:
        for one in label:
            answers = one.get("checklist_answers") or ([one["radio_answer"]] if "radio_answer" in one else [])
            said.update(map(_path, answers) if answers else [one["name"]])
    told = ", ".join(f"{name} x {times}" if times > 1 else name for name, times in said.items()) or "nothing"
    people = {0: "not labeled", 1: f"labeled: {told}"}
    return escape(people.get(len(row.labels), f"labeled {len(row.labels)} times: {told}"))


def _path(answer: Json) -> str:
    return "/".join(
        [answer["name"], *(_path(one["radio_answer"]) for one in answer["classifications"] if "radio_answer" in one)]
    )
