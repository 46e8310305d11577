"""Clients that keep a server waiting, over bare sockets."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

SECONDS = 30.0
"""How long one word with a server may take on a machine that does much else."""


def talk(port: int, content: bytes) -> bytes:
    """Send bytes over a connection of their own, and read the answer until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(content)
        return connection.makefile("rb").read()


@contextmanager
def silent(port: int, beginning: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Hold connections on which ``beginning`` was sent and no more."""
    with ExitStack() as held:
        connections = [held.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS)) for _ in range(count)]
        for connection in connections:
            connection.sendall(beginning)
        yield connections


@contextmanager
def dripping(port: int, beginnings: Sequence[bytes], drop: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Hold connections on which a drop follows every 50 ms, after one of ``beginnings`` in turn."""
    with ExitStack() as held:
        connections = [
            connection
            for number in range(count)
            for connection in held.enter_context(silent(port, beginnings[number % len(beginnings)], 1))
        ]
        done = threading.Event()
        thread = threading.Thread(target=_drip, args=(connections, drop, done))
        thread.start()
        try:
            yield connections
        finally:
            done.set()
            thread.join(SECONDS)


def _drip(connections: Sequence[socket.socket], drop: bytes, done: threading.Event) -> None:
    open_ones = list(connections)
    while not done.wait(0.05):
        for connection in list(open_ones):
            try:
                connection.sendall(drop)
            except OSError:
                open_ones.remove(connection)
