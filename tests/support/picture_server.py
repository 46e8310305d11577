"""A real HTTP server of pictures: files by path, and Google Cloud Storage's JSON API for them."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from support.servers import Server

Answer = Callable[[str], tuple[int, bytes] | None]
"""Takes a path; None leaves it to the files."""


@dataclass
class PictureServer:
    """``files`` by path (``/a.jpg``, or ``/bucket/name`` for the JSON API); what was asked for, in order."""

    address: str
    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    answer: Answer = lambda _: None

    def reply(self, target: str, token: str) -> tuple[int, bytes]:
        if listed := re.fullmatch(r"/storage/v1/b/([^/]+)/o\?(.*)", target):
            return self._page(listed[1], parse_qs(listed[2]))
        path = _object(target)
        self.asked.append(path)
        self.tokens.append(token)
        return self.answer(path) or ((200, self.files[path]) if path in self.files else (404, b"not here"))

    def _page(self, bucket: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        """List two objects a page, as the JSON API does."""
        names = sorted(path.removeprefix(f"/{bucket}/") for path in self.files if path.startswith(f"/{bucket}/"))
        names = [name for name in names if name.startswith(query["prefix"][0])]
        start = int(query.get("pageToken", ["0"])[0])
        shown = [{"name": name, "size": str(len(self.files[f"/{bucket}/{name}"]))} for name in names[start : start + 2]]
        page: dict[str, Any] = {"items": shown}
        if start + 2 < len(names):
            page["nextPageToken"] = str(start + 2)
        return 200, json.dumps(page if names else {}).encode()


@contextmanager
def picture_server(files: dict[str, bytes]) -> Iterator[PictureServer]:
    """Serve files on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, content = served.reply(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        served = PictureServer(f"http://127.0.0.1:{server.server_address[1]}", files)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def _object(target: str) -> str:
    """Give the path of a file; of an object of the JSON API ``/bucket/name``."""
    parts = urlsplit(target)
    steps = parts.path.split("/")
    if steps[1:4] != ["storage", "v1", "b"]:
        return unquote(parts.path)
    assert steps[5] == "o"
    assert len(steps) == 7
    assert parse_qs(parts.query) == {"alt": ["media"]}
    return f"/{unquote(steps[4])}/{unquote(steps[6])}"
