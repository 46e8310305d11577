"""From the last label to new predictions in Label Studio: where the seconds go, beside Label Studio's own ML SDK.

All of LabelLoop as ``labelloop start`` runs it, with a quiet time of a second, beside a Label Studio. A project has so
many tasks, a tenth of them labeled (200 at least, 2,000 at most), and a first version. Then ``CHANGED`` tasks are
labeled one after the other through Label Studio's API, and what follows the last of them is timed: twice with a warm
worker, once with one that was killed a moment before. The pause for which the loop leaves Label Studio alone after an
import is waited for before, and that nothing is at work. Stages are those that the run reports, each from its beginning
to the next one's; the flip is when the store says that the run's version is announced (``benchmarks.seconds_round``).
A run without a new version is told with its verdict.

- ``BENCH_SECONDS_TASKS=1000,10000,100000`` are the sizes, ``BENCH_SECONDS_KINDS=pictures,texts`` the kinds.
- ``BENCH_SECONDS_STUDIO`` is the label-studio program; up to ``BENCH_SECONDS_REAL`` (10000) tasks it is used, a
  stand-in beyond.
- ``BENCH_SECONDS_RECIPES=head`` names the recipes that compete; default: all.
- ``BENCH_SECONDS_PEER=1000`` is the most tasks with which the SDK's way is measured, too (``benchmarks.sdk_backend``).

Pictures are of 32 pixels, digits on noise; the network is ``test_resnet`` with weights that are drawn once and read
from a file, as learned ones are. Texts are made up.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.seconds_round import GIVE_UP_SECONDS, is_in_vain, play, stands, until, wait_for_rest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

if TYPE_CHECKING:
    from labelloop.demo.examples import Example
    from labelloop.demo.layouts import Layout
    from labelloop.settings import Settings
    from labelloop.types import Json
    from support.loop_machine import LoopMachine, Project

CHANGED = 20
REAL = int(os.environ.get("BENCH_SECONDS_REAL", "10000"))
QUIET_SECONDS = 1.0

_CLASSES = 4


def run() -> dict[str, Any]:
    """Measure every kind at every size."""
    figures: dict[str, Any] = {}
    for kind in _listed("KINDS", "pictures,texts"):
        for count in map(int, _listed("TASKS", "1000,10000,100000")):
            for what, value in _measure(kind, count):
                figures[f"{count:,} {kind}: {what}"] = value
                # Long before the last one.
                print(f"{count:,} {kind}: {what}: {value}", file=sys.stderr, flush=True)
    return figures | {"CPU cores": os.cpu_count(), "load now": " ".join(f"{one:.1f}" for one in os.getloadavg())}


def _listed(name: str, usual: str) -> list[str]:
    return [one for one in os.environ.get(f"BENCH_SECONDS_{name}", usual).split(",") if one]


def _measure(kind: str, count: int) -> Iterator[tuple[str, str]]:
    """Give the rows of one size."""
    from support.loop_machine import LoopMachine

    with tempfile.TemporaryDirectory(prefix="bench-seconds-") as name:
        folder = Path(name)
        examples = examples_of(kind, count, folder)
        with studio_of(folder, kind, examples) as studio:
            settings = settings_of(studio, folder, kind)
            with LoopMachine(studio, settings, folder / "log", folder) as machine:
                project = project_of(machine, folder, kind, examples)
                yield "first version, all", f"{first_version(machine, project):.1f} s"
                waiting = iter(project.tasks[labeled_of(count) :])
                for state in ("warm", "warm again", "cold"):
                    before = _bytes(settings.directory / "store")
                    told = _round(machine, project, waiting, cold=state == "cold")
                    more = _bytes(settings.directory / "store") - before
                    yield state, f"{told}; store +{more / 1e6:.1f} MB"
                if count <= min(REAL, int(os.environ.get("BENCH_SECONDS_PEER", "1000"))):
                    yield "the SDK's way", _peer(machine, project, folder, kind)


def labeled_of(count: int) -> int:
    """Say how many of a project's tasks are labeled before its first version."""
    return min(2000, max(200, count // 10))


@contextmanager
def studio_of(folder: Path, kind: str, examples: "list[Example]") -> Iterator[Any]:
    from labelloop.demo.label_studio import LabelStudio
    from support.servers import free_port

    if len(examples) <= REAL:
        with LabelStudio(_program(), folder / "studio", free_port()) as studio:
            yield studio
        return
    layout = _layout(kind)
    (folder / "config.xml").write_text(layout.label_config(_classes(examples), "single"))
    with (folder / "tasks.jsonl").open("w") as lines:
        for task in _tasks(layout, examples, "/data/upload/7/"):
            lines.write(json.dumps(task) + "\n")
    command = [sys.executable, "-m", "benchmarks.large_studio", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield StandIn(child.stdout.readline().strip())
        finally:
            child.kill()


@dataclass
class StandIn:
    """What ``LabelStudio`` is to the machine: its one project is there already."""

    url: str
    token: str = "legacy"

    def create_project(self, *_: str) -> int:
        """Give the number of the only one."""
        return 7


def _program() -> Path:
    usual = Path(__file__).parents[1] / ".venv-label-studio/bin/label-studio"
    return Path(os.environ.get("BENCH_SECONDS_STUDIO") or usual)


def settings_of(studio: Any, folder: Path, kind: str) -> "Settings":
    from labelloop.settings import Settings
    from support.servers import free_port

    recipes = tuple(_listed("RECIPES", ""))
    given: dict[str, Any] = {"recipes": recipes} if recipes else {}
    if kind == "pictures":
        given |= {"backbone": "test_resnet", "weights": str(_weights(folder / "weights.safetensors")), "image_size": 32}
    return Settings(
        label_studio_url=studio.url,
        label_studio_api_key=studio.token,
        model_dir=str(folder / "labelloop"),
        redis_url="embedded",
        host="127.0.0.1",
        port=free_port(),
        endpoint=f"http://127.0.0.1:{free_port()}",
        retrain_after=CHANGED,
        quiet_seconds=QUIET_SECONDS,
        head_retrain_after=CHANGED,
        head_quiet_seconds=QUIET_SECONDS,
        first_labels=False,
        **given,
    )


def _weights(path: Path) -> Path:
    """Draw a network's weights and write them as learned ones come."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=1000).state_dict(), path)
    return path


def project_of(machine: "LoopMachine", folder: Path, kind: str, examples: "list[Example]") -> "Project":
    """Make a project of these, some of them labeled, and connect it."""
    from labelloop.types import chunks

    layout = _layout(kind)
    studio: Any = machine.studio

    def fill(number: int) -> "dict[int, Example]":
        if isinstance(studio, StandIn):
            return dict(enumerate(examples, 1))
        if kind == "pictures":
            # Label Studio serves files of this folder as soon as there is a storage of it.
            studio.files.joinpath("pictures").symlink_to(folder / "pictures")
            place = {"project": number, "path": str(studio.files / "pictures"), "use_blob_urls": True}
            studio.request("POST", "/api/storages/localfiles", json=place)
        for some in chunks(_tasks(layout, examples, "/data/local-files/?d=pictures/"), 5000):
            studio.import_tasks(number, some)
        found = machine.client.tasks(number, fields=("id", "data"))
        return {task["id"]: examples[task["data"]["number"]] for task in found}

    config = layout.label_config(_classes(examples), "single")
    return machine.connected(studio.create_project(f"{len(examples)} {kind}", config), fill, layout)


def _layout(kind: str) -> "Layout":
    from labelloop.demo.layouts import LAYOUTS
    from labelloop.types import IMAGES, TEXTS

    return LAYOUTS[IMAGES if kind == "pictures" else TEXTS]


def _classes(examples: "list[Example]") -> list[str]:
    return sorted({one.labels[0] for one in examples})


def _tasks(layout: "Layout", examples: "list[Example]", place: str) -> "Iterator[Json]":
    """Write tasks as they are imported, the first ones with an annotation."""
    labeled = labeled_of(len(examples))
    for at, one in enumerate(examples):
        data = {layout.key: f"{place}{one.path.name}" if one.path else one.text, "number": at}
        yield {"data": data, "annotations": [{"result": layout.result(one)}] if at < labeled else []}


def examples_of(kind: str, count: int, folder: Path) -> "list[Example]":
    """Make inputs of four classes, each other than all others."""
    from labelloop.demo.examples import Example

    if kind == "pictures":
        return [Example(path, (label,)) for path, label in _pictures(count, folder)]
    chance = random.Random(0)
    words = [f"word{number}" for number in range(2000)]
    names = [at % _CLASSES for at in range(count)]
    return [
        Example(None, (f"class {one}",), " ".join([*chance.choices(words, k=12), f"subject{one}"])) for one in names
    ]


def _pictures(count: int, folder: Path) -> Iterator[tuple[Path, str]]:
    """Write digits with noise on them, which no other picture has."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    chance, data = np.random.default_rng(0), load_digits()
    kept = np.flatnonzero(data.target < _CLASSES)
    folder = folder / "pictures"
    folder.mkdir()
    for at in range(count):
        one = int(kept[at % len(kept)])
        grey = np.kron(data.images[one] * 13, np.ones((4, 4))) + chance.integers(0, 40, (32, 32))
        path = folder / f"{at:06}.png"
        Image.fromarray(grey.astype(np.uint8)).save(path, compress_level=1)
        yield path, str(data.target[one])


def first_version(machine: "LoopMachine", project: "Project") -> float:
    """Have the first version made, and wait until all is at rest; raises TimeoutError, saying how it stands."""
    began = time.time()
    machine.hub.queue(project.key).retrain("the benchmark")

    def announced() -> bool | None:
        if machine.hub.pointer(project.key).read().announced:
            return True
        run = machine.hub.runs(project.key).latest()
        return False if run is not None and is_in_vain(machine, run) else None

    if not until(machine, project, announced, "the first version", 4 * GIVE_UP_SECONDS):
        raise TimeoutError(f"there is no first version: {stands(machine, project)}")
    seconds = time.time() - began
    wait_for_rest(machine, project)
    return seconds


def _round(machine: "LoopMachine", project: "Project", waiting: Iterator[int], *, cold: bool) -> str:
    """Label some tasks and tell the stages of what follows."""
    if cold:
        machine.worker().kill()
    return play(machine, project, lambda: project.annotator.annotate(next(waiting) for _ in range(CHANGED)))


def _peer(machine: "LoopMachine", project: "Project", folder: Path, kind: str) -> str:
    """Have a backend of the SDK train and predict for the same project, as a person does who presses both buttons."""
    from labelloop.children import start_child, stop_child
    from support.servers import free_port
    from support.waiting import wait_until

    studio, number, port = machine.studio, project.key.id, free_port()
    url, models, log = f"http://127.0.0.1:{port}", folder / "sdk", folder / "sdk.log"
    environment = {
        **os.environ,
        "BENCH_SDK_STUDIO": studio.url,
        "BENCH_SDK_TOKEN": studio.legacy_token(),
        "BENCH_SDK_WEIGHTS": machine.settings.weights if kind == "pictures" else "",
    }
    command = [sys.executable, "-m", "benchmarks.sdk_backend", str(port), str(models)]
    child = start_child(command, log=log, environment=environment)
    try:
        wait_until(lambda: _answers(url), log.read_text, 60)
        for one in studio.request("GET", f"/api/ml?project={number}"):
            studio.request("DELETE", f"/api/ml/{one['id']}")
        made = studio.request("POST", "/api/ml", json={"project": number, "url": url, "title": "sdk"})
        began = time.time()
        studio.request("POST", f"/api/ml/{made['id']}/train", json={})
        wait_until(lambda: any(models.glob("*/job_result.json")), lambda: log.read_text()[-3000:], 600)
        trained = time.time()
        everything = {"selectedItems": {"all": True, "excluded": []}}
        action = f"/api/dm/actions?id=retrieve_tasks_predictions&project={number}"
        answer = studio.request("POST", action, json=everything)
        ended = time.time()
        return f"all {ended - began:.2f} s: trained {trained - began:.2f} retrieved {ended - trained:.2f}; {answer}"
    finally:
        stop_child(child, 5)


def _answers(url: str) -> bool:
    import requests

    try:
        return requests.get(f"{url}/health", timeout=1).ok
    except requests.RequestException:
        return False


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
