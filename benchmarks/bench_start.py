"""How long LabelLoop takes to start: ``labelloop --help``, and the web process until Label Studio could call it.

Each is a process of its own, started as a user starts it, with compiled modules at hand. A bare Flask app under
gunicorn is started in turn with the web process, and stands for the least that there can be.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_connection
from statistics import median
from typing import Any

import psutil
import requests

from benchmarks.web_process import free_port
from labelloop.children import start_child, stop_child
from labelloop.environment import environment_of
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from labelloop.web.machine import gunicorn_command

HELP_SECONDS, READY_SECONDS, READY_MB = 0.3, 0.8, 90
"""The goals: CPU seconds of ``labelloop --help``, and the web process when it first answers ``/health``."""

_TIMES = 7
_CONFIG = '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="cat"/></Choices></View>'
_BODY = {"project": "7.1", "label_config": _CONFIG, "tasks": [{"id": 1, "project": 7, "data": {"t": "Hello"}}]}
_LOOK_SECONDS = 0.002


@dataclass(frozen=True)
class Started:
    """One start: seconds to the first answer, CPU seconds and MB of the worker by then, and what a prediction adds."""

    ready: float
    cpu: float
    memory: float
    predicted: float = 0.0
    memory_after: float = 0.0


def run() -> dict[str, Any]:
    """Start everything a few times, and give the medians."""
    helps, clicks = zip(
        *((cpu_of("-m", "labelloop", "--help"), cpu_of("-c", "import click")) for _ in range(_TIMES)), strict=True
    )
    with tempfile.TemporaryDirectory() as name, endpoint() as address:
        redis = RedisServer(Path(name) / "redis")
        redis.start()
        try:
            found = [(web(Path(name), redis.url, address), flask()) for _ in range(_TIMES)]
        finally:
            redis.stop()
    webs, flasks = zip(*found, strict=True)
    return {
        f"labelloop --help, CPU s (goal {HELP_SECONDS})": shown(helps),
        "python -c 'import click', CPU s": shown(clicks),
        f"web: s to /health (goal {READY_SECONDS})": shown([one.ready for one in webs]),
        "web: CPU s of the worker by then": shown([one.cpu for one in webs]),
        f"web: MB of the worker then (goal {READY_MB})": shown([one.memory for one in webs]),
        "web: s of a first prediction, asked at once": shown([one.predicted for one in webs]),
        "web: MB of the worker after it": shown([one.memory_after for one in webs]),
        "bare Flask under gunicorn: s to /health": shown([one.ready for one in flasks]),
        "bare Flask under gunicorn: CPU s of the worker by then": shown([one.cpu for one in flasks]),
        "bare Flask under gunicorn: MB of the worker then": shown([one.memory for one in flasks]),
    }


def shown(values: Sequence[float]) -> str:
    """The median, and the least and the most."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


class _Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps([{"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.1}]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def endpoint() -> Iterator[str]:
    """Run an endpoint with a model of its own, which takes no time."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/predict"
        server.shutdown()


def cpu_of(*arguments: str) -> float:
    """CPU seconds of one Python process, its children left out."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def web(folder: Path, redis_url: str, endpoint: str) -> Started:
    """Start the web process, and ask for one prediction as soon as it answers."""
    settings = replace(
        Settings(),
        host="127.0.0.1",
        port=free_port(),
        model_dir=str(folder),
        redis_url=redis_url,
        endpoint=endpoint,
        log_level="WARNING",
    )
    return started(gunicorn_command(settings), settings.port, environment_of(settings), predicts=True)


def flask() -> Started:
    """Start a bare Flask app under the same gunicorn."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--log-level", "warning"]
    return started([*command, "--no-control-socket", "benchmarks.bare_flask:app"], port, {}, predicts=False)


def started(command: Sequence[str], port: int, environment: Mapping[str, str], *, predicts: bool) -> Started:
    """Start a server and wait for its first answer."""
    began = time.perf_counter()
    child = start_child(command, environment={**os.environ, **environment})
    try:
        while not answers(port):
            if child.poll() is not None or time.perf_counter() - began > 60:
                raise RuntimeError(f"{command} does not answer")
            time.sleep(_LOOK_SECONDS)
        ready = time.perf_counter() - began
        worker = min(psutil.Process(child.pid).children(), key=lambda one: one.create_time())
        spent, memory = sum(worker.cpu_times()[:2]), worker.memory_info().rss / 1e6
        if not predicts:
            return Started(ready, spent, memory)
        asked = time.perf_counter()
        answer = requests.post(f"http://127.0.0.1:{port}/predict", json=_BODY, timeout=30)
        assert answer.json()["results"][0].get("result"), answer.text
        return Started(ready, spent, memory, time.perf_counter() - asked, worker.memory_info().rss / 1e6)
    finally:
        stop_child(child, 10)


def answers(port: int) -> bool:
    """Whether ``/health`` is answered with 200."""
    try:
        with closing(create_connection(("127.0.0.1", port), timeout=5)) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            return b" 200 " in client.recv(100)
    except OSError:
        return False
