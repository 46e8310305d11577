"""What a sweep costs of a project with very many labeled tasks, and a run's fetch: by how much has changed.

Behind a stand-in for Label Studio (``benchmarks.many_tasks``), with a manifest of all its labels. Requests and rows are
those that the stand-in was asked for; memory is what the step's process held at most beyond what it held before. Each
step is a process of its own, as after a worker's start; the stand-in and Redis are others.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.bench_labels import memory, stand_in

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

STEPS = {"nothing changed": 0, "1 changed": 1, "1,000 changed": 1_000}
FLAT_MB = 64


def run() -> dict[str, Any]:
    """Measure one size, ``BENCH_SWEEP_TASKS`` labeled tasks."""
    from labelloop.loop.redis_server import RedisServer

    count = int(os.environ.get("BENCH_SWEEP_TASKS", "1000000"))
    figures: dict[str, Any] = {"labeled tasks": f"{count:,}"}
    with tempfile.TemporaryDirectory() as folder, stand_in("numbers", count) as url:
        redis = RedisServer(Path(folder) / "redis")
        redis.start()
        try:
            figures["fetch of everything"] = _in_a_process("fetch", folder, url, redis.url)
            for name, changed in STEPS.items():
                if changed:
                    _post(f"{url}/change/{changed}")
                figures[f"sweep, {name}"] = _in_a_process("look", folder, url, redis.url)
                figures[f"fetch, {name}"] = _in_a_process("fetch", folder, url, redis.url)
            figures["whole scan"] = _in_a_process("whole", folder, url, redis.url)
        finally:
            redis.stop()
    return figures | {"CPU cores": os.cpu_count()}


def _post(url: str) -> dict[str, int]:
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60) as answer:
        found: dict[str, int] = json.loads(answer.read())
    return found


def _in_a_process(step: str, folder: str, url: str, redis: str) -> str:
    before = _post(f"{url}/asked")
    command = [sys.executable, "-m", "benchmarks.bench_sweep", step, folder, url, redis]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    after = _post(f"{url}/asked")
    seconds, more, noted = json.loads(done.stdout.splitlines()[-1])
    requests, rows = (after[name] - before[name] for name in ("requests", "rows"))
    kept = "" if more <= FLAT_MB else " MISSED"
    return f"{requests} requests, {rows:,} rows, {seconds:.2f} s, {more:.0f} MB{kept}; {noted:,} labels noted"


def _step(step: str, folder: Path, url: str, redis: str) -> None:
    """Do one step in this process, and print its seconds, its memory in MB, and how many labels are noted after it."""
    from labelloop.kinds import base
    from labelloop.loop.process import open_hub
    from labelloop.loop.project_labels import keep_manifest, labeling_of
    from labelloop.loop.project_registry import confirmed_project
    from labelloop.loop.reading import keep_reading, read_current
    from labelloop.loop.state import Seen
    from labelloop.loop.sweep import sweep_project
    from labelloop.models.runs import RunRecord
    from labelloop.settings import Settings
    from support import numbers_kind

    base.KINDS[numbers_kind.NAME] = numbers_kind.__name__
    settings = Settings(
        model_dir=str(folder / "model"),
        redis_url=redis,
        label_studio_url=url,
        label_studio_api_key="legacy",
        endpoint="fake://?classes=low,high",
        weights="none",
        retrain_after=10**9,
    )
    hub = open_hub(settings)
    project = confirmed_project(hub, 7)[0]
    before, began = memory("VmRSS"), time.perf_counter()
    if step == "fetch":
        # As a run begins.
        at, labeling = time.time(), labeling_of(hub, project)
        labeled, reading = read_current(hub, project, labeling, lambda *_: None)
        manifest, found = labeled.manifest, labeling.counters
        hub.state(project).see(Seen(found.tasks, found.annotations, found.skipped, at))
        hub.state(project).note_read(manifest.hash, at)
        keep_manifest(hub, project, manifest)
        keep_reading(hub, project, reading)
        hub.runs(project).save(RunRecord("k", str(project), manifest.hash, "s", 0, state="rejected"))
        hub.state(project).changes.settle(at)
    else:
        sweep_project(hub, project, scan_now=step == "whole")
    seconds, most = time.perf_counter() - began, memory("VmHWM")
    noted = hub.state(project).changes.pending().changed
    hub.redis.close()
    print(json.dumps([seconds, max(0.0, most - before), noted]))


if __name__ == "__main__":
    _step(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:5])
