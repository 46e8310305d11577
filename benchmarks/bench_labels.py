"""Fetch, sweep and prepare of a project with very many labels: seconds and the most memory, at several sizes.

Behind a stand-in for Label Studio (``benchmarks.many_tasks``), in a process of its own each; the stand-in and Redis are
others. Numbers are learned by the tests' second kind, pictures of 64 pixels by the first. Memory is what a step's
process held at most beyond what it held before it began.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

NUMBERS = (10_000, 100_000, 1_000_000)
PICTURES = (10_000, 30_000)
SECONDS = 10.0
"""How long a sweep of a million labels with a hundred changes may take."""

FLAT_MB = 64
"""How much more memory the largest size may take than the smallest."""

_STEPS = ("fetch", "sweep", "prepare")


def run() -> dict[str, Any]:
    """Measure all sizes of both kinds."""
    sizes = [("numbers", count) for count in _sizes("NUMBERS", NUMBERS)]
    sizes += [("pictures", count) for count in _sizes("PICTURES", PICTURES)]
    found = {(kind, count): _measure(kind, count) for kind, count in sizes}
    figures: dict[str, Any] = {}
    for (kind, count), steps in found.items():
        for step, (seconds, memory, base) in steps.items():
            figures[f"{step}, {count:,} {kind}: s, MB more than the {base:.0f} before"] = f"{seconds:.1f}, {memory:.0f}"
    for kind in dict.fromkeys(kind for kind, _ in found):
        counts = [count for name, count in found if name == kind]
        for step in _STEPS:
            more = found[kind, max(counts)][step][1] - found[kind, min(counts)][step][1]
            kept = "kept" if more <= FLAT_MB else "MISSED"
            figures[f"{step} of {kind}: MB at {max(counts):,} over those at {min(counts):,}"] = f"{more:.0f} {kept}"
    if ("numbers", 1_000_000) in found:
        seconds = found["numbers", 1_000_000]["sweep"][0]
        kept = "kept" if seconds <= SECONDS else "MISSED"
        figures[f"sweep of a million labels: at most {SECONDS:g} s"] = f"{seconds:.1f} {kept}"
    return figures | {"CPU cores": os.cpu_count()}


def _sizes(name: str, usual: tuple[int, ...]) -> list[int]:
    """Give the sizes, or others that the environment asks for (``BENCH_LABELS_NUMBERS=1000,2000``)."""
    given = os.environ.get(f"BENCH_LABELS_{name}")
    return list(usual) if given is None else [int(one) for one in given.split(",") if one]


def _measure(kind: str, count: int) -> dict[str, tuple[float, float, float]]:
    from labelloop.loop.redis_server import RedisServer

    with tempfile.TemporaryDirectory() as folder, stand_in(kind, count) as url:
        redis = RedisServer(Path(folder) / "redis")
        redis.start()
        try:
            return {step: _in_a_process(step, folder, url, redis.url) for step in _STEPS}
        finally:
            redis.stop()


@contextmanager
def stand_in(kind: str, count: int) -> Iterator[str]:
    """Run the stand-in for Label Studio; gives its address."""
    command = [sys.executable, "-m", "benchmarks.many_tasks", str(count), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child.stdout.readline().strip()
        finally:
            child.kill()


def _in_a_process(step: str, folder: str, url: str, redis: str) -> tuple[float, float, float]:
    if step == "sweep":
        urllib.request.urlopen(urllib.request.Request(f"{url}/flip", method="POST"), timeout=60).close()
    command = [sys.executable, "-m", "benchmarks.bench_labels", step, folder, url, redis]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, memory, base = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory, base


def _step(step: str, folder: Path, url: str, redis: str) -> None:
    """Do one step in this process, and print its seconds, its memory and the memory before it, in MB."""
    from labelloop.kinds import base
    from labelloop.loop.process import open_hub
    from labelloop.settings import Settings
    from support import numbers_kind

    base.KINDS[numbers_kind.NAME] = numbers_kind.__name__
    settings = Settings(
        model_dir=str(folder / "model"),
        redis_url=redis,
        label_studio_url=url,
        label_studio_api_key="legacy",
        endpoint="fake://?classes=low,high",
        min_labels=4,
        backbone="test_resnet",
        weights="none",
        image_size=32,
        epochs=1,
    )
    hub = open_hub(settings)
    ready = {"fetch": _fetch, "sweep": _sweep, "prepare": _prepare}[step](hub, folder)
    before, began = memory("VmRSS"), time.perf_counter()
    ready()
    seconds, most = time.perf_counter() - began, memory("VmHWM")
    hub.redis.close()
    print(json.dumps([seconds, max(0.0, most - before), before]))


def _fetch(hub: Any, folder: Path) -> Any:
    """From the site to the manifest in the store, as a run of the loop begins."""
    from labelloop.data.split import missing
    from labelloop.loop.project_labels import keep_manifest, read_labels
    from labelloop.loop.project_registry import confirmed_project, site_of
    from labelloop.models.runs import RunRecord, Runs
    from labelloop.run.folder import RunFolder

    project = confirmed_project(hub, 7)[0]
    labeling = site_of(hub, 7).labeling()

    def fetch() -> None:
        labeled = read_labels(hub, project, labeling, lambda *_: None)
        if told := missing(labeled.manifest, hub.settings.min_labels):
            raise RuntimeError(told)
        keep_manifest(hub, project, labeled.manifest)
        labeled.write(RunFolder(folder / "run"))
        name = labeled.manifest.hash
        Runs(hub.store, project).save(RunRecord("k", str(project), name, "s", 0, state="rejected"))

    return fetch


def _sweep(hub: Any, _: Path) -> Any:
    """A scan that finds a hundred changed labels."""
    from benchmarks.many_tasks import CHANGED
    from labelloop.loop.project_registry import confirmed_project
    from labelloop.loop.sweep import sweep_project

    project = confirmed_project(hub, 7)[0]

    def sweep() -> None:
        sweep_project(hub, project, scan_now=True)
        changed = hub.state(project).changes.pending().changed
        if changed != CHANGED:
            raise RuntimeError(f"the sweep found {changed} changes")

    return sweep


def _prepare(hub: Any, folder: Path) -> Any:
    """The stage ``preprocess`` of the run."""
    from labelloop.run.context import Context
    from labelloop.run.folder import RunFolder
    from labelloop.run.preprocess import preprocess

    if "learns" not in (folder / "run" / "manifest.jsonl").open().readline():
        import labelloop.train.backbone
        import labelloop.train.pixels  # noqa: F401 - a worker has loaded them before

    context = Context(RunFolder(folder / "run"), hub.settings, lambda *_: None)
    return lambda: preprocess(context)


def memory(what: str) -> float:
    """Read a line of this process's status, in MB: ``VmRSS`` is held now, ``VmHWM`` was held at most."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{what}:")) / 1024


if __name__ == "__main__":
    _step(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:5])
