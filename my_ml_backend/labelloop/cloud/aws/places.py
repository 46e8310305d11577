"""Where this machine and SageMaker hand each other files: one folder in S3 for each pipeline (docs/aws.md).

<location>/<pipeline>/source/<run key>/manifest.jsonl, sides.json, shards.json   the labels of a run
<location>/<pipeline>/pictures/<name>.tar                                        shards, shared by all runs
<location>/<pipeline>/objects/<sha256>                                           pictures, for a pipeline not ours
<location>/<pipeline>/judged/<name>/                                             what Batch Transform asks, for a while
<location>/<pipeline>/executions/<execution id>/<step>/                          what a step left
"""

import json
from collections.abc import Iterable

MANIFEST, SIDES, SHARDS = "manifest.jsonl", "sides.json", "shards.json"
"""The labels of a run: LabelLoop's manifest, the sides that were named, and the list of the shards of its pictures."""

RUN, PICTURES, MODEL, RESULTS = "run", "pictures", "model", "results"
"""What steps hand each other, by the names of inputs, outputs, channels and of their folders in a container: the run's
folder, shards, and what a training job leaves, packed: the bundle, and its other files."""

INPUT = "input"
"""What a processing container is given lies in folders below this one, beside that of the run."""


def source(key: str) -> str:
    """Give the path of the folder of a run's labels, by its key."""
    return f"source/{key}"


def results(execution: str, step: str) -> str:
    """Give the path of the folder in which a step of an execution left its files."""
    return f"executions/{execution}/{step}"


def write_shards(prefix: str, names: Iterable[str]) -> bytes:
    """Spell a list of shards as SageMaker reads it for a channel of type ManifestFile; ``prefix`` ends in a slash."""
    return json.dumps([{"prefix": prefix}, *names], indent=0).encode()
