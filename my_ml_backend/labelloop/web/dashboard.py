"""The dashboard: how all projects stand, one project with its versions, and their reports; read-only HTML for people.

It asks the store and Redis only, as ``/status`` does. Pages look for changes by themselves every few seconds.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from flask import Flask, Response
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from werkzeug.exceptions import NotFound

from labelloop.errors import LabelLoopError, QueueError
from labelloop.errors import NotFound as Missing
from labelloop.front.redaction import redact
from labelloop.loop.hub import Hub
from labelloop.loop.process import hub_of, named_project
from labelloop.loop.project_registry import find_kept, known_projects
from labelloop.loop.reports import await_report
from labelloop.loop.standing import in_bytes, share, standing
from labelloop.loop.status import ProjectStatus, all_statuses, project_status
from labelloop.loop.track_record import PastVersion, track_record
from labelloop.models.headline import headline
from labelloop.models.model_runs import ModelRunJobs
from labelloop.models.runs import DUE, WRITTEN
from labelloop.run.report.charts import Frame, ticks
from labelloop.run.report.numbers import fraction, interval, timestamp
from labelloop.serve.page import content_policy, html_answer
from labelloop.sources.urls import shown
from labelloop.types import ProjectKey
from labelloop.watch.agreement import kept_agreements

PATH = "/dashboard"

_MOST = 50
"""Versions on a page, the newest, each read anew at every look; ``labelloop versions`` lists all."""

_NEW, _FEW = timedelta(hours=1), 5
"""Of so many versions, the newest, that are no older it is looked at whether they have a report."""

_REPORT = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; sandbox"
"""What a report says of itself, too: it runs no script, whatever is in it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A project as the pages show it: its ``name``, its ``title`` in Label Studio, how it stands, and where that is.

    ``figure`` is what its champion was measured at, as the name of the figure, its value and its interval.
    """

    key: ProjectKey
    name: str
    title: str
    status: ProjectStatus
    figure: tuple[str, str, str] | None
    agreement: str

    @property
    def place(self) -> str:
        """Where its page is, below the dashboard."""
        return str(self.key)

    @property
    def lines(self) -> list[str]:
        """All that ``labelloop status`` says of it."""
        first, *rest = standing(self.status)
        return [redact(line.strip()) for line in (first, *rest)]

    @property
    def next(self) -> str:
        """What is next, when and why."""
        found = self.status.outlook
        return redact(found.told(time.time())) if found else ""

    @property
    def trouble(self) -> str:
        """What went wrong last."""
        return redact(self.status.trouble)


@dataclass(frozen=True, slots=True)
class Whisker:
    """A version in the curve: where it is, from where to where its interval goes, and what it stands for."""

    x: float
    y: float
    low: float
    high: float
    state: str
    tells: str


@dataclass(frozen=True, slots=True)
class Curve:
    """What versions were measured at over the number of labels; places are those of the report's charts."""

    name: str
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    versions: tuple[Whisker, ...]

    @property
    def line(self) -> str:
        """The points of those that were champion, as SVG writes them."""
        return " ".join(f"{one.x},{one.y}" for one in self.versions if one.state in _CHAMPIONS)


_CHAMPIONS = ("champion", "announced", "retired")


def curve(past: Sequence[PastVersion]) -> Curve | None:
    """Lay out the versions that were measured by the newest one's figure; None where none was."""
    name = past[0].figure[0] if past else ""
    found = [(one, one.labels, one.figure[1]) for one in reversed(past) if one.figure[0] == name]
    points = [(one, labels, value) for one, labels, value in found if labels is not None and value["value"] is not None]
    if not points:
        return None
    most = max(labels for _, labels, _ in points)
    frame = Frame(0, most * 1.05 or 1, 0, 1)
    ends = [(value["value"] if value["low"] is None else value["low"], value["high"]) for _, _, value in points]
    return Curve(
        name,
        tuple((frame.x(at), f"{at:.6g}") for at in ticks(frame.left, frame.right)),
        tuple((frame.y(at), f"{at:.6g}") for at in ticks(frame.bottom, frame.top)),
        tuple(
            Whisker(
                frame.x(labels),
                frame.y(value["value"]),
                frame.y(low),
                frame.y(value["value"] if high is None else high),
                one.state,
                f"{one.record.version}: {name} {fraction(value['value'])}{_between(interval(value))}, {labels} labels",
            )
            for (one, labels, value), (low, high) in zip(points, ends, strict=True)
        ),
    )


def _between(text: str) -> str:
    return f" ({text})" if text else ""


class Dashboard:
    """The pages over one hub. Who may see them is the gate's."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def add_to(self, app: Flask) -> None:
        """Give the app its routes."""
        for rule, view in (
            (PATH, self.projects),
            (f"{PATH}/<instance>/<int:number>", self.project),
            (f"{PATH}/<instance>/<int:number>/versions/<version>/report", self.report),
        ):
            app.add_url_rule(rule, f"dashboard_{view.__name__}", view, methods=["GET"])

    def projects(self) -> Response:
        """Show all projects, and what all of them need: Redis, a worker, disk."""
        trouble = ""
        try:
            self._hub.redis.ping()
        except QueueError as error:
            trouble = redact(str(error))
        stands = [self._standing(one) for one in all_statuses(self._hub, _noted(self._hub))]
        workers = next((one.status.workers for one in stands if one.status.workers is not None), None)
        free = next((one.status.disk["free"] for one in stands if one.status.disk), None)
        return _page("projects.html", projects=stands, trouble=trouble, workers=workers, free=free)

    def project(self, instance: str, number: int) -> Response:
        """Show one project: what goes on, what is next, and its versions."""
        key, hub = self._found(instance, number)
        stands = self._standing(project_status(hub, key))
        past, damage = track_record(hub, key, _MOST)
        link = "" if key.model_run else f"{shown(self._studio)}/projects/{key.id}"
        return _page(
            "project.html",
            project=stands,
            versions=past,
            unreported=_unreported(hub, key, past),
            left_out=max(0, len(hub.versions(key).names()) - _MOST),
            damage=redact(damage),
            curve=curve(past),
            studio=link,
        )

    def report(self, instance: str, number: int, version: str) -> Response:
        """Show the report of a version."""
        key, hub = self._found(instance, number)
        try:
            content = await_report(hub, key, version)
        except Missing as error:
            raise NotFound(str(error)) from error
        return _answer(content, _REPORT)

    @property
    def _studio(self) -> str:
        settings = self._hub.settings
        return (settings.label_studio_link or settings.label_studio_url).rstrip("/")

    def _found(self, instance: str, number: int) -> tuple[ProjectKey, Hub]:
        """Find a project that is known, and the hub that it is asked by; raises NotFound for any other."""
        try:
            key = ProjectKey.parse(f"{instance}/{number}")
        except ValueError as error:
            raise NotFound(str(error)) from error
        if key not in (*self._hub.projects.here().values(), *_noted(self._hub), *ModelRunJobs(self._hub.store).known()):
            raise NotFound(f"no project {key} is known here")
        return key, hub_of(self._hub, key)

    def _standing(self, status: ProjectStatus) -> Standing:
        key = ProjectKey.parse(status.project)
        title, figure, agreed = "", None, ""
        try:
            kept = find_kept(self._hub, key)
            title = kept.title if kept else ""
            record = self._hub.versions(key).find(status.champion) if status.champion else None
            if record is not None:
                name, value = headline(record.metrics.get("test") or {})
                figure = name, fraction(value["value"]), interval(value)
            agreement = kept_agreements(self._hub.store, key).get(status.announced or "")
            if agreement is not None and agreement.begun:
                agreed = share(agreement.arms["random"])
        except LabelLoopError:
            # The status says what is wrong with the store.
            pass
        return Standing(key, named_project(key), title, status, figure, agreed)


def _noted(hub: Hub) -> list[ProjectKey]:
    """Give the projects that are known; without Redis those that the store holds."""
    try:
        return known_projects(hub)
    except QueueError:
        return []


def _unreported(hub: Hub, project: ProjectKey, past: Sequence[PastVersion]) -> dict[str, str]:
    """Say of the newest versions of the last hour why they have no report, or none yet."""
    late = datetime.now(UTC) - _NEW
    new = [
        one.record for one in past[:_FEW] if not one.record.pruned and datetime.fromisoformat(one.record.created) > late
    ]
    runs = {record.version: hub.runs(project).find(record.run) for record in new}
    told = {version: run.report for version, run in runs.items() if run is not None}
    return {
        version: "its report is being written" if report == DUE else f"no report: {report}"
        for version, report in told.items()
        if report not in ("", WRITTEN)
    }


def _page(name: str, **values: Any) -> Response:
    html = _templates().get_template(name).render(**values)
    return _answer(html, content_policy(html))


def _answer(content: str | bytes, policy: str) -> Response:
    answer = html_answer(content, policy)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@cache
def _templates() -> Environment:
    """Make what fills in the pages; their style is that of the reports."""
    loader = ChoiceLoader([PackageLoader("labelloop.web"), PackageLoader("labelloop.run.report")])
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    filters: dict[str, Callable[..., str]] = {
        "fraction": fraction,
        "interval": interval,
        "moment": timestamp,
        "share": share,
        "size": in_bytes,
        "redact": redact,
    }
    made.filters.update(filters)
    return made
