"""Somebody else's trainings, as programs: of numbers in texts, by the mean of each class."""

import shlex
import stat
import sys
from pathlib import Path

LEARN = '''
import json, os, sys
from pathlib import Path

def rows(path):
    return [row for row in map(json.loads, path.read_text().splitlines()) if "text" in row]

def learn(folder):
    """Give the mean of each class."""
    shown = {}
    for row in rows(folder / "train.jsonl"):
        shown.setdefault(row["labels"][0], []).append(float(row["text"]))
    return {name: sum(numbers) / len(numbers) for name, numbers in shown.items()}

def label(means, text):
    return min(means, key=lambda name: abs(means[name] - float(text)))

def answer(means, text):
    best = label(means, text)
    return [{"label": name, "score": 0.9 if name == best else 0.1} for name in means]

def leave(folder, means, answered=True, **result):
    """Keep the model beside this program, and leave its name and answers."""
    key = os.environ.get("LABELLOOP_RUN_KEY") or json.loads((folder / "parameters.json").read_text())["key"]
    models = Path(__file__).parent / "models"
    models.mkdir(exist_ok=True)
    (models / f"means-{key}").write_text(json.dumps(means))
    output = folder / "output"
    output.mkdir(exist_ok=True)
    if answered:
        tests = rows(folder / "test.jsonl")
        lines = [{"content": row["content"], "answer": answer(means, row["text"])} for row in tests]
        (output / "answers.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
    (output / "result.json").write_text(json.dumps({"model": f"means-{key}", **result}))

def predict(model):
    means = json.loads((Path(__file__).parent / "models" / model).read_text())
    return [answer(means, json.loads(line)["text"]) for line in sys.stdin]
'''

PLAIN = (
    LEARN
    + """
if sys.argv[1] == "predict":
    for found in predict(sys.argv[3]):
        print(json.dumps(found))
    sys.exit()
folder = Path(sys.argv[1])
print("progress 1 2 sums", flush=True)
leave(folder, learn(folder), notes=["means of numbers"], validation={"accuracy": 0.5})
"""
)
"""Trains while it is waited for, answers the test items itself, and can be asked about others."""

BUNDLE = (
    LEARN
    + """
import hashlib
bundle = Path(sys.argv[1]) / "output" / "bundle"
bundle.mkdir(parents=True)
content = json.dumps(learn(Path(sys.argv[1]))).encode()
(bundle / "means.json").write_bytes(content)
files = {"means.json": hashlib.sha256(content).hexdigest()}
about = {"classes": ["low", "high"], "kind": "single", "recipe": "theirs", "files": files, "format": 1}
(bundle / "model.json").write_text(json.dumps(about | {"learns": "numbers"}))
(bundle / "other.bin").write_bytes(b"x")
"""
)
"""Leaves a bundle, as ``numbers_kind`` opens it."""

BY_VERB = (
    LEARN
    + """
import shutil
jobs = Path(__file__).parent / "jobs"
jobs.mkdir(exist_ok=True)
verb, *rest = sys.argv[1:]
with (jobs / "log").open("a") as log:
    log.write(" ".join([verb, *map(os.path.basename, rest)]) + "\\n")
if verb == "start":
    folder = Path(rest[0])
    key = json.loads((folder / "parameters.json").read_text())["key"]
    number = sum(1 for one in jobs.iterdir() if one.name.startswith(key)) + 1
    job = jobs / f"{key}-{number}"
    shutil.copytree(folder, job)
    print("job submitted")
    print(job.name)
elif verb == "find":
    begun = sorted(one.name for one in jobs.iterdir() if one.name.startswith(rest[0]))
    print(begun[-1] if begun else "")
elif verb == "poll":
    job = jobs / rest[0]
    if (job / "failed").exists():
        print(json.dumps({"state": "failed", "reason": (job / "failed").read_text()}))
    elif not (job / "ready").exists():
        (job / "ready").touch()
        print(json.dumps({"state": "running", "done": 3, "total": 10, "what": "epochs"}))
    else:
        print(json.dumps({"state": "done"}))
elif verb == "collect":
    job = jobs / rest[0]
    leave(job, learn(job), answered=False)
    shutil.copytree(job / "output", Path(rest[1]) / "output", dirs_exist_ok=True)
elif verb == "cancel":
    (jobs / rest[0] / "failed").write_text("it was cancelled")
elif verb == "predict":
    print(json.dumps({"predictions": predict(rest[1])}))
"""
)
"""Trains in jobs that outlive whoever began them: the second look at one finds it done."""


def program(folder: Path, text: str, verbs: str = "", **options: str) -> str:
    """Write a Python program, and give its address as a trainer."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.py"
    path.write_text(text)
    query = "&".join([*([f"verbs={verbs}"] if verbs else []), *(f"{name}={value}" for name, value in options.items())])
    return f"command:{shlex.join([sys.executable, str(path)])}{f'?{query}' if query else ''}"


def shell(folder: Path, *lines: str, verbs: str = "") -> str:
    """Write a shell script, and give its address as a trainer."""
    path = folder / "train.sh"
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"command:{shlex.quote(str(path))}{f'?verbs={verbs}' if verbs else ''}"
