"""An ML backend that answers what Label Studio asks and keeps what it was sent."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.servers import Server


@dataclass
class Received:
    """One request: method, path, headers (lower case) and JSON body."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Backend:
    """What the backend answers, and what it got. ``auth`` is ``user:password`` that all but /health must carry."""

    url: str = ""
    version: str = "labelloop-untrained"
    auth: str = ""
    received: list[Received] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def actions(self) -> list[str]:
        """Name the webhook actions received so far, in order."""
        return [one.body["action"] for one in list(self.received) if one.path == "/webhook"]

    def wait_for(self, action: str, seconds: float = 60.0) -> Received:
        """Wait for the first webhook of an action."""
        deadline = time.monotonic() + seconds
        with self.arrived:
            while True:
                for one in self.received:
                    if one.path == "/webhook" and one.body["action"] == action:
                        return one
                if not self.arrived.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no {action} within {seconds} s, only {self.actions()}")

    def answer(self, one: Received) -> tuple[int, Any]:
        """Choose status and body."""
        expected = "Basic " + base64.b64encode(self.auth.encode()).decode()
        if self.auth and one.path not in ("/health", "/webhook") and one.headers.get("authorization") != expected:
            return 401, {"error": "Basic authentication failed"}
        if one.path == "/setup":
            return 200, {"model_version": self.version}
        return 200, {"status": "UP"}


@contextmanager
def running_backend(auth: str = "") -> Iterator[Backend]:
    """Run a backend on a free port of 127.0.0.1."""
    backend = Backend(auth=auth)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            one = Received(self.command, self.path, headers, body)
            with backend.arrived:
                backend.received.append(one)
                backend.arrived.notify_all()
            status, answer = backend.answer(one)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Stay silent."""

    server = Server(("127.0.0.1", 0), Handler)
    backend.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield backend
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
