"""A proxy before an HTTP server, on a real socket, that loses or replaces chosen answers."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
class LossyProxy:
    """``lost`` answers to PUT are dropped once the server has done the work; ``instead`` are given unasked.

    ``careless`` passes no condition on, as services do that speak S3 without conditional writes.
    """

    port: int = 0
    lost: int = 0
    instead: list[Answer] = field(default_factory=list)
    puts: int = 0
    careless: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def lossy_proxy(host: str, port: int) -> Iterator[LossyProxy]:
    """Run a proxy before ``host:port`` for the time of the block."""
    proxy = LossyProxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.command == "PUT":
                proxy.puts += 1
                if proxy.instead:
                    answer = proxy.instead.pop(0)
                    self.reply(answer.status, {}, answer.body())
                    return
            upstream = http.client.HTTPConnection(host, port, timeout=20)
            try:
                conditions = ("if-match", "if-none-match") if proxy.careless else ()
                sent = {name: text for name, text in self.headers.items() if name.lower() not in conditions}
                upstream.request(self.command, self.path, body, sent)
                answered = upstream.getresponse()
                content = answered.read()
            finally:
                upstream.close()
            if self.command == "PUT" and proxy.lost:
                proxy.lost -= 1
                self.close_connection = True
                return
            self.reply(answered.status, dict(answered.headers), content)

        do_GET = do_PUT = do_HEAD = do_POST = forward  # noqa: N815

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

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        proxy.port = server.server_address[1]
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
