"""``labelloop predict --project N`` on a real Label Studio: tasks per second and memory, at 1,000 and at 20,000 tasks.

The endpoint is that of ``predict``: 30 ms, 32 at a time. The comparison is Label Studio's own "Retrieve Predictions" of
1,000 tasks with LabelLoop as its ML backend. Memory is the most that the command's process ever held.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bench_predict import TEXT_CONFIG, slow_endpoint
from benchmarks.web_process import address, free_port, web_process
from labelloop.demo.label_studio import LabelStudio
from labelloop.environment import environment_of
from labelloop.settings import Settings
from labelloop.studio.client import Studio

FEW, MANY = 1_000, 20_000
FLAT = 1.25
"""How much more memory 20 times the tasks may take."""

_LABEL_STUDIO = Path(__file__).parents[1] / ".venv-label-studio/bin/label-studio"
_PER_IMPORT = 5_000


def run() -> dict[str, Any]:
    """Measure both sizes and the comparison in one run."""
    command = Path(os.environ.get("LABELLOOP_TEST_LABEL_STUDIO") or _LABEL_STUDIO)
    with tempfile.TemporaryDirectory() as folder, LabelStudio(command, Path(folder) / "ls", free_port()) as studio:
        given = {"label_studio_url": studio.url, "label_studio_api_key": studio.token, "endpoint": "sagemaker://bench"}
        with slow_endpoint() as (_, aws), web_process(Path(folder) / "ll", aws, **given) as settings:
            few, few_memory = _predict(studio, settings, aws, FEW)
            many, many_memory = _predict(studio, settings, aws, MANY)
            retrieved = _retrieve(studio, settings, FEW)
    growth = many_memory / few_memory
    return {
        f"labelloop predict, {FEW:,} tasks: tasks/s, with start-up and import": round(few),
        f"labelloop predict, {MANY:,} tasks: tasks/s, with start-up and import": round(many),
        f"Label Studio's Retrieve Predictions, {FEW:,} tasks: tasks/s": round(retrieved),
        f"peak memory at {FEW:,} tasks, MB": round(few_memory / 1e6),
        f"peak memory at {MANY:,} tasks, MB": round(many_memory / 1e6),
        f"flat: at most {FLAT:g} times": f"{growth:.2f} {'kept' if growth <= FLAT else 'MISSED'}",
        "CPU cores": os.cpu_count(),
    }


def _project(studio: LabelStudio, tasks: int) -> int:
    project = studio.create_project(f"{tasks} texts", TEXT_CONFIG)
    for start in range(0, tasks, _PER_IMPORT):
        numbers = range(start, min(tasks, start + _PER_IMPORT))
        studio.import_tasks(project, [{"text": f"text {number} of {tasks}"} for number in numbers])
    return project


def _predict(studio: LabelStudio, settings: Settings, aws: Mapping[str, str], tasks: int) -> tuple[float, float]:
    """Run the command once; gives tasks per second and the most bytes its process held."""
    project = _project(studio, tasks)
    command = [sys.executable, "-m", "labelloop", "predict", "--project", str(project), "--json"]
    began, most = time.perf_counter(), 0
    with psutil.Popen(command, env={**os.environ, **environment_of(settings), **aws}, stdout=subprocess.PIPE) as child:
        while child.poll() is None:
            most = max(most, _memory(child))
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        done = json.loads(child.stdout.read())
    if (
        done["predicted"] != tasks
        or studio.request("GET", f"/api/projects/{project}")["total_predictions_number"] != tasks
    ):
        raise RuntimeError(f"not every task has a prediction: {done}")
    return tasks / seconds, float(most)


def _memory(child: psutil.Popen) -> int:
    try:
        return int(child.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _retrieve(studio: LabelStudio, settings: Settings, tasks: int) -> float:
    project = _project(studio, tasks)
    client = Studio.of(settings)
    client.create_ml_backend(project, address(settings), "bench")
    client.close()
    began = time.perf_counter()
    selected = {"selectedItems": {"all": True, "excluded": []}}
    studio.request("POST", f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}", json=selected)
    seconds = time.perf_counter() - began
    found = studio.request("GET", f"/api/projects/{project}")["total_predictions_number"]
    if found != tasks:
        raise RuntimeError(f"Label Studio retrieved {found} of {tasks} predictions")
    return tasks / seconds
