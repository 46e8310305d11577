"""Labelbox's model runs with very many rows, exported and uploaded to: rows a second, the first row, the most memory.

Behind the stand-in of the tests, in a process of its own each; the peer is the stream of Labelbox's own SDK, whose rows
are parsed by it, read as ours are, and thrown away; ours are in a table at the end, then the lines of a prediction of
each in another one, and then in the stand-in, which checks them on the same cores. A row is a picture with one label
and a signed link, of 1,000 bytes; a part of an export has 8 MB. What the stand-in takes to write the export counts for
neither. Memory is what a step's process held at most beyond what it held before it began.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

ROWS = (100_000, 1_000_000)
FLAT_MB = 64
"""How much more memory the largest size may take than the smallest."""

_PART = 8_000_000
_STEPS = ("export", "resumed", "read", "predicted", "upload", "SDK")
_CLASSES = ("forest", "sea", "city", "desert")
_TYPE = "image_single_classification"


def run() -> dict[str, Any]:
    """Measure all sizes (``BENCH_LABELBOX_ROWS=1000,2000`` asks for others)."""
    given = os.environ.get("BENCH_LABELBOX_ROWS")
    sizes = ROWS if given is None else tuple(int(one) for one in given.split(","))
    figures: dict[str, Any] = {}
    found = {count: _measure(count) for count in sizes}
    for count, steps in found.items():
        for step, told in steps.items():
            first = f"{told['first']:.2f}" if "first" in told else "-"
            what = "rows/s, s to the first, us of CPU a row, MB more than the"
            figures[f"{step}, {count:,} rows: {what} {told['before']:.0f} before"] = (
                f"{count / told['seconds']:,.0f}, {first}, {1e6 * told['cpu'] / count:.1f}, {told['memory']:.0f}"
            )
        table, written, counts = (steps["read"][name] for name in ("table", "export", "counts"))
        figures[f"{count:,} rows: MB of the export, of the table; s to count"] = (
            f"{written:.0f}, {table:.0f}; {counts:.2f}"
        )
    for step in _STEPS:
        more = found[max(sizes)][step]["memory"] - found[min(sizes)][step]["memory"]
        kept = "kept" if more <= FLAT_MB else "MISSED"
        figures[f"{step}: MB at {max(sizes):,} over those at {min(sizes):,}"] = f"{more:.0f} {kept}"
    return figures | {"CPU cores": os.cpu_count()}


def _measure(count: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder, _stand_in(count, folder) as served:
        return {step: _in_a_process(step, folder, *served) for step in _STEPS}


@contextmanager
def _stand_in(count: int, folder: str) -> Iterator[list[str]]:
    command = [sys.executable, "-m", "benchmarks.bench_labelbox", "serve", str(count), folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child.stdout.readline().split()
        finally:
            child.kill()


def _in_a_process(step: str, folder: str, url: str, run_id: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bench_labelbox", step, folder, url, run_id]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _serve(count: int, folder: str) -> None:
    """Serve one model run of so many rows, made as they are read, until killed."""
    from support.labelbox import Row, labelbox_stand_in, single

    class Many:
        def __len__(self) -> int:
            return count

        def __iter__(self) -> Iterator[Row]:
            for number in range(count):
                label = single("scene", _CLASSES[number % len(_CLASSES)])
                yield Row(f"cl{number:023d}", file=f"{number}.png", labels=((label,),), sides=(640, 480))

        def find(self, key: str) -> Row | None:
            return Row(key, file="a.png", sides=(640, 480))

    with labelbox_stand_in(Path(folder) / "stand-in", part=_PART) as labelbox:
        run_id = labelbox.add_model_run(labelbox.add_model(_ontology()), Many(), lambda _: "TRAINING")
        print(labelbox.url, run_id, flush=True)
        sys.stdin.read()


def _ontology() -> Any:
    from support.labelbox import ontology, radio

    return ontology(radio("scene", _CLASSES))


def _step(step: str, folder: str, url: str, run_id: str) -> None:
    """Do one step in this process, and print what it took."""
    from labelloop.labelbox.client import Labelbox
    from labelloop.labelbox.model_types import find_type
    from labelloop.labelbox.ontology import Ontology
    from labelloop.labelbox.rows import read_row
    from labelloop.labelbox.table import RowTable
    from labelloop.settings import Settings
    from support.labelbox import KEY

    settings = Settings(labelbox_api_key=KEY, labelbox_endpoint=f"{url}/graphql", allow_private_addresses=True)
    client = Labelbox(settings)
    client.model_run(run_id)
    kind = find_type(_TYPE)
    assert kind is not None
    read = partial(read_row, model_run=run_id, ontology=Ontology.of(_ontology(), kind))
    table = RowTable(Path(folder) / "table" / "rows.sqlite")
    steps: dict[str, Callable[[], dict[str, float]]] = {
        "export": lambda: _export(client, run_id, table, read),
        "resumed": lambda: _resumed(client, run_id, table, read),
        "read": lambda: _read(table, Path(folder)),
        "predicted": lambda: _predicted(settings, run_id, Path(folder)),
        "upload": lambda: _upload(client, run_id, Path(folder)),
        "SDK": lambda: _sdk(client, run_id, read),
    }
    before, cpu = _memory("VmRSS"), time.process_time()
    told = steps[step]()
    told |= {"cpu": time.process_time() - cpu, "before": before, "memory": max(0.0, _memory("VmHWM") - before)}
    print(json.dumps(told))


def _export(client: Any, run_id: str, table: Any, read: Any) -> dict[str, float]:
    """Export all rows into the table."""
    from labelloop.labelbox.export import export

    began = first = 0.0

    def progress(what: str, done: int, _: int) -> None:
        nonlocal began, first
        if what == "exported rows":
            began = began or time.perf_counter()
            first = first or (time.perf_counter() if done else 0.0)

    export(client, run_id, table, read, progress)
    return {"seconds": time.perf_counter() - began, "first": first - began}


def _resumed(client: Any, run_id: str, table: Any, read: Any) -> dict[str, float]:
    """Export again, killed in the middle and gone on with; seconds are those of both."""
    from labelloop.labelbox.export import export

    class Killed(BaseException):
        pass

    whole = table.counts().rows
    began = 0.0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal began
        if what == "exported rows":
            began = began or time.perf_counter()
            if done > total // 2 and table.state.attempt == 1 and not killed:
                killed.append(done)
                raise Killed

    killed: list[int] = []
    table.begin(1)
    try:
        export(client, run_id, table, read, progress)
    except Killed:
        export(client, run_id, table, read, progress)
    seconds = time.perf_counter() - began
    if not killed or table.counts().rows != whole:
        raise RuntimeError(f"{table.counts().rows} rows of {whole} after {killed}")
    return {"seconds": seconds}


def _read(table: Any, folder: Path) -> dict[str, float]:
    """Read all rows in order of their numbers."""
    began, first = time.perf_counter(), 0.0
    for _ in table.rows():
        first = first or time.perf_counter()
    seconds = time.perf_counter() - began
    counted = time.perf_counter()
    table.counts()
    counts = time.perf_counter() - counted
    size = (folder / "table" / "rows.sqlite").stat().st_size / 1e6
    written = next((folder / "stand-in" / "export").iterdir()).stat().st_size / 1e6
    return {"seconds": seconds, "first": first - began, "table": size, "export": written, "counts": counts}


def _predicted(settings: Any, run_id: str, folder: Path) -> dict[str, float]:
    """Read all rows as those that wait, and keep a prediction of each, 5,000 at a time; no endpoint is asked."""
    from labelloop.labelbox.tool import LabelboxTool
    from labelloop.sources.media import Media
    from labelloop.types import Input, Output, Rendering, chunks

    place = folder / "cache" / "labelbox" / f"labelbox--{run_id}"
    place.mkdir(parents=True)
    (place / "101").symlink_to(folder / "table")
    settings = replace(settings, model_dir=str(folder))
    site = LabelboxTool(settings, run_id).model_run(101, Media(settings, None))
    site.begin(1)
    interface = site.interface()
    answer = Output("sea", 0.7, dict.fromkeys(_CLASSES, 0.1) | {"sea": 0.7}, "a-model")
    began = time.perf_counter()
    for some in chunks(site.waiting(""), 5000):
        made = interface.render(answer, Rendering(), Input())
        site.put_predictions([{"task": one["id"], **made} for one in some])
    lines = sum(1 for _ in site.predicted.lines())
    seconds = time.perf_counter() - began
    if lines != site.predicted.count().rows or site.count_waiting(""):
        raise RuntimeError(f"{lines} lines of {site.predicted.count()}")
    return {"seconds": seconds}


def _upload(client: Any, run_id: str, folder: Path) -> dict[str, float]:
    """Upload what is kept."""
    from labelloop.labelbox.imports import upload
    from labelloop.labelbox.predicted import PredictedRows

    kept = PredictedRows(folder / "table" / "predicted.sqlite")
    began = time.perf_counter()
    found = upload(client, run_id, kept.lines(), "v1", folder / "uploads", lambda _, __: None)
    seconds = time.perf_counter() - began
    if found.refused or found.lines != kept.count().rows:
        raise RuntimeError(found.told)
    return {"seconds": seconds}


def _sdk(client: Any, run_id: str, read: Any) -> dict[str, float]:
    """Read an export by the SDK's stream, in the client of a user of it."""
    import labelbox

    settings = client.settings
    found = labelbox.Client(settings.labelbox_api_key, settings.labelbox_endpoint).get_model_run(run_id)
    task = found.export(params={"model_run_details": True})
    task.wait_till_done(timeout_seconds=3600)
    began, first = time.perf_counter(), 0.0
    for one in task.get_buffered_stream():
        first = first or time.perf_counter()
        read(one.json)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "first": first - began}


def _memory(what: str) -> float:
    """Read a line of this process's status, in MB: ``VmRSS`` is held now, ``VmHWM`` was held at most."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{what}:")) / 1024


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(int(sys.argv[2]), sys.argv[3])
    else:
        _step(sys.argv[1], *sys.argv[2:5])
