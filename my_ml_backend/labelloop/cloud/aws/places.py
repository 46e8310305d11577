"""Where this machine and SageMaker hand each other files: one folder in S3 for each pipeline (docs/aws.md).

<location>/<pipeline>/source/<run key>/manifest.jsonl, sides.json, shards.json   the labels of a run
<location>/<pipeline>/pictures/<name>.tar                                        shards, shared by all runs
<location>/<pipeline>/objects/<sha256>                                           pictures, for a pipeline not ours
<location>/<pipeline>/judged/<name>/                                             what Batch Transform asks, for a while
<location>/<pipeline>/executions/<execution id>/<step>/                          what a step left
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from labelloop.data.shards import SUFFIX
from labelloop.errors import Damaged
from labelloop.files import is_sha256

MANIFEST, SIDES, SHARDS = "manifest.jsonl", "sides.json", "shards.json"
"""The labels of a run: LabelLoop's manifest, the sides that were named, and the list of the shards of its pictures."""


RUN, PICTURES, MODEL, RESULTS = "run", "pictures", "model", "results"
"""What steps hand each other, by the names of inputs, outputs, channels and of their folders in a container: the run's
folder, shards, and what a training job leaves, packed: the bundle, and its other files."""


INPUT = "input"
"""What a processing container is given lies in folders below this one, beside that of the run."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folder of one pipeline below a ``location`` (objects.location_of). Paths are those within it."""

    location: str
    pipeline: str

    @property
    def address(self) -> str:
        """Its own address, without a slash at the end."""
        return f"{self.location.rstrip('/')}/{self.pipeline}"

    def of(self, path: str) -> str:
        """Give the address of what lies there."""
        return f"{self.address}/{path}"


def source(key: str, name: str = "") -> str:
    """Give the path of a run's labels, by its key, or of one of its files."""
    return f"source/{key}/{name}"


def shard(name: str = "") -> str:
    """Give the path of a shard, or that below which all of them are."""
    return f"pictures/{name}"


def results(execution: str, step: str, name: str = "") -> str:
    """Give the path below which a step of an execution left its files, or of one of them."""
    return f"executions/{execution}/{step}/{name}"


def write_shards(prefix: str, names: Iterable[str]) -> bytes:
    """Spell a list of shards as SageMaker reads it for a channel of type ManifestFile; ``prefix`` ends in a slash."""
    return json.dumps([{"prefix": prefix}, *names], indent=0).encode()


def read_shards(content: bytes) -> tuple[str, tuple[str, ...]]:
    """Read such a list: the address of the folder, and the names in it; raises Damaged."""
    try:
        first, *names = json.loads(content)
        prefix = str(first["prefix"])
        odd = [name for name in names if not is_sha256(str(name).removesuffix(SUFFIX))]
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged(f"a list of shards cannot be read ({error}): hand the run over again") from error
    if odd:
        raise Damaged(f"a list of shards names {str(odd[0])[:80]!r}, which is none: hand the run over again")
    return prefix, tuple(names)
