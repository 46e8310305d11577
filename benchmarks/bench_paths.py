"""How many of the product's files one ``/predict`` of one task enters, and how often it waits for Redis.

Redis, the web app, the picture and the foreign endpoint are real and in this process; the same task was predicted
before with another picture, so that imports, connections and what is remembered of the label config do not count. The
counts are exact: two runs give the same.
"""

import io
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from PIL import Image

from benchmarks.trace import Trace, round_trips, tracing
from labelloop.loop.hub import Hub
from labelloop.loop.order import keep_scores
from labelloop.loop.process import open_hub
from labelloop.loop.redis_server import RedisServer
from labelloop.models.champion import ChampionPointer
from labelloop.settings import Settings
from labelloop.web.app import create_app

CHOICES = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)
RECTANGLES = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="cat"/>'
    '<Label value="dog"/></RectangleLabels></View>'
)
FOREIGN = {"found": [{"name": "cat", "sure": 0.9, "at": [0.1, 0.2, 0.3, 0.4]}]}
MAPPING = "{regions: found[].{label: name, score: sure, corners: at}}"


FILES, FOREIGN_FILES, ROUND_TRIPS = 22, 38, 1
"""The goals: files where our endpoint answers, where a foreign one does, round trips to Redis of both."""


@dataclass(frozen=True)
class Journey:
    """The way of one ``/predict``: the files it entered, and its round trips to Redis, each by its commands."""

    prediction: dict[str, Any]
    trace: Trace
    redis: list[list[str]]


def run() -> dict[str, Any]:
    """Count for an endpoint that follows the loop, and for one of an unknown format that stands alone."""
    own, foreign = journeys()
    return _shown("our endpoint", own, FILES) | _shown("an unknown format over HTTP", foreign, FOREIGN_FILES)


def journeys() -> tuple[Journey, Journey]:
    """Send one task to our own endpoint (``fake://``) and one to a foreign endpoint over HTTP, through the web app."""
    with tempfile.TemporaryDirectory() as folder, _redis(Path(folder)) as url, _other_machine() as other:
        usual = Settings(model_dir=folder, redis_url=url, allow_private_addresses=True)
        own = _journey(replace(usual, endpoint="fake://?classes=cat,dog"), 1, CHOICES, other)
        foreign = replace(usual, endpoint=f"{other}/detect", response_mapping=MAPPING)
        return own, _journey(foreign, 2, RECTANGLES, other)


def _journey(settings: Settings, project: int, config: str, pictures: str) -> Journey:
    from model import LabelLoop  # label-studio-ml makes a file as it is imported

    hub = open_hub(settings)
    try:
        client = create_app(settings, hub, LabelLoop).test_client()
        _announce(hub, project)
        sent = round_trips(hub.redis)
        _predict(client, project, config, f"{pictures}/first.png")
        sent.clear()
        with tracing() as trace:
            prediction = _predict(client, project, config, f"{pictures}/second.png")
        return Journey(prediction, trace, list(sent))
    finally:
        hub.redis.close()
        hub.media.close()


def _predict(client: FlaskClient, project: int, config: str, picture: str) -> dict[str, Any]:
    body = {"tasks": [{"id": 1, "data": {"image": picture}}], "project": f"{project}.1", "label_config": config}
    answer = client.post("/predict", json={**body, "params": {"context": None}})
    (prediction,) = answer.get_json()["results"]
    if not prediction:
        raise RuntimeError("the task has no prediction; the log says why")
    found: dict[str, Any] = prediction
    return found


def _announce(hub: Hub, project: int) -> None:
    pointer = ChampionPointer(hub.store, hub.project(project))
    fence = pointer.take_fence()
    pointer.promote("v1", fence)
    pointer.announce("v1", fence)
    keep_scores(hub.store, hub.project(project), "v1", [at / 100 for at in range(100)], 0.0)


def _shown(name: str, journey: Journey, goal: int) -> dict[str, Any]:
    figures = {f"{name}: {what}": number for what, number in journey.trace.figures().items()}
    files, trips = figures.pop(f"{name}: files"), len(journey.redis)
    return {
        f"{name}: files entered (goal {goal})": f"{files} {'kept' if files <= goal else 'MISSED'}",
        f"{name}: round trips to Redis (goal {ROUND_TRIPS})": f"{trips} {'kept' if trips <= ROUND_TRIPS else 'MISSED'}",
        f"{name}: what was asked of Redis": ", ".join("+".join(commands) for commands in journey.redis),
        **figures,
        f"{name}: in order": " > ".join(path.removeprefix("labelloop/") for path in journey.trace.files),
    }


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    server = RedisServer(folder / "redis")
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@contextmanager
def _other_machine() -> Iterator[str]:
    """Serve pictures, and the foreign endpoint."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), (len(self.path), 0, 0)).save(picture, "PNG")
        self._answer("image/png", picture.getvalue())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer("application/json", json.dumps(FOREIGN).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, media_type: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
