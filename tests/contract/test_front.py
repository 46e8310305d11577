"""The front over real sockets, before an app of the tests' own: its time limits, its memory, its places."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from wsgiref.types import WSGIEnvironment

import pytest
from flask import Flask, jsonify, request
from werkzeug.exceptions import HTTPException

from labelloop.front.connection import READ
from labelloop.front.house import House
from labelloop.front.protocol import INLINE, Way, guard, too_large
from support.clients import SECONDS, dripping, silent, talk
from support.waiting import wait_until

pytestmark = pytest.mark.process

LIMIT = 1_000_000
MOST = 40
"""Connections."""
LARGE = 8_000_000
"""Bytes of an answer that no kernel takes for somebody who does not read."""


@dataclass
class Gate:
    client_seconds: float = 0.5
    bodies_bytes: int = 2 * LIMIT
    pools: dict[str, int] = field(default_factory=lambda: {"work": 2})

    def way(self, environ: WSGIEnvironment) -> Way:
        inline = environ["PATH_INFO"] == "/health"
        return Way(INLINE if inline else "work", LIMIT, too_large(LIMIT, "LIMIT"))


@dataclass
class Served:
    port: int
    house: House
    opened: threading.Event

    def health(self) -> bytes:
        return talk(self.port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def post(path: str, body: bytes = b"", length: int | None = None, close: bool = True) -> bytes:
    more = "Connection: close\r\n" if close else ""
    size = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n{more}\r\n".encode() + body


@contextmanager
def serving(gate: Gate) -> Iterator[Served]:
    """The front in a thread of its own; ``/held`` answers when it is told to."""
    app = Flask("front")
    opened = threading.Event()
    guard(app, gate)
    app.register_error_handler(HTTPException, lambda error: (jsonify(error=error.description), error.code))
    app.add_url_rule("/health", "health", lambda: "up")
    app.add_url_rule("/echo", "echo", lambda: bytes(request.get_data()), methods=["POST"])
    app.add_url_rule("/large", "large", lambda: b"x" * LARGE, methods=["POST"])
    app.add_url_rule("/held", "held", lambda: "held" if opened.wait(SECONDS) else "", methods=["POST"])
    loop = asyncio.new_event_loop()

    async def start() -> tuple[House, asyncio.Server]:
        house = House(app, MOST, [])
        return house, await asyncio.start_server(house.welcome, "127.0.0.1", 0, limit=READ)

    house, server = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Served(server.sockets[0].getsockname()[1], house, opened)
    finally:
        opened.set()
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(house.close(), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


def gone(connection: socket.socket) -> bool:
    """Whether the server has hung up, whatever it had sent before."""
    with suppress(ConnectionError):
        while connection.recv(1 << 20):
            pass
    return True


@pytest.mark.parametrize(
    ("beginning", "answered"),
    [
        (b"", b""),
        (b"POST /echo HTT", b"HTTP/1.1 408 the head of the request did not come in time"),
        (post("/echo", b"half", 900), b"HTTP/1.1 408 "),
    ],
)
def test_who_falls_silent_is_hung_up_on(beginning: bytes, answered: bytes) -> None:
    with serving(Gate()) as served:
        assert talk(served.port, beginning).startswith(answered)


@pytest.mark.parametrize("beginning", [b"POST /echo HTTP/1.1\r\nX: ", post("/echo", b"", 900_000)])
def test_who_drips_has_no_more_time_than_who_is_silent(beginning: bytes) -> None:
    with serving(Gate()) as served, dripping(served.port, [beginning], b"x", 5) as connections:
        assert all(gone(connection) for connection in connections)
        wait_until(lambda: not served.house.clients, "they are hung up on", SECONDS)


@pytest.mark.slow  # it has a second for each MB
def test_who_does_not_read_the_answer_is_hung_up_on() -> None:
    with serving(Gate(client_seconds=0.5)) as served, silent(served.port, post("/large"), 1) as (connection,):
        assert connection.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: not served.house.clients, "it is hung up on", 2 * SECONDS)
        assert gone(connection)


def test_a_large_answer_comes_whole() -> None:
    with serving(Gate()) as served:
        assert len(talk(served.port, post("/large"))) > LARGE


def test_bodies_that_wait_for_their_rest_make_room_for_those_that_come() -> None:
    with serving(Gate(client_seconds=SECONDS)) as served:
        half = post("/echo", b"x" * 900_000, LIMIT)
        with silent(served.port, half, 1) as (first,), silent(served.port, half, 1):
            wait_until(lambda: served.house.held == 1_800_000, "both are in memory", SECONDS)
            assert talk(served.port, post("/echo", b"y" * LIMIT)).endswith(b"y" * LIMIT)
            assert gone(first)
        wait_until(lambda: served.house.held == 0, "nothing is in memory", SECONDS)


def test_of_too_many_connections_the_longest_silent_go() -> None:
    with serving(Gate(client_seconds=SECONDS)) as served:
        with silent(served.port, b"", 5) as oldest, silent(served.port, b"POST /echo HTTP/1.1\r\n", MOST):
            assert served.health().startswith(b"HTTP/1.1 200 ")
            assert all(gone(connection) for connection in oldest)
        assert served.health().startswith(b"HTTP/1.1 200 ")


def test_what_waits_for_threads_is_bounded_and_health_is_beside_it() -> None:
    with serving(Gate(client_seconds=SECONDS)) as served, ThreadPoolExecutor(MOST) as threads:
        places = MOST // 2
        with silent(served.port, post("/held"), places) as asked:
            wait_until(lambda: served.house.working == places, "all places are taken", SECONDS)
            assert served.health().startswith(b"HTTP/1.1 200 ")
            refused = talk(served.port, post("/held"))
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"].startswith("the server is busy")
            served.opened.set()
            assert all(threads.map(lambda one: one.makefile("rb").read().endswith(b"held"), asked))


def test_an_app_without_a_gate_is_refused() -> None:
    with pytest.raises(TypeError, match="has no gate"):
        House(Flask("other"), MOST, [])


@pytest.mark.parametrize(
    ("proxies", "forwarded", "sent", "client"),
    [
        (["127.0.0.0/8"], False, "192.0.2.7", "127.0.0.1"),  # nobody has named proxies
        ([], True, "192.0.2.7", "127.0.0.1"),  # the peer is none of them
        (["127.0.0.0/8"], True, "192.0.2.7", "192.0.2.7"),
        (["127.0.0.0/8"], True, "203.0.113.1, 192.0.2.7", "192.0.2.7"),  # what the client wrote itself comes first
        (["127.0.0.0/8", "10.0.0.0/8"], True, "203.0.113.1, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
        (["127.0.0.0/8"], True, "192.0.2.7, nonsense", "127.0.0.1"),
        (["127.0.0.0/8"], True, "", "127.0.0.1"),
        (["127.0.0.0/8"], True, "127.0.0.1", "127.0.0.1"),
        (["*"], True, "203.0.113.1, 192.0.2.7", "192.0.2.7"),
    ],
)
def test_who_a_client_is_only_proxies_say_that_somebody_named(
    proxies: list[str], forwarded: bool, sent: str, client: str
) -> None:
    app = Flask("front")
    guard(app, Gate())
    app.add_url_rule("/health", "health", lambda: request.remote_addr or "")
    known = [one if one == "*" else ip_network(one) for one in proxies]

    async def ask() -> bytes:
        house = House(app, MOST, known, forwarded=forwarded)
        server = await asyncio.start_server(house.welcome, "127.0.0.1", 0, limit=READ)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        head = f"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: {sent}\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.read()
        writer.close()
        server.close()
        await house.close()
        return answer

    assert asyncio.run(ask()).endswith(f"\r\n\r\n{client}".encode())
