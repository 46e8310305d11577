"""A real HTTP server that answers as badly as it is told to."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Request:
    """One request as it came in; header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Exchange:
    """One request, the connection it came on, and an event that is set when the server ends."""

    connection: socket.socket
    request: Request
    ending: threading.Event


Reply = Callable[[Exchange], None]
"""Answers one request."""


@dataclass
class Misbehaving:
    """The server: takes the next of ``replies`` for each request, the last one for ever."""

    port: int
    replies: list[Reply]
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    scheme: str = "http"

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def next_reply(self, request: Request) -> Reply:
        with self.lock:
            self.requests.append(request)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def misbehaving(*replies: Reply, tls: ssl.SSLContext | None = None) -> Iterator[Misbehaving]:
    """Run a server on a port of its own, over TLS if a context is given."""
    ending = threading.Event()
    plain = socket.create_server(("127.0.0.1", 0))
    with tls.wrap_socket(plain, server_side=True) if tls else plain as listener:
        server = Misbehaving(listener.getsockname()[1], list(replies), scheme="https" if tls else "http")
        accepting = threading.Thread(target=_accept, args=(listener, server, ending))
        accepting.start()
        try:
            yield server
        finally:
            ending.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(10)


def _accept(listener: socket.socket, server: Misbehaving, ending: threading.Event) -> None:
    threads = []
    open_connections = []
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            open_connections.append(connection)
            number = len(open_connections)
            threads.append(threading.Thread(target=_talk, args=(connection, server, ending, number)))
            threads[-1].start()
    for connection in open_connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)


def _talk(connection: socket.socket, server: Misbehaving, ending: threading.Event, number: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, suppress(OSError, ValueError), connection.makefile("rb") as stream:
        while line := stream.readline():
            headers = {}
            while (header := stream.readline().decode().strip()) != "":
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", 0)))
            request = Request(line.decode().strip(), headers, body, number)
            server.next_reply(request)(Exchange(connection, request, ending))


def raw(content: bytes) -> Reply:
    """Send exactly these bytes."""
    return lambda exchange: exchange.connection.sendall(content)


def answer(content: object, status: int = 200, headers: str = "") -> Reply:
    """Send a well-formed answer with a JSON body (or bytes as they are)."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return raw(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)


def good(exchange: Exchange) -> None:
    """Answer as an inference container does: every picture is a cat."""
    request = exchange.request
    is_json = request.headers.get("content-type") == "application/json"
    count = len(json.loads(request.body)["instances"]) if is_json else 1
    answer({"predictions": [cat(request.headers.get("x-labelloop-version", "v1"))] * count})(exchange)


def cat(version: str = "v1") -> dict[str, object]:
    """One prediction as it goes over the wire."""
    scores = {"cat": 0.75, "dog": 0.25}
    return {"label": "cat", "score": 0.75, "scores": scores, "model_version": version, "kind": "single"}


def then_close(reply: Reply) -> Reply:
    """Do what another reply does, then close the connection."""

    def close(exchange: Exchange) -> None:
        reply(exchange)
        exchange.connection.shutdown(socket.SHUT_RDWR)

    return close


def reset(exchange: Exchange) -> None:
    """Break the connection off with a TCP reset."""
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.connection.shutdown(socket.SHUT_RD)
    exchange.connection.close()


def stall(exchange: Exchange) -> None:
    """Say nothing until the server ends."""
    exchange.ending.wait(30)


def dribble(head: bytes, pause: float = 0.02) -> Reply:
    """Send ``head``, then one byte every ``pause`` seconds, for as long as the server runs."""

    def slowly(exchange: Exchange) -> None:
        exchange.connection.sendall(head)
        while not exchange.ending.wait(pause):
            exchange.connection.sendall(b" ")

    return slowly
