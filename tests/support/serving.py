"""A WSGI app served by threads for a test: connections are kept open, and end with the server."""

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from werkzeug import Response
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler


class HungUp(Exception):
    """The connection ends without an answer."""


class _Server(ThreadedWSGIServer):
    """Serves each connection by a thread, and knows them: they end with it."""

    daemon_threads = True

    def __init__(self, port: int, app: Any, handler: type[WSGIRequestHandler]) -> None:
        super().__init__("127.0.0.1", port, app, handler=handler)
        self.connections: set[socket.socket] = set()

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Handler(WSGIRequestHandler):
    """Serves a connection for as long as its client holds it: werkzeug's own closes it, and waits 10 ms, each time."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        length = self.headers.get("Content-Length")
        chunked = environ.get("wsgi.input_terminated", False)
        body = environ["wsgi.input"].read() if chunked else self.rfile.read(int(length or 0))
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        try:
            answer = Response.from_app(self.server.app, environ, buffered=True)
        except HungUp:
            self.close_connection = True
            return
        self._send(answer)

    def _send(self, answer: Response) -> None:
        content = answer.get_data()
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        # The length of what a HEAD would have got is an answer too.
        self.send_header("Content-Length", answer.headers.get("Content-Length") or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serving(app: Any, port: int = 0, handler: type[WSGIRequestHandler] = Handler) -> Iterator[str]:
    """Serve a WSGI app by threads on a port of this machine; gives its address. HungUp, raised, is no answer."""
    server = _Server(port, app, handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.end()
        thread.join()
