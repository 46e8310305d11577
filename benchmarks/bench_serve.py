"""What serving costs on top of the network: our inference container, LitServe, and no server at all, in one run.

All run resnet18 at 224 pixels on one onnxruntime thread a session, over the same photographs. Our container has one
process, and serves the network once as it is and once in 8 bits; LitServe has as many workers as there are cores, with
one request at a time or gathering up to 8, its queue by pipes or by ZeroMQ: its best is what counts. The rounds
alternate, each figure is the median of them.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.serving.load import Spent, drive, instances, megabytes, request
from benchmarks.serving.material import photos, write_bundle
from benchmarks.serving.servers import Server, bare, run_bare, started
from benchmarks.web_process import free_port

CORES = os.cpu_count() or 1
PHOTOS = 16
PICTURES = 96
"""In one round of one case; a multiple of ``PHOTOS``."""
ROUNDS = 7
RUN = 8
"""Pictures in one run of the network when several come together."""
LIMIT = 1.15
"""Most CPU that a picture may cost, in terms of the network and the decoding alone."""
GOAL = 1.5
"""How many times bare's pictures a second ours gives in 8 bits, at least."""
INT8 = "ours, 8 bits"

ALONE, TOGETHER = "one picture a request", f"{PHOTOS} pictures a request"
CONNECTIONS = {ALONE: 4 * CORES, TOGETHER: CORES}
SIZE = {ALONE: 1, TOGETHER: PHOTOS}

Measured = dict[tuple[str, str], list[Spent]]
"""By server and case, one for each round."""


def run(backbone: str = "resnet18", rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure both cases on every server; a row each."""
    contents = photos(PHOTOS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundle(folder / "bundle", backbone, contents)
        (folder / "photos").mkdir()
        for at, content in enumerate(contents):
            (folder / "photos" / f"{at:02}.jpg").write_bytes(content)
        measured, memory = _measure(folder, contents, rounds)
    return {
        "pictures of a round, their mean size in kB": f"{PICTURES}, {sum(map(len, contents)) / PHOTOS / 1000:.0f}",
        "CPU cores": CORES,
        **_rows(measured, ALONE),
        **_rows(measured, TOGETHER),
        "memory of our server, MB": "; ".join(f"{name} {one:.0f}" for name, one in memory.items()),
    }


def _measure(folder: Path, contents: Sequence[bytes], rounds: int) -> tuple[Measured, dict[str, float]]:
    ours = [_ours(folder, contents, "ours", "onnx-float32"), _ours(folder, contents, INT8, "onnx")]
    servers = [*ours, *_lit_servers(folder, contents)]
    measured: Measured = {}
    with bare(folder / "bundle", folder / "photos") as alone, started(servers, folder) as processes:
        for number in range(rounds + 1):
            found = {
                ("bare", case): run_bare(alone, PICTURES, min(RUN, SIZE[case]), CORES) for case in (ALONE, TOGETHER)
            }
            for server, process in zip(servers, processes, strict=True):
                for case, sent in server.requests.items():
                    found[server.name, case] = drive(server.port, process, sent, SIZE[case], CONNECTIONS[case])
            for key, spent in found.items() if number else ():  # the first round warms up
                measured.setdefault(key, []).append(spent)
        memory = {one.name: megabytes(process) for one, process in zip(ours, processes, strict=False)}
    return measured, memory


def _rows(measured: Measured, case: str) -> dict[str, str]:
    ours, small, bare = measured["ours", case], measured[INT8, case], measured["bare", case]
    lit = {name: spent for (name, of), spent in measured.items() if of == case and name.startswith("LitServe")}
    best = max(lit, key=lambda name: _speed(lit[name]))
    cost = median(mine.server / other.server for mine, other in zip(ours, bare, strict=True))
    gain = median(other.seconds / mine.seconds for mine, other in zip(ours, lit[best], strict=True))
    faster = median(other.seconds / mine.seconds for mine, other in zip(small, bare, strict=True))
    spared = median(other.server / mine.server for mine, other in zip(small, bare, strict=True))
    shown = {"ours": ours, INT8: small, "bare onnxruntime and decoding": bare} | lit
    return {
        **{f"{case}: {name}": _written(spent) for name, spent in shown.items()},
        f"{case}: CPU over bare, limit {LIMIT}": f"{cost:.3f} {'kept' if cost <= LIMIT else 'BROKEN'}",
        f"{case}: 8 bits, speed over bare, goal {GOAL}": (
            f"{faster:.2f} {'reached' if faster >= GOAL else 'MISSED'}, {spared:.2f} by CPU"
        ),
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


def _ours(folder: Path, contents: Sequence[bytes], name: str, engine: str) -> Server:
    port = free_port()
    command = ["-m", "labelloop", "serve", "--bundle", str(folder / "bundle"), "--port", str(port)]
    alone = [request("/invocations", "image/jpeg", content) for content in _repeated(contents)]
    together = [request("/invocations", "application/json", instances(contents))] * (PICTURES // PHOTOS)
    return Server(name, command, port, "/ping", {ALONE: alone, TOGETHER: together}, {"ENGINE": engine})


def _lit_servers(folder: Path, contents: Sequence[bytes]) -> Iterator[Server]:
    """LitServe reads no raw body: one picture comes as base64 in JSON, too, which costs it about half a millisecond."""
    alone = [request("/predict", "application/json", instances([content])) for content in _repeated(contents)]
    together = [request("/predict", "application/json", instances(contents))] * (PICTURES // PHOTOS)
    for name, batch, queue in (("", 1, "pipe"), (", ZeroMQ", 1, "zmq"), (", gathers 8", 8, "pipe")):
        port = free_port()
        command = ["-m", "benchmarks.serving.lit", str(folder / "bundle"), str(port), str(CORES), str(batch), queue]
        cases = {ALONE: alone} if batch > 1 else {ALONE: alone, TOGETHER: together}
        yield Server(f"LitServe, {CORES} workers{name}", command, port, "/health", cases)


def _repeated(contents: Sequence[bytes]) -> list[bytes]:
    return [contents[at % PHOTOS] for at in range(PICTURES)]
