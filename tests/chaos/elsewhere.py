"""A run whose trainer and deployer are elsewhere: programs of a team's own, by verb, and an endpoint of theirs."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from chaos.machine import House, Machine
from support.deployed import running_place
from support.training_programs import program

if TYPE_CHECKING:
    from chaos.scene import Scene

_TRAIN = """
import json, os, shutil, sys
from pathlib import Path
import numpy as np
from PIL import Image

jobs = Path(__file__).parent / "jobs"
jobs.mkdir(exist_ok=True)

def rows(path):
    return [row for row in map(json.loads, path.read_text().splitlines()) if "uri" in row or "file" in row]

def seen(path):
    return np.asarray(Image.open(path).convert("L").resize((8, 8)), float).ravel() / 255

def answer(means, path):
    away = {name: float(np.abs(seen(path) - mean).sum()) for name, mean in means.items()}
    total = sum(away.values())
    return [{"label": name, "score": 1 - one / total} for name, one in sorted(away.items())]

def means_of(job):
    shown = {}
    for row in rows(job / "train.jsonl"):
        shown.setdefault(row["labels"][0], []).append(seen(job / row["uri"]))
    return {name: np.mean(found, axis=0) for name, found in shown.items()}

verb, *rest = sys.argv[1:]
with (jobs / "log").open("a") as log:
    log.write(f"{verb}\\n")
if verb == "start":
    folder = Path(rest[0])
    key = json.loads((folder / "parameters.json").read_text())["key"]
    job = jobs / f"{key}-{sum(1 for one in jobs.iterdir() if one.name.startswith(key)) + 1}"
    shutil.copytree(folder, jobs / f".{job.name}")
    (jobs / f".{job.name}").rename(job)
    print(job.name)
elif verb == "find":
    begun = sorted(one.name for one in jobs.iterdir() if one.name.startswith(rest[0]))
    print(begun[-1] if begun else "")
elif verb == "poll":
    looks = jobs / rest[0] / "looks"
    with looks.open("a") as log:
        log.write("x")
    done = looks.stat().st_size
    print(json.dumps({"state": "running" if done < 4 else "done", "done": done, "total": 4, "what": "epochs"}))
elif verb == "collect":
    job, output = jobs / rest[0], Path(rest[1]) / "output"
    output.mkdir(exist_ok=True)
    means = means_of(job)
    asked = rows(job / "test.jsonl")
    lines = [{"content": row["content"], "answer": answer(means, job / row["file"])} for row in asked]
    (output / "answers.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
    (output / "result.json").write_text(json.dumps({"model": rest[0]}))
elif verb == "predict":
    means = means_of(jobs / rest[1])
    print(json.dumps({"predictions": [answer(means, json.loads(line)["file"]) for line in sys.stdin]}))
"""


def _given(machine: Machine, inside: ExitStack) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Name a training that outlives whoever began it, and a deployment of which each version takes a look to come."""
    folder = machine.folder / f"elsewhere-{machine.entered}"
    place = inside.enter_context(running_place(folder))
    place.classes = ("0", "1")
    trainer = program(folder, _TRAIN, verbs="start,find,poll,collect,predict")
    return {
        "trainer": trainer,
        "endpoint": place.endpoint,
        "deployer": place.deployer,
        "poll_seconds": 0.5,
    }, {}


HOUSE = House("elsewhere", given=_given, fresh=True, trains="elsewhere")


def kills(scene: "Scene") -> None:
    """Do one of the kills."""
    name = scene.chance.choice(["worker", "redis", "web", "studio", "all", "wipe"])
    scene.did = name
    scene.faults[name](scene)
