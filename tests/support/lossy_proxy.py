"""A proxy before an HTTP server, on a real socket, that holds, loses or replaces chosen requests and answers."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from support.servers import Server


@dataclass
class Answer:
    """An answer given in place of the server's."""

    status: int
    code: str

    def body(self) -> bytes:
        return f"<Error><Code>{self.code}</Code><Message>{self.code}</Message></Error>".encode()


@dataclass
class Stop:
    """The first request of that method whose path and body match is held until ``go``, then its connection is closed.

    It is held before it is passed on, so that the server never sees it, or ``after`` the server has done the work.
    """

    method: str
    path: str
    body: bytes = b""
    after: bool = False
    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def fits(self, method: str, path: str, body: bytes) -> bool:
        """Whether a request is the one."""
        return method == self.method and bool(re.search(self.path, path) and re.search(self.body, body))

    def hold(self) -> None:
        """Hold it."""
        self.reached.set()
        assert self.go.wait(60), f"nobody let {self.method} {self.path} go"


@dataclass
class LossyProxy:
    """``lost`` answers to PUT are dropped once the server has done the work; ``instead`` are given unasked.

    ``careless`` passes no condition on, as services do that speak S3 without conditional writes. ``stop`` holds one
    request.
    """

    port: int = 0
    lost: int = 0
    instead: list[Answer] = field(default_factory=list)
    puts: int = 0
    careless: bool = False
    stop: Stop | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take_stop(self, method: str, path: str, body: bytes) -> Stop | None:
        stop = self.stop
        if stop is None or not stop.fits(method, path, body):
            return None
        self.stop = None
        return stop


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: LossyProxy
    upstream: tuple[str, int]

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        stop = self.proxy.take_stop(self.command, self.path, body)
        if stop is not None and not stop.after:
            self.hold(stop)
            return
        if self.command == "PUT":
            self.proxy.puts += 1
            if self.proxy.instead:
                answer = self.proxy.instead.pop(0)
                self.reply(answer.status, {}, answer.body())
                return
        status, headers, content = self.ask(body)
        if stop is not None:
            self.hold(stop)
        elif self.command == "PUT" and self.proxy.lost:
            self.proxy.lost -= 1
            self.close_connection = True
        else:
            self.reply(status, headers, content)

    do_GET = do_PUT = do_HEAD = do_POST = do_PATCH = do_DELETE = forward  # noqa: N815

    def ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*self.upstream, timeout=20)
        with closing(connection):
            conditions = ("if-match", "if-none-match") if self.proxy.careless else ()
            sent = {name: text for name, text in self.headers.items() if name.lower() not in conditions}
            connection.request(self.command, self.path, body, sent)
            answered = connection.getresponse()
            return answered.status, dict(answered.headers), answered.read()

    def hold(self, stop: Stop) -> None:
        self.close_connection = True
        stop.hold()

    def reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def lossy_proxy(host: str, port: int) -> Iterator[LossyProxy]:
    """Run a proxy before ``host:port`` for the time of the block."""
    proxy = LossyProxy()
    handler = type("Handler", (_Handler,), {"proxy": proxy, "upstream": (host, port)})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        proxy.port = server.server_address[1]
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
