"""A small real HTTP server that answers as Label Studio's API does, as far as the loop asks it."""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.servers import Server

CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
)

Answer = tuple[int, Any]


@dataclass
class StudioApi:
    """One project, number 7 unless told otherwise, and ``others`` that are just like it.

    Without ``created_at`` it says as little of that as a server that is none of Label Studio's.
    ``refusing`` is a status that every call of the API gets instead of an answer; ``pages`` are what a proxy answers.
    """

    url: str = ""
    config: str = CONFIG
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    backends: list[dict[str, Any]] = field(default_factory=list)
    webhooks: list[dict[str, Any]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    model_version: str = ""
    sampling: str = "Uncertainty sampling"
    refusing: int = 0
    others: set[int] = field(default_factory=set)
    number: int = 7
    created_at: str = ""
    release: str = "1.23.2"
    pages: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    edition: str = "Community"
    before_import: Callable[[], None] = lambda: None
    between: list[Callable[[], object]] = field(default_factory=list)
    """What happens before each of the requests that follow is answered, one after the other."""
    asked: list[str] = field(default_factory=list)
    filters: list[dict[str, Any]] = field(default_factory=list)
    listings: list[set[str]] = field(default_factory=list)
    """By what each list of tasks was filtered."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    targets: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    cloud: str = "s3"
    """Whose storages these are, ``s3`` or ``gcs``."""
    before_sync: Callable[[dict[str, Any]], object] = lambda _: None
    ahead: float = 0.0
    """Seconds that its clock is ahead of this machine's."""

    def add_tasks(self, count: int) -> None:
        """Import tasks; each shows a picture of its own."""
        for number in range(len(self.tasks) + 1, len(self.tasks) + count + 1):
            path = f"/data/upload/7/{number}.png"
            self.pictures.setdefault(path, f"picture {number}".encode())
            now = self.moment()
            self.tasks[number] = {"id": number, "data": {"image": path}, "annotations": []}
            self.tasks[number] |= {"created_at": now, "updated_at": now}

    def moment(self) -> str:
        """What its clock says, as it spells moments."""
        return datetime.fromtimestamp(time.time() + self.ahead, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def annotate(self, task: int, label: str, to_name: str = "image", **more: Any) -> None:
        """Submit an annotation."""
        region = {"from_name": "label", "to_name": to_name, "type": "choices", "value": {"choices": [label]}}
        annotations = self.tasks[task]["annotations"]
        usual = {"id": 100 * task + len(annotations), "was_cancelled": False, "parent_prediction": None}
        now = self.moment()
        annotations.append(usual | {"result": [region], "created_at": now, "updated_at": now} | more)
        self.tasks[task]["updated_at"] = now

    def connect(self, title: str, **more: Any) -> None:
        """Register an ML backend."""
        number = len(self.backends) + 1
        url = f"http://labelloop-{number}:9090"
        self.backends.append({"id": number, "project": 7, "url": url, "title": title} | more)

    def store_in(self, target: str, source: str = "") -> None:
        """Connect target and source storages, ``bucket/prefix`` each."""
        for kind, address in ((self.targets, target), (self.sources, source)):
            if address:
                bucket, _, prefix = address.partition("/")
                storage = {"id": len(kind) + 1, "project": self.number, "bucket": bucket, "prefix": prefix}
                kind.append(storage | {"status": "initialized", "synchronizable": True, "traceback": None})

    def versions_of(self, task: int) -> list[str]:
        """The versions of a task's predictions."""
        return [one["model_version"] for one in self.predictions if one["task"] == task]

    def count(self, beginning: str) -> int:
        """How often something was asked for."""
        return sum(line.startswith(beginning) for line in self.asked)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:  # noqa: C901, PLR0911, PLR0912 - a table
        """Choose status and JSON."""
        if self.refusing:
            return self.refusing, {"detail": "refused"}
        match method, path.strip("/").split("/")[1:]:
            case "GET", ["version"]:
                return 200, {"release": self.release, "edition": self.edition}
            case "GET", ["projects", number] if number == str(self.number):
                return 200, self._project()
            case "GET", ["projects", number] if number.isdigit() and int(number) in self.others:
                return 200, self._project() | {"id": int(number)}
            case "PATCH", ["projects", number] if number == str(self.number):
                self.model_version = body.get("model_version", self.model_version)
                return 200, self._project()
            case "GET", ["tasks"]:
                return 200, self._page(json.loads(query["query"][0]), int(query["page_size"][0]))
            case "GET", ["projects", number, "model-versions"] if number == str(self.number):
                return 200, dict(Counter(one["model_version"] for one in self.predictions))
            case "POST", ["projects", number, "import", "predictions"] if number == str(self.number):
                return self._import(body)
            case "POST", ["predictions"]:
                status, answer = self._import([body])
                return status, answer if status >= 400 else self.predictions[-1]
            case "DELETE", ["predictions", number]:
                self.predictions = [one for one in self.predictions if one["id"] != int(number)]
                return 204, None
            case "GET", ["ml"] if int(query["project"][0]) in {self.number, *self.others}:
                return 200, self.backends
            case "PATCH", ["ml", number]:
                self.backends[int(number) - 1] |= body
                return 200, self.backends[int(number) - 1]
            case "POST", ["ml"]:
                self.backends.append({"id": len(self.backends) + 1, "readable_state": "Connected"} | body)
                return 201, self.backends[-1]
            case "GET", ["dm", "views"]:
                return 200, self.views
            case "POST", ["dm", "views"]:
                self.views.append({"id": len(self.views) + 1} | body)
                return 201, self.views[-1]
            case "PATCH", ["dm", "views", number]:
                self.views[int(number) - 1] |= body
                return 200, self.views[int(number) - 1]
            case "GET", ["storages", ("s3" | "gcs") as kind] | ["storages", "export", ("s3" | "gcs") as kind] if (
                kind != self.cloud
            ):
                return 200, []
            case "GET", ["storages", "export", self.cloud] if int(query["project"][0]) in {self.number, *self.others}:
                return 200, [one for one in self.targets if one["project"] == int(query["project"][0])]
            case "GET", ["storages", self.cloud] if int(query["project"][0]) in {self.number, *self.others}:
                return 200, [one for one in self.sources if one["project"] == int(query["project"][0])]
            case "GET", ["storages", self.cloud, number]:
                return 200, self.sources[int(number) - 1]
            case "POST", ["storages", self.cloud, number, "sync"]:
                source = self.sources[int(number) - 1]
                source["status"] = "completed"
                self.before_sync(source)
                return 200, source
            case "GET", ["webhooks"]:
                return 200, self.webhooks
            case "POST", ["webhooks"]:
                self.webhooks.append({"id": len(self.webhooks) + 1} | body)
                return 201, self.webhooks[-1]
            case "PATCH", ["webhooks", number]:
                self.webhooks[int(number) - 1] |= body
                return 200, self.webhooks[int(number) - 1]
        return 404, {"detail": "Not found."}

    def _import(self, items: list[dict[str, Any]]) -> Answer:
        before, self.before_import = self.before_import, lambda: None
        before()
        if any(item["task"] not in self.tasks for item in items):
            return 400, {"detail": "Some tasks are not in this project"}
        numbers = itertools.count(max((one.get("id", 0) for one in self.predictions), default=0) + 1)
        self.predictions += [{"id": next(numbers)} | item for item in items]
        return 201, {"created": len(items)}

    def _project(self) -> dict[str, Any]:
        made = [one for task in self.tasks.values() for one in task["annotations"]]
        skipped = sum(one["was_cancelled"] for one in made)
        return {
            "id": self.number,
            "created_at": self.created_at,
            "title": "Cats",
            "label_config": self.config,
            "model_version": self.model_version,
            "sampling": self.sampling,
            "task_number": len(self.tasks),
            "num_tasks_with_annotations": sum(self._submitted(task) > 0 for task in self.tasks.values()),
            "total_annotations_number": len(made) - skipped,
            "skipped_annotations_number": skipped,
        }

    def _page(self, query: dict[str, Any], size: int) -> dict[str, Any]:
        items = query["filters"]["items"]
        self.filters += items
        self.listings.append({item["filter"].rpartition(":")[2] for item in items})
        made: dict[int, list[dict[str, Any]]] = {number: [] for number in self.tasks}
        for one in self.predictions:
            made.setdefault(one["task"], []).append(one)
        enough = any if query["filters"]["conjunction"] == "or" else all
        found = [task for task in self.tasks.values() if enough(self._matches(task, made, item) for item in items)]
        latest = query.get("ordering") == ["-tasks:id"]
        first = sorted(found, key=lambda task: int(task["id"]), reverse=latest)[:size]
        for task in first:
            task["predictions"] = made[task["id"]]
            task["annotations_ids"] = ",".join(str(one["id"]) for one in task["annotations"])
        return {"tasks": first, "total": len(found)}

    def _matches(  # noqa: PLR0911 - a table
        self, task: dict[str, Any], made: dict[int, list[dict[str, Any]]], item: dict[str, Any]
    ) -> bool:
        match item["filter"], item["operator"]:
            case "filter:tasks:id", "greater":
                return bool(task["id"] > item["value"])
            case "filter:tasks:id", "equal":
                return bool(task["id"] == item["value"])
            case "filter:tasks:id", "in":
                return bool(item["value"]["min"] <= task["id"] <= item["value"]["max"])
            case "filter:tasks:total_annotations", "equal":
                return self._submitted(task) == 0
            case "filter:tasks:annotations_ids", "greater":
                return bool(task["annotations"])
            case "filter:tasks:updated_at", "greater":
                return bool(task.get("updated_at", "") > item["value"])
            case "filter:tasks:created_at", "less":
                return bool(task.get("created_at", "") < item["value"])
            case "filter:tasks:predictions_model_versions", operator:
                versions = [one["model_version"] for one in made[task["id"]]]
                mentioned = any(value in version for version in versions for value in item["value"])
                return bool(mentioned == (operator == "contains"))
        raise AssertionError(f"a filter that this server does not know: {item}")

    @staticmethod
    def _submitted(task: dict[str, Any]) -> int:
        return sum(not one["was_cancelled"] for one in task["annotations"])


@contextmanager
def running_studio(given: StudioApi | None = None) -> Iterator[StudioApi]:
    """Run a server on a free port of 127.0.0.1, one without tasks unless it is ``given``."""
    api, lock = given or StudioApi(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if not parts.path.startswith("/api/"):
                content = api.pictures.get(parts.path)
                self._send(404 if content is None else 200, content or b"")
                return
            if (page := api.pages.get(parts.path.rstrip("/"))) is not None:
                self._send(*page)
                return
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            with lock:
                api.asked.append(f"{self.command} {parts.path}")
                if api.between:
                    api.between.pop(0)()
                status, answer = api.answer(self.command, parts.path, parse_qs(parts.query), body)
            self._send(status, b"" if status == 204 else json.dumps(answer).encode())

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names http.server calls

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + api.ahead if timestamp is None else timestamp)

        def log_message(self, *args: Any) -> None:
            """Stay silent."""

    server = Server(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
