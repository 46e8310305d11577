"""Rows of predictions in Label Studio after many rounds of a head, before and after those of old versions are removed.

A real Label Studio with a project of so many tasks. Each round labels a few, and waits until the version that comes of
it is announced and all tasks have its predictions, or until the gate has rejected it: with so few test items it finds
some worse. The loop itself removes nothing meanwhile: tasks that somebody may have open keep their predictions for an
hour. At the end what would be outdated without that hour is removed for some seconds, by the loop's own code.

- ``BENCH_ROUNDS=100`` is how many, ``BENCH_ROUNDS_TASKS=1000`` the size, ``BENCH_ROUNDS_LABELS=5`` the labels of each.
- ``BENCH_ROUNDS_REMOVAL=60`` is for how many seconds predictions are removed; 0: until all are.
- ``BENCH_ROUNDS_KIND=texts`` or ``pictures``; ``BENCH_SECONDS_STUDIO`` as for ``seconds``.
"""

import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bench_seconds import (
    examples_of,
    first_version,
    labeled_of,
    project_of,
    settings_of,
    studio_of,
)
from benchmarks.seconds_round import wait_for_rest

if TYPE_CHECKING:
    from labelloop.loop.status import ProjectStatus
    from support.loop_machine import LoopMachine, Project

_TOLD = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200)
_GIVE_UP_SECONDS = 600.0


def run() -> dict[str, Any]:
    """Play the rounds and count."""
    figures: dict[str, Any] = {}
    for what, value in _play():
        figures[what] = value
        print(f"{what}: {value}", file=sys.stderr, flush=True)
    return figures | {"load now": " ".join(f"{one:.1f}" for one in os.getloadavg())}


def _given(name: str, usual: int) -> int:
    return int(os.environ.get(f"BENCH_ROUNDS{name}", usual))


def _play() -> Iterator[tuple[str, str]]:
    from support.loop_machine import LoopMachine

    kind, rounds, labels = os.environ.get("BENCH_ROUNDS_KIND", "texts"), _given("", 100), _given("_LABELS", 5)
    with tempfile.TemporaryDirectory(prefix="bench-rounds-") as name:
        folder = Path(name)
        examples = examples_of(kind, _given("_TASKS", 1000), folder)
        with studio_of(folder, kind, examples) as studio:
            settings = settings_of(studio, folder, kind)
            settings = replace(settings, head_retrain_after=labels, drift="off")
            with LoopMachine(studio, settings, folder / "log", folder) as machine:
                project = project_of(machine, folder, kind, examples)
                first_version(machine, project)
                waiting = iter(project.tasks[labeled_of(len(examples)) :])
                took: list[float] = []
                rejected = 0
                for number in range(1, rounds + 1):
                    seconds = _round(machine, project, [*islice(waiting, labels)])
                    if seconds is None:
                        rejected += 1
                    else:
                        took.append(seconds)
                    if number in _TOLD or number == rounds:
                        mean = sum(took) / max(len(took), 1)
                        yield f"after round {number}", f"{_rows(folder)}; {mean:.1f} s a version, {rejected} rejected"
                yield "removal", _removal(machine, project, folder)


def _round(machine: "LoopMachine", project: "Project", tasks: list[int]) -> float | None:
    """Label these, and wait until all is at rest.

    Returns the seconds until the next version was announced; None where it was rejected.
    """
    before = machine.status(project)
    project.annotator.annotate(tasks)
    began = time.time()
    machine.wait_for(
        project, lambda now: now.announced != before.announced or _rejected(before, now), "a verdict", _GIVE_UP_SECONDS
    )
    took = time.time() - began
    wait_for_rest(machine, project)
    return took if machine.status(project).announced != before.announced else None


def _rejected(before: "ProjectStatus", now: "ProjectStatus") -> bool:
    """Say whether a run that was not there before has learned all there is, and was rejected."""
    if now.run is None or now.changed or (before.run and now.run["key"] == before.run["key"]):
        return False
    return bool(now.run["state"] == "rejected")


def _rows(folder: Path) -> str:
    """Count rows of Label Studio's own database."""
    [path] = (folder / "studio").rglob("label_studio.sqlite3")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows, versions = database.execute("SELECT count(*), count(DISTINCT model_version) FROM prediction").fetchone()
        waiting = database.execute("SELECT count(*) FROM task WHERE total_annotations = 0").fetchone()[0]
    database.close()
    return f"{rows:,} rows of {versions} versions, {waiting} tasks wait, {path.stat().st_size / 1e6:.0f} MB"


def _removal(machine: "LoopMachine", project: "Project", folder: Path) -> str:
    """Remove what is outdated but for the hour in which it may be open, and say how fast that goes."""
    from labelloop.loop import old_predictions

    seconds = _given("_REMOVAL", 60)
    old_predictions._OPEN_SECONDS = 0.0
    began = time.time()
    removed, left = old_predictions.remove_predictions(machine.hub, project.key, lambda: seconds or float("inf"))
    took = time.time() - began
    told = f"{removed:,} in {took:.0f} s, {took / max(removed, 1) * 1000:.0f} ms each"
    return f"{told}; {'others are left' if left else 'all'}; {_rows(folder)}"
