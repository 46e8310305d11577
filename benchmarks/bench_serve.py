"""What serving costs on top of the network: our inference container, LitServe, and no server at all, in one run.

All run resnet18 at 224 pixels on one onnxruntime thread a session, after the same decoding, over the same photographs.
Our container has one process; LitServe as many workers as there are cores, with one request at a time or gathering up
to 8, its queue by pipes or by ZeroMQ: its best is what counts. The rounds alternate, each figure is the median of them.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import requests

from benchmarks.serving.load import Spent, drive, instances, request
from benchmarks.serving.material import photos, write_bundle
from labelloop.children import start_child

CORES = os.cpu_count() or 1
PHOTOS = 16
PICTURES = 96
"""In one round of one case; a multiple of ``PHOTOS``."""
ROUNDS = 7
RUN = 8
"""Pictures in one run of the network when several come together."""
LIMIT = 1.15
"""Most CPU that a picture may cost, in terms of the network and the decoding alone."""

ALONE, TOGETHER = "one picture a request", f"{PHOTOS} pictures a request"
CONNECTIONS = {ALONE: 4 * CORES, TOGETHER: CORES}
SIZE = {ALONE: 1, TOGETHER: PHOTOS}

Measured = dict[tuple[str, str], list[Spent]]
"""By server and case, one for each round."""


@dataclass(frozen=True)
class Server:
    """One server as it is started: what is measured of it, and how it is asked."""

    name: str
    command: Sequence[str]
    port: int
    health: str
    requests: Mapping[str, Sequence[bytes]]


def run(backbone: str = "resnet18", rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure both cases on every server; a row each."""
    contents = photos(PHOTOS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundle(folder / "bundle", backbone)
        (folder / "photos").mkdir()
        for at, content in enumerate(contents):
            (folder / "photos" / f"{at:02}.jpg").write_bytes(content)
        measured = _measure(folder, contents, rounds)
    return {
        "pictures of a round, their mean size in kB": f"{PICTURES}, {sum(map(len, contents)) / PHOTOS / 1000:.0f}",
        "CPU cores": CORES,
        **_rows(measured, ALONE),
        **_rows(measured, TOGETHER),
    }


def _measure(folder: Path, contents: Sequence[bytes], rounds: int) -> Measured:
    servers = [_ours(folder, contents), *_lit_servers(folder, contents)]
    measured: Measured = {}
    with _bare(folder) as bare, _started(servers, folder) as processes:
        for number in range(rounds + 1):
            found = {("bare", case): _run_bare(bare, case) for case in (ALONE, TOGETHER)}
            for server, process in zip(servers, processes, strict=True):
                for case, sent in server.requests.items():
                    found[server.name, case] = drive(server.port, process, sent, SIZE[case], CONNECTIONS[case])
            for key, spent in found.items() if number else ():  # the first round warms up
                measured.setdefault(key, []).append(spent)
    return measured


def _rows(measured: Measured, case: str) -> dict[str, str]:
    ours, bare = measured["ours", case], measured["bare", case]
    lit = {name: spent for (name, of), spent in measured.items() if of == case and name.startswith("LitServe")}
    best = max(lit, key=lambda name: _speed(lit[name]))
    cost = median(mine.server / other.server for mine, other in zip(ours, bare, strict=True))
    gain = median(other.seconds / mine.seconds for mine, other in zip(ours, lit[best], strict=True))
    shown = {"ours": ours, "bare onnxruntime and decoding": bare} | lit
    return {
        **{f"{case}: {name}": _written(spent) for name, spent in shown.items()},
        f"{case}: CPU over bare, limit {LIMIT}": f"{cost:.3f} {'kept' if cost <= LIMIT else 'BROKEN'}",
        f"{case}: speed over LitServe's best, limit 1": f"{gain:.2f} {'kept' if gain > 1 else 'BROKEN'} ({best})",
    }


def _speed(rounds: Sequence[Spent]) -> float:
    return median(spent.pictures / spent.seconds for spent in rounds)


def _written(rounds: Sequence[Spent]) -> str:
    server, client = (
        median(1000 * seconds / spent.pictures for spent, seconds in ((one, getattr(one, side)) for one in rounds))
        for side in ("server", "client")
    )
    return f"{_speed(rounds):.1f} pictures/s, {server:.1f} ms of CPU each (and {client:.2f} ms of the client's)"


def _ours(folder: Path, contents: Sequence[bytes]) -> Server:
    port = _free_port()
    command = ["-m", "labelloop", "serve", "--bundle", str(folder / "bundle"), "--port", str(port)]
    alone = [request("/invocations", "image/jpeg", content) for content in _repeated(contents)]
    together = [request("/invocations", "application/json", instances(contents))] * (PICTURES // PHOTOS)
    return Server("ours", command, port, "/ping", {ALONE: alone, TOGETHER: together})


def _lit_servers(folder: Path, contents: Sequence[bytes]) -> Iterator[Server]:
    """LitServe reads no raw body: one picture comes as base64 in JSON, too, which costs it about half a millisecond."""
    alone = [request("/predict", "application/json", instances([content])) for content in _repeated(contents)]
    together = [request("/predict", "application/json", instances(contents))] * (PICTURES // PHOTOS)
    for name, batch, queue in (("", 1, "pipe"), (", ZeroMQ", 1, "zmq"), (", gathers 8", 8, "pipe")):
        port = _free_port()
        command = ["-m", "benchmarks.serving.lit", str(folder / "bundle"), str(port), str(CORES), str(batch), queue]
        cases = {ALONE: alone} if batch > 1 else {ALONE: alone, TOGETHER: together}
        yield Server(f"LitServe, {CORES} workers{name}", command, port, "/health", cases)


def _repeated(contents: Sequence[bytes]) -> list[bytes]:
    return [contents[at % PHOTOS] for at in range(PICTURES)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _started(servers: Sequence[Server], folder: Path) -> Iterator[list[int]]:
    """Start all and wait until they serve; LitServe's children outlive a SIGTERM, so all are killed by number."""
    environment = os.environ | {"MODEL_DIR": str(folder / "models"), "PYTHONPATH": _paths()}
    children = [
        start_child([sys.executable, *server.command], log=folder / f"{server.port}.log", environment=environment)
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
def _bare(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "benchmarks.serving.bare", str(folder / "bundle"), str(folder / "photos")]
    environment = os.environ | {"PYTHONPATH": _paths()}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.communicate()


def _run_bare(process: "subprocess.Popen[str]", case: str) -> Spent:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{PICTURES} {min(RUN, SIZE[case])} {CORES}\n")
    process.stdin.flush()
    seconds, server = json.loads(process.stdout.readline())
    return Spent(PICTURES, seconds, server, 0.0)


def _paths() -> str:
    """Where Python finds this project, whether it is installed or not."""
    root = Path(__file__).parents[1]
    return os.pathsep.join((str(root), str(root / "my_ml_backend"), os.environ.get("PYTHONPATH", "")))
