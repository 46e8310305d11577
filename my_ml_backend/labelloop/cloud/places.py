"""Where this machine and a training in a cloud hand each other files: one folder there for each trainer.

<location>/<trainer>/source/<run key>/manifest.jsonl, sides.json, shards.json    the labels of a run
<location>/<trainer>/pictures/<name>.tar                                         shards, shared by all runs
<location>/<trainer>/objects/<sha256>                                            pictures, for a pipeline not ours

The trainer is a pipeline's name on SageMaker (docs/aws.md), the scheme of its address on Google Cloud
(docs/trainers.md). Beside these:

<location>/<pipeline>/judged/<name>/                                             what Batch Transform asks, for a while
<location>/<pipeline>/executions/<execution id>/<step>/                          what a step left
<location>/vertex-job/runs/<run key>/                                            what a custom job leaves
"""

import json
from collections.abc import Iterable
from dataclasses import fields

from labelloop.settings import Settings

MANIFEST, SIDES, SHARDS = "manifest.jsonl", "sides.json", "shards.json"
"""The labels of a run: LabelLoop's manifest, the sides that were named, and the list of the shards of its pictures."""

RUN, PICTURES, MODEL, RESULTS = "run", "pictures", "model", "results"
"""What steps hand each other, by the names of inputs, outputs, channels and of their folders in a container: the run's
folder, shards, and what a training job leaves, packed: the bundle, and its other files."""

INPUT = "input"
"""What a processing container is given lies in folders below this one, beside that of the run."""

TOLD, PROGRESS, FAILURE = "told", "progress.json", "failure.txt"
"""What a custom job says of itself while it runs, or when it fails: a folder, and files in it."""

RECORD = "run.json"
LEFT_FOLDERS, LEFT_FILES = ("bundle", "evaluation"), ("train.json", "report.html", RECORD)
"""What is taken of a run's folder that was made elsewhere; its record is written last."""

HANDED_ON = (
    "LABELLOOP_MIN_LABELS",
    "LABELLOOP_GATE_MARGIN",
    "LABELLOOP_ALLOW_PRIVATE_ADDRESSES",
    "LABELLOOP_MEDIA_MAX_BYTES",
    "LABELLOOP_MEDIA_TIMEOUT",
)
"""Settings of this machine that stages elsewhere need, too, where they are not the built-in ones."""


def handed_on(settings: Settings) -> dict[str, str]:
    """Give these settings as variables."""
    rows = {entry.metadata["name"]: (getattr(settings, entry.name), entry.default) for entry in fields(Settings)}
    return {name: str(rows[name][0]) for name in HANDED_ON if rows[name][0] != rows[name][1]}


def source(key: str) -> str:
    """Give the path of the folder of a run's labels, by its key."""
    return f"source/{key}"


def job_folder(key: str) -> str:
    """Give the path of the folder in which a run's custom job works, by the run's key."""
    return f"runs/{key}"


def results(execution: str, step: str) -> str:
    """Give the path of the folder in which a step of an execution left its files."""
    return f"executions/{execution}/{step}"


def write_shards(prefix: str, names: Iterable[str]) -> bytes:
    """Spell a list of shards, as SageMaker reads it for a channel of type ManifestFile; ``prefix`` ends in a slash."""
    return json.dumps([{"prefix": prefix}, *names], indent=0).encode()
