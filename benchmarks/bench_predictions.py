"""Seconds from a run's start to new predictions for 1,000 texts, in the processes that one machine runs.

Web process, worker, inference server and Redis are real, started as ``labelloop start`` starts them; Label Studio is a
stand-in that answers at once, so what the real one takes comes on top. Of texts of Python's own documentation some have
a class, 1,000 wait. A run with a head is asked for, and is over when each of the 1,000 has a prediction of the version
that it makes; then more texts get a class, and there is another run, against that version.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from labelloop.settings import Settings

if TYPE_CHECKING:
    from labelloop.loop.hub import Hub
    from support.studio_api import StudioApi

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

WAITING = 1000
LABELED = (300, 500, 800)
"""Texts that have a class in each of the runs."""
GOAL = 5.0
_LOOK_SECONDS, _GIVE_UP_SECONDS = 0.02, 180.0


def run() -> dict[str, Any]:
    """Make the runs, a row each; what a run before has left in memory the next one has at hand."""
    from labelloop.demo.texts import documentation

    examples = documentation(0, WAITING + LABELED[-1])
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, _machine(Path(folder)) as (hub, studio):
        for number, one in enumerate(examples.shown, start=1):
            studio.tasks[number] = {"id": number, "data": {"text": one.text}, "annotations": []}
        known = 0
        for count in LABELED:
            for number in range(WAITING + known, WAITING + count):
                studio.annotate(number + 1, examples.shown[number].labels[0], "text")
            found |= _round(hub, studio, known := count)
    return found


def _round(hub: "Hub", studio: "StudioApi", count: int) -> dict[str, Any]:
    from labelloop.loop.status import project_status

    project = hub.project(studio.number)
    before, spent, began = len(studio.predictions), _cpu(), time.monotonic()
    last = (project_status(hub, project).run or {}).get("key")
    hub.queue(project).retrain("bench", force=True)
    while len({one["task"] for one in studio.predictions[before:]} & set(range(1, WAITING + 1))) < WAITING:
        now = project_status(hub, project)
        if time.monotonic() > began + _GIVE_UP_SECONDS or (now.run or {}).get("state") in ("rejected", "failed"):
            raise RuntimeError(f"no new predictions: {now}")
        time.sleep(_LOOK_SECONDS)
    seconds, cpu = time.monotonic() - began, _cpu() - spent
    while (now := project_status(hub, project)).step is not None or (now.run or {}).get("key") == last:
        time.sleep(_LOOK_SECONDS)
    kept = "kept" if seconds <= GOAL else "MISSED"
    name = f"{count} texts with a class, {WAITING} predicted"
    return {
        f"{name}: s (goal {GOAL:g})": f"{seconds:.2f} {kept}",
        f"{name}: CPU s of all processes": round(cpu, 2),
        f"{name}: s of stages": dict((now.run or {}).get("seconds", {})),
    }


def _cpu() -> float:
    """Add up what this process, and all that it has started, have spent; the stand-in is a part of this process."""
    top = psutil.Process()
    found = [one.cpu_times() for one in (top, *top.children(recursive=True))]
    return sum(one.user + one.system + one.children_user + one.children_system for one in found)


@contextmanager
def _machine(folder: Path) -> "Iterator[tuple[Hub, StudioApi]]":
    """Run all that one machine needs, and a stand-in for Label Studio with an empty project of texts."""
    from labelloop.demo.layouts import LAYOUTS
    from labelloop.demo.ports import Ports, child_environment, demo_settings
    from labelloop.demo.texts import documentation
    from labelloop.loop.process import open_hub
    from labelloop.loop.status import project_status
    from labelloop.supervise import Supervisor
    from labelloop.types import TEXTS
    from labelloop.web.machine import machine_services
    from support.studio_api import running_studio

    with running_studio() as studio:
        studio.config = LAYOUTS[TEXTS].label_config(documentation(0, 0).classes, "single")
        settings = demo_settings(Settings(recipes=("head",), weights="none"), folder, 10**6, Ports.choose(None))
        settings = replace(settings, label_studio_url=studio.url, label_studio_api_key="legacy")
        supervisor = Supervisor(machine_services(settings, child_environment(settings)))
        try:
            supervisor.start()
            studio.backends.append(
                {"id": 1, "project": studio.number, "url": f"http://127.0.0.1:{settings.port}", "title": "v0"}
            )
            hub = open_hub(settings)
            # A worker loads torch before it takes jobs; no run waits for that but a machine's first.
            while not project_status(hub, hub.project(studio.number)).workers:
                time.sleep(_LOOK_SECONDS)
            yield hub, studio
        finally:
            supervisor.stop()
