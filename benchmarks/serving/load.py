"""Sends prepared requests over connections that stay open, at little cost, and counts what a server spends."""

import json
import socket
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Spent:
    """What one load took: wall seconds, the server's CPU seconds (all its processes), our own CPU seconds."""

    pictures: int
    seconds: float
    server: float
    client: float


def request(path: str, media_type: str, body: bytes) -> bytes:
    """Write one request whole."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def instances(contents: Sequence[bytes]) -> bytes:
    """Write several pictures as one body of JSON."""
    items = b",".join(b'{"b64":"' + b64encode(content) + b'"}' for content in contents)
    return b'{"instances":[' + items + b"]}"


def texts(contents: Sequence[bytes]) -> bytes:
    """Write several texts as one body of JSON."""
    return json.dumps({"instances": [{"text": content.decode()} for content in contents]}).encode()


def drive(port: int, server: int, requests: Sequence[bytes], pictures: int, connections: int) -> Spent:
    """Send all requests over a few connections, each holding ``pictures``; ``server`` is the process to watch."""
    queue = iter(requests)
    with ThreadPoolExecutor(connections) as pool:
        began, spent, own = time.perf_counter(), cpu_seconds(server), time.process_time()
        list(pool.map(lambda _: _converse(port, queue), range(connections)))
        seconds = time.perf_counter() - began
    return Spent(len(requests) * pictures, seconds, cpu_seconds(server) - spent, time.process_time() - own)


def cpu_seconds(process: int) -> float:
    """Add up the user and system time of a process and of all below it."""
    top = psutil.Process(process)
    times = [one.cpu_times() for one in (top, *top.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def megabytes(process: int) -> float:
    """Add up the memory that a process and all below it do not share with others, in MB."""
    top = psutil.Process(process)
    return sum(one.memory_full_info().uss for one in (top, *top.children(recursive=True))) / 1e6


def _converse(port: int, queue: Iterator[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as stream:
            for content in queue:
                connection.sendall(content)
                status, length = stream.readline(), 0
                while (line := stream.readline().strip()) != b"":
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = stream.read(length)
                if b" 200 " not in status:
                    raise RuntimeError(f"{status!r}: {body[:200]!r}")
