"""A stand-in of the Hugging Face hub over HTTP: answers for the files of one folder, as of every repository."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def serving(folder: Path, asked: list[str] | None = None) -> Iterator[str]:
    """Serve ``folder``; the paths that are asked for are added to ``asked``."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            if asked is not None:
                asked.append(self.path)
            name = self.path.partition("?")[0].rpartition("/")[2]
            path = folder / name
            found = "/resolve/" in self.path and path.is_file()
            content = path.read_bytes() if found else b"Entry not found"
            self.send_response(200 if found else 404)
            self.send_header("X-Repo-Commit", "a" * 40)
            if found:
                self.send_header("ETag", f'"{name}"')
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def ask(address: str, cache: Path, patch: pytest.MonkeyPatch, *, offline: bool = False) -> None:
    """Let the hub be at ``address`` and its cache at ``cache``: what HF_ENDPOINT and HF_HOME do to a new process."""
    from huggingface_hub import constants

    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_OFFLINE", offline)
    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
