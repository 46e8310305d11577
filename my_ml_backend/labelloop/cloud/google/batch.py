"""Batch prediction of Vertex AI: lines of instances in Cloud Storage, answered by a job that ends by itself.

cloud.google.com/vertex-ai, REST reference, ``projects.locations.batchPredictionJobs``. A job is known by the resource
name that Google gave it; whoever was killed before that was kept finds it by a label that its key makes.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from labelloop.cloud.base import Folder
from labelloop.cloud.google.client import Google, failed
from labelloop.endpoints.failures import words_of
from labelloop.errors import CloudAway, CloudError, CloudMissing
from labelloop.types import Json

_log = logging.getLogger(__name__)

LABEL = "labelloop-batch"

_FILE_BYTES = 32_000_000
"""Of one file of instances: so many are in memory together."""

_STANDS: Mapping[str, Literal["done", "failed"]] = {
    "JOB_STATE_SUCCEEDED": "done",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "done",
    "JOB_STATE_FAILED": "failed",
    "JOB_STATE_CANCELLED": "failed",
    "JOB_STATE_EXPIRED": "failed",
}
_STOPPING = "JOB_STATE_CANCELLING"
_WAITS = ("JOB_STATE_QUEUED", "JOB_STATE_PENDING")


@dataclass(frozen=True, slots=True)
class JobStands:
    """How a job stands: how many instances are ``answered`` and ``refused``, and for how many ``seconds`` it has run.

    One that ``waits`` has no machine yet. One that is done has left its answers in the folder ``output``
    (``gs://...``), though some of its instances may have failed. ``error`` is there where it failed as a whole.
    """

    state: Literal["running", "done", "failed"]
    answered: int = 0
    refused: int = 0
    seconds: float = 0.0
    waits: bool = False
    output: str = ""
    error: CloudError | None = None


@dataclass(frozen=True, slots=True)
class Predicted:
    """What came of one instance: its ``prediction``, or the ``error`` in words.

    ``instance`` is as it was sent; where the job was given a ``keyField``, it is the value of that field.
    """

    instance: Any
    prediction: Any = None
    error: str = ""


@dataclass(frozen=True)
class BatchPrediction:
    """Jobs that hand their files over in a ``folder``, in one of its own for each key.

    A key is any text that says what is asked, and of which model: there is one job for it. Raises CloudError or one of
    its kinds.
    """

    google: Google
    folder: Folder

    def place(self, key: str) -> Folder:
        """Give the folder of a key."""
        return self.folder.below(_hashed(key))

    def send(self, key: str, instances: Iterable[Json]) -> list[str]:
        """Write instances as JSON Lines, in files of about 32 MB, and give their addresses, for ``start``."""
        place, held, size, sent = self.place(key), list[bytes](), 0, list[str]()

        def write() -> None:
            sent.append(place.put(f"in/{len(sent):05}.jsonl", b"".join(held), "application/jsonl"))

        for one in instances:
            line = json.dumps(one).encode() + b"\n"
            if held and size + len(line) > _FILE_BYTES:
                write()
                held, size = [], 0
            held.append(line)
            size += len(line)
        write()
        return sent

    def find(self, key: str) -> str:
        """Give the resource name of the newest job of a key that goes on or is done; empty for none."""
        for one in self._jobs(key):
            state = str(one.get("state", ""))
            stands = "failed" if state == _STOPPING else _STANDS.get(state, "running")
            # Of one whose answers were just being removed, when somebody was killed, nothing is left to be read.
            if stands == "running" or (stands == "done" and any(self.place(key).below("out").names())):
                return str(one["name"])
        return ""

    def start(self, model: str, addresses: Sequence[str], key: str, more: Mapping[str, Any] | None = None) -> str:
        """Let a model (its resource name) answer instances, and give the job's resource name.

        Where a job of this key goes on or is done, it is that one. ``more`` are fields of the job beside, such as
        ``modelParameters``, ``dedicatedResources`` or ``instanceConfig``.
        """
        if before := self.find(key):
            return before
        body = {
            "displayName": f"labelloop-{_hashed(key)}",
            "model": model,
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": list(addresses)}},
            "outputConfig": {
                "predictionsFormat": "jsonl",
                "gcsDestination": {"outputUriPrefix": f"{self.place(key).uri}/out"},
            },
            "labels": {LABEL: _hashed(key)},
            **(more or {}),
        }
        path = f"{self.google.parent}/batchPredictionJobs"
        return str(self.google.ask("POST", path, body, what=f"a batch prediction job of {model}")["name"])

    def poll(self, job: str) -> JobStands:
        """Say how a job stands; raises CloudMissing for one that is gone."""
        seen = self.google.ask("GET", job, what=f"batch prediction job {job}")
        state, stats = str(seen.get("state", "")), seen.get("completionStats", {})
        answered, refused = (max(0, int(stats.get(name, 0))) for name in ("successfulCount", "failedCount"))
        stands = JobStands(_STANDS.get(state, "running"), answered, refused, _seconds(seen), waits=state in _WAITS)
        if stands.state == "failed":
            why = seen.get("error") or {"message": f"it ended as {state.removeprefix('JOB_STATE_')}"}
            return replace(stands, error=failed(f"batch prediction job {job}", why))
        return replace(stands, output=str(seen.get("outputInfo", {}).get("gcsOutputDirectory", "")))

    def results(self, output: str) -> Iterator[Predicted]:
        """Read what a job has left, one file after the other: first what failed, then what was answered.

        What failed only in part is in both. Raises CloudError for an output that is not below the folder.
        """
        beginning = f"{self.folder.uri}/"
        if not output.startswith(beginning):
            raise CloudError(f"the answers lie in {output[:200]!r}, which is not below {self.folder.uri}: none is read")
        found = self.folder.below(output.removeprefix(beginning).strip("/"))
        with tempfile.TemporaryDirectory(prefix="labelloop-batch-") as place:
            for name in sorted(found.names(), key=lambda name: ("error" not in _base(name), name)):
                if "prediction" not in _base(name) and "error" not in _base(name):
                    continue
                found.fetch(Path(place), [name])
                path = Path(place) / name
                with path.open("rb") as lines:
                    yield from filter(None, map(_predicted, lines))
                path.unlink()

    def cancel(self, job: str) -> None:
        """Stop a job, unless it has ended; may be repeated."""
        try:
            if self.poll(job).state == "running":
                self.google.ask("POST", f"{job}:cancel", {}, what=f"the end of batch prediction job {job}")
        except CloudMissing:
            return

    def end(self, key: str) -> None:
        """Stop and remove the jobs of a key, and its files; may be repeated."""
        for job in [str(one["name"]) for one in self._jobs(key)]:
            try:
                self.cancel(job)
                self.google.ask("DELETE", job, what=f"batch prediction job {job} to be removed")
            except CloudMissing:
                continue
            except CloudAway:
                raise
            except CloudError as error:
                # One that is being stopped cannot be removed yet, and costs nothing any more.
                _log.warning("batch prediction job %s is still listed: %s", job, error)
        self.place(key).remove()

    def remove(self, key: str) -> None:
        """Do the same where nobody comes back: what cannot be ended is said in the log."""
        try:
            self.end(key)
        except CloudError as error:
            place = self.place(key).uri
            _log.error("a batch prediction job may go on, and cost: end it by hand, and remove %s. %s", place, error)

    def _jobs(self, key: str) -> list[Json]:
        """List the jobs of a key, the newest first."""
        found = self.google.listing(
            f"{self.google.parent}/batchPredictionJobs",
            "batchPredictionJobs",
            query={"filter": f'labels.{LABEL}="{_hashed(key)}"'},
            what="the batch prediction jobs",
        )
        return sorted(found, key=lambda one: str(one.get("createTime", "")), reverse=True)


def _predicted(line: bytes) -> Predicted | None:
    """Read a line of an output; None for what is no answer to an instance, as the counts of custom models are."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    error = value.pop("error", None)
    prediction = value.pop("prediction", value.pop("predictions", None))
    # Of what failed there may be the instance itself, and the error among its fields.
    instance = value["key"] if value.keys() == {"key"} else value.get("instance", value)
    if error is None:
        return Predicted(instance, prediction)
    return Predicted(instance, None, words_of(error) or "Google gave no reason")


def _seconds(job: Json) -> float:
    """Say how long a job has run, 0 where that is not told: it has not begun, or not ended."""
    began, ended = (str(job.get(name, "")) for name in ("startTime", "endTime"))
    if not began or not ended:
        return 0.0
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _base(name: str) -> str:
    return name.rpartition("/")[2]
