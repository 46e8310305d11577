"""What the inference container's server costs on top of the model, in CPU: texts, by a head and an encoder, and boxes.

The container as it is started, and the same work in one process without a server, do the same inputs in turn; medians
of the rounds. The head has learned from 300 texts of Python's documentation; the encoder has the size of MiniLM (6
layers of 384) and random weights; the detector is a head on mobilenetv2_100 at 416 x 320 pixels with random weights.
CPU is what counts, for it depends least on what else the machine does.
"""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.serving.load import Spent, drive, instances, request, texts
from benchmarks.serving.material import photos, write_detector, write_encoder_bundle, write_text_head
from benchmarks.serving.servers import Server, bare, run_bare, started
from benchmarks.web_process import free_port

CORES = os.cpu_count() or 1
INPUTS = 64
ROUNDS = 5
LIMIT = 1.15


@dataclass(frozen=True)
class Case:
    """One bundle: who writes it, its inputs, how several are sent together, and how many of them a round has."""

    write: Callable[[Path], None]
    inputs: Callable[[], list[bytes]]
    body: Callable[[Sequence[bytes]], bytes]
    many: int
    sizes: tuple[int, ...]


def _documentation() -> list[bytes]:
    from labelloop.demo.texts import documentation

    return [one.text.encode() for one in documentation(1, INPUTS).shown]


CASES: Mapping[str, Case] = {
    "texts, head": Case(write_text_head, _documentation, texts, 16 * INPUTS, (1, 16, 64)),
    "texts, encoder": Case(write_encoder_bundle, _documentation, texts, 2 * INPUTS, (1, 16)),
    "pictures, boxes": Case(write_detector, lambda: photos(16), instances, INPUTS, (1, 16)),
}


def run() -> dict[str, Any]:
    """Measure all; a row for each way of asking."""
    found: dict[str, Any] = {"CPU cores": CORES}
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            found |= _measured(name, case, Path(folder))
    return found


def _measured(name: str, case: Case, folder: Path) -> dict[str, Any]:
    contents = case.inputs()
    case.write(folder / "bundle")
    (folder / "inputs").mkdir()
    for at, content in enumerate(contents):
        (folder / "inputs" / f"{at:03}").write_bytes(content)
    port = free_port()
    command = ["-m", "labelloop", "serve", "--bundle", str(folder / "bundle"), "--port", str(port)]
    server = Server("ours", command, port, "/ping", {})
    ours: dict[int, list[Spent]] = {size: [] for size in case.sizes}
    alone: dict[int, list[Spent]] = {size: [] for size in case.sizes}
    with bare(folder / "bundle", folder / "inputs") as process, started([server], folder) as (watched,):
        for number in range(ROUNDS + 1):
            for size in case.sizes:
                sent = _requests(case, contents, size)
                spent = run_bare(process, case.many, size, CORES), drive(port, watched, sent, size, 2 * CORES)
                for kept, one in zip((alone, ours), spent, strict=True) if number else ():  # the first one warms up
                    kept[size].append(one)
    return dict(_row(name, size, ours[size], alone[size]) for size in case.sizes)


def _requests(case: Case, contents: Sequence[bytes], size: int) -> list[bytes]:
    drawn = [contents[at % len(contents)] for at in range(case.many)]
    parts = [drawn[at : at + size] for at in range(0, case.many, size)]
    return [request("/invocations", "application/json", case.body(part)) for part in parts]


def _row(name: str, size: int, ours: Sequence[Spent], alone: Sequence[Spent]) -> tuple[str, str]:
    cost = median(mine.server / other.server for mine, other in zip(ours, alone, strict=True))
    each, bare_each = (median(1000 * one.server / one.pictures for one in spent) for spent in (ours, alone))
    speed = median(one.pictures / one.seconds for one in ours)
    kept = "kept" if cost <= LIMIT else "BROKEN"
    return (
        f"{name}, {size} a request: CPU over bare, limit {LIMIT}",
        f"{cost:.2f} {kept} ({each:.2f} and {bare_each:.2f} ms each; {speed:.0f}/s)",
    )
