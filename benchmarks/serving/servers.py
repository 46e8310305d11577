"""Servers to measure, and the same work without one, each in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from benchmarks.serving.load import Spent
from labelloop.children import start_child


@dataclass(frozen=True)
class Server:
    """One server as it is started: what is measured of it, and how it is asked."""

    name: str
    command: Sequence[str]
    port: int
    health: str
    requests: Mapping[str, Sequence[bytes]]
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def started(servers: Sequence[Server], folder: Path) -> Iterator[list[int]]:
    """Start all and wait until they serve; LitServe's children outlive a SIGTERM, so all are killed by number."""
    environment = os.environ | {"MODEL_DIR": str(folder / "models"), "PYTHONPATH": _paths()}
    children = [
        start_child(
            [sys.executable, *server.command],
            log=folder / f"{server.port}.log",
            environment={**environment, **server.environment},
        )
        for server in servers
    ]
    try:
        for server, child in zip(servers, children, strict=True):
            _wait(server, child, folder / f"{server.port}.log")
        yield [child.pid for child in children]
    finally:
        for child in children:
            for process in psutil.Process(child.pid).children(recursive=True):
                process.kill()
            child.kill()
            child.wait()


def _wait(server: Server, child: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up and child.poll() is None:
        try:
            if requests.get(f"http://127.0.0.1:{server.port}{server.health}", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise RuntimeError(f"{server.name} does not serve:\n{log.read_text()}")


@contextmanager
def bare(bundle: Path, inputs: Path) -> "Iterator[subprocess.Popen[str]]":
    """Start it on the files of a folder."""
    command = [sys.executable, "-m", "benchmarks.serving.bare", str(bundle), str(inputs)]
    environment = os.environ | {"PYTHONPATH": _paths()}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.communicate()


def run_bare(process: "subprocess.Popen[str]", items: int, together: int, threads: int) -> Spent:
    """Have it do the work for so many items, some ``together`` in one run of the model."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{items} {together} {threads}\n")
    process.stdin.flush()
    seconds, server = json.loads(process.stdout.readline())
    return Spent(items, seconds, server, 0.0)


def _paths() -> str:
    """Where Python finds this project, whether it is installed or not."""
    root = Path(__file__).parents[2]
    return os.pathsep.join((str(root), str(root / "my_ml_backend"), os.environ.get("PYTHONPATH", "")))
