"""A real HTTP server that messages are posted to, as a team's own or Slack's would be."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from labelloop.types import Json
from support.servers import Server

SECRET = "T0-hush-hush"


@dataclass
class HookServer:
    """What was posted, in order; ``answers`` are the next statuses, 200 when there are no more."""

    url: str
    posted: list[Json] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@contextmanager
def hook_server() -> Iterator[HookServer]:
    """Take messages at an address that holds a key."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            hook.paths.append(self.path)
            assert self.headers["Content-Type"] == "application/json"
            status = hook.answers.pop(0) if hook.answers else 200
            if status == 200:
                hook.posted.append(json.loads(content))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{hook.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    hook = HookServer(f"http://127.0.0.1:{server.server_address[1]}/services/{SECRET}?k=1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
