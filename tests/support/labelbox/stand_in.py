"""The stand-in of Labelbox as a test holds it."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from werkzeug import Response

from labelloop.types import Json
from support.labelbox import exports, imports
from support.labelbox.exports import Exports
from support.labelbox.front import KEY, Answered, Fetch, Front
from support.labelbox.imports import Imports, Project
from support.labelbox.links import Clock, Links, lines_of, loads
from support.labelbox.model_runs import Model, ModelRun, ModelRuns, Splits
from support.labelbox.page import Pages
from support.labelbox.rows import Row, Rows, held
from support.labelbox.wire import Call, Refused, answer
from support.serving import HungUp, serving

_WAYS: Mapping[str, Callable[[], Exception]] = {
    "unavailable": lambda: Answered(Response("upstream is not there", 503)),
    "bad gateway": lambda: Answered(Response("<html>502 Bad Gateway</html>", 502, content_type="text/html")),
    "rate limit": lambda: Answered(answer({"message": "You have exceeded the limit of 1500 requests per minute"}, 429)),
    "html": lambda: Answered(Response("<html>We are down for maintenance</html>", 200, content_type="text/html")),
    "forbidden": lambda: Answered(Response("AccessDenied", 403)),
    "internal": lambda: Refused("INTERNAL_SERVER_ERROR", "something went wrong"),
    "denied": lambda: Refused("AUTHORIZATION_ERROR", "You do not have permission to perform this action"),
    "conflict": lambda: Refused("RESOURCE_CONFLICT", "the resource exists already"),
    "hung up": lambda: HungUp("the stand-in was told so"),
}
"""How a call fails, as ``fail`` has it."""


@dataclass(frozen=True)
class Imported:
    """One import as it lies in the stand-in: its state, and all the lines that were sent, taken or refused."""

    state: str
    lines: tuple[Json, ...]
    refused: tuple[Json, ...]


class LabelboxStandIn:
    """Labelbox on this machine: an address, the variables by which programs find it, and what a test does to it."""

    def __init__(self, folder: Path, part: int) -> None:
        self.clock = Clock()
        self.links = Links(folder, self.clock)
        self.model_runs = ModelRuns(self.links)
        self.exports = Exports(self.links, self.model_runs, part)
        self.annotation_imports = Imports(self.links, self.model_runs)
        self.front = Front(self.links.answer, Pages(self.model_runs, self.annotation_imports).answer)
        for room in (self.model_runs, self.exports, self.annotation_imports):
            self.front.add(room.operations())
        self.calls = self.front.plans.calls
        """What was asked, in order: names of operations, and ``GET rows``, ``GET export``, ``GET import``."""

    @property
    def url(self) -> str:
        """Where the stand-in is; its GraphQL is at ``/graphql`` below."""
        return self.links.url

    @property
    def endpoint(self) -> str:
        """What the SDK's ``Client(endpoint=...)`` is given."""
        return f"{self.url}/graphql"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which LabelLoop finds this stand-in."""
        return {
            "LABELLOOP_LABELBOX_ENDPOINT": self.endpoint,
            "LABELBOX_API_KEY": KEY,
            "LABELLOOP_ALLOW_PRIVATE_ADDRESSES": "true",
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process find the stand-in."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    # --- What there is.

    def add_model(self, ontology: Json, name: str = "model") -> str:
        """Make a model with an ontology (``support.labelbox.ontologies``); gives its id."""
        model = Model(str(uuid.uuid4()), name, ontology)
        self.model_runs.models[model.id] = model
        return model.id

    def add_model_run(
        self,
        model: str,
        rows: Iterable[Row] | Rows,
        splits: Splits | None = None,
        config: Json | None = None,
        *,
        name: str = "run",
        split_key: str = "data_split",
    ) -> str:
        """Make a model run; gives its id.

        ``rows`` that are ``Rows`` (they can be found by id) are not held, but read anew for each export. ``splits``
        names the split of rows by their ids; those it does not name are UNASSIGNED. ``split_key``: the name under which
        an export tells the split; empty: an export does not tell it, and only pages of the model run do.
        """
        run = ModelRun(
            str(uuid.uuid4()), name, model, held(rows), splits or {}, dict(config or {}), split_key, self.clock()
        )
        self.model_runs.runs[run.id] = run
        return run.id

    def add_project(self, ontology: Json, rows: Iterable[Row] | Rows, name: str = "project") -> str:
        """Make a project that takes pre-labels; gives its id."""
        project = Project(uuid.uuid4().hex[:25], name, held(rows), ontology)
        self.annotation_imports.projects[project.id] = project
        return project.id

    def delete_model_run(self, run: str) -> None:
        """Delete a model run, as its owner does while it trains."""
        self.model_runs.runs.pop(run)

    # --- What has come of it.

    def statuses(self, run: str) -> list[Json]:
        """Give what was told of a model run, in order: each ``{"status", "metadata"?, "errorMessage"?}``."""
        return self.model_runs.runs[run].statuses

    def stages(self, run: str) -> list[str]:
        """Give the statuses of a model run in order, each once where it was told several times in a row."""
        told = [one["status"] for one in self.statuses(run)]
        return [one for number, one in enumerate(told) if not number or told[number - 1] != one]

    def config(self, run: str) -> Json:
        """Give the config of a model run."""
        return self.model_runs.runs[run].config

    def imports(self, parent: str) -> dict[str, Imported]:
        """Give the imports into a model run, or a project, by name in order."""
        told: dict[str, Imported] = {}
        for one in self.annotation_imports.of(parent):
            folder = self.links.folder / one.path
            refused = loads(lines_of(folder / "error.ndjson")) if one.state == "FINISHED" else ()
            told[one.name] = Imported(one.state, tuple(loads(lines_of(folder / "input.ndjson"))), tuple(refused))
        return told

    def predictions(self, parent: str) -> list[Json]:
        """Give the lines that lie in a model run, or a project, metrics too: of a uuid that came again, the last one.

        All of them have the id of their row.
        """
        found: dict[object, Json] = {}
        for one in self.annotation_imports.of(parent):
            for number, line in enumerate(self.annotation_imports.taken(one)):
                key = (line["dataRow"]["id"], line["uuid"]) if "uuid" in line else (one.id, number)
                found[key] = line
        return list(found.values())

    # --- What goes wrong.

    def fail(self, operation: str, how: str = "unavailable", times: int | None = 1, *, after: bool = False) -> None:
        """Let the next calls fail; None: all of them, until ``mend``.

        ``operation``: a name as in ``calls``, ``graphql`` for any operation, ``GET`` for any file. ``how``:
        unavailable (503), bad gateway, rate limit, html, forbidden (403, for files), internal, denied, conflict, hung
        up. With ``after``, what was asked is done all the same, and only its answer is lost.
        """

        def refuse(_: Call | Fetch) -> None:
            raise _WAYS[how]()

        self.front.plans.plan(operation, refuse, times, after=after)

    def before(self, operation: str, function: Callable[[Call | Fetch], None], times: int | None = 1) -> None:
        """Call a function before the next calls are answered. It runs beside the test, in a thread of the server."""
        self.front.plans.plan(operation, function, times)

    def deny(self, *operations: str) -> None:
        """Let the key have no right to these operations, until ``mend``."""
        self.front.denied.update(operations)

    def revoke(self) -> None:
        """Let the key be nobody's any more, until ``mend``."""
        self.front.revoked = True

    def expire_links(self) -> None:
        """Let all links that were signed until now expire."""
        self.clock.ahead += self.links.lifetime + 1

    def spoil_export(
        self, *, hangs: bool = False, fails: bool = False, missing: int | None = None, cut: int | None = None
    ) -> None:
        """Let the next export never end, or end FAILED, or one of its parts (numbers from 0) be gone, or too short."""
        self.exports.orders.append(exports.Order(hangs, fails, missing, cut))

    def spoil_import(self, *, hangs: bool = False, fails: bool = False, refused: Sequence[int] = ()) -> None:
        """Let the next import never end, or end FAILED, or have these of its lines (numbers from 0) refused."""
        self.annotation_imports.orders.append(imports.Order(hangs, fails, frozenset(refused)))

    def release_imports(self, parent: str) -> None:
        """Let the imports of a model run, or a project, that never end go on."""
        for one in self.annotation_imports.of(parent):
            if one.thread is None:
                self.annotation_imports.go_on(one)

    def mend(self) -> None:
        """Let nothing fail any more of what a test has asked to, and keep the calls."""
        calls = list(self.calls)
        self.front.forget()
        self.calls.extend(calls)
        self.exports.orders.clear()
        self.annotation_imports.orders.clear()

    def reset(self) -> None:
        """Forget everything: an organization on its first day."""
        self.front.forget()
        self.exports.forget()
        self.annotation_imports.forget()
        self.model_runs.forget()
        self.clock.ahead = 0.0


@contextmanager
def labelbox_stand_in(folder: Path, port: int = 0, *, part: int = 1 << 20) -> Iterator[LabelboxStandIn]:
    """Run the stand-in; its files lie below ``folder``, exports are handed out in parts of about ``part`` bytes."""
    labelbox = LabelboxStandIn(folder, part)
    with serving(labelbox.front, port) as labelbox.links.url:
        try:
            yield labelbox
        finally:
            labelbox.reset()
