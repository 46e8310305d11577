"""Batch Transform for a project's waiting tasks: each is an object in S3, and so is its answer.

    KEY/in/NAME > job KEY, of the model that the endpoint serves > KEY/out/[...]/NAME.out

The key is the job's name, so that whoever was killed in here finds it again.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from labelloop.cloud.aws.account import Account, asking, ensure, if_there
from labelloop.cloud.aws.objects import Folder
from labelloop.cloud.base import Answers, BatchStands
from labelloop.cloud.objects import for_each
from labelloop.endpoints.sagemaker import PAYLOAD_BYTES
from labelloop.errors import CloudMissing
from labelloop.types import Json, chunks

_TOGETHER = 64
"""Requests that are held in memory while they are written."""

_AT_ONCE = 8
"""Answers that are read at a time, fewer than a client has connections."""

_GOING = ("InProgress", "Stopping")


class TransformJobs:
    """Implements Batch. ``model`` names the model of a version, and raises CloudError where there is none."""

    name = "Batch Transform"
    # Larger ones are scaled down for the endpoint, which takes as much.
    most_bytes = PAYLOAD_BYTES

    def __init__(
        self, account: Account, folder: Folder, model: Callable[[str], str], instance: str, count: int
    ) -> None:
        self._account, self._folder, self._model = account, folder, model
        self._resources = {"InstanceType": instance, "InstanceCount": count}
        self.machine = f"{count} x {instance}"

    def start(self, key: str, version: str, requests: Iterable[tuple[str, bytes]]) -> str:
        """Write what is asked, and begin the job; see Batch."""
        if self._look(key) is not None:
            return key
        folder, model = self._folder.below(key), self._model(version)
        for part in chunks(requests, _TOGETHER):
            bodies = dict(part)
            for_each(lambda name, held=bodies: folder.put(f"in/{name}", held[name], "application/json"), bodies)  # type: ignore[misc]
        client = self._account.client("sagemaker")
        # How many go to the container at a time, and of what size, it says itself (GET /execution-parameters).
        ensure(
            f"Batch Transform job {key}",
            lambda: client.describe_transform_job(TransformJobName=key),
            lambda: client.create_transform_job(
                TransformJobName=key,
                ModelName=model,
                TransformInput={
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{folder.uri}/in/"}},
                    "ContentType": "application/json",
                    "SplitType": "None",
                },
                TransformOutput={"S3OutputPath": f"{folder.uri}/out/", "Accept": "application/json"},
                TransformResources=self._resources,
            ),
        )
        return key

    def poll(self, handle: str) -> BatchStands:
        """Say how the job stands; see Batch."""
        seen = self._look(handle)
        if seen is None:
            return BatchStands("failed", f"Batch Transform job {handle} is gone")
        status = seen["TransformJobStatus"]
        if status in _GOING:
            return BatchStands("running")
        seconds = _between(seen.get("TransformStartTime"), seen.get("TransformEndTime"))
        if status == "Completed":
            return BatchStands("done", seconds=seconds)
        reason = seen.get("FailureReason") or "AWS says not why"
        return BatchStands("failed", f"Batch Transform job {handle} is {status}: {reason}", seconds)

    @contextmanager
    def answers(self, handle: str) -> Iterator[Answers]:
        """Read each answer when it is asked for; see Batch."""
        folder, turns = self._folder.below(f"{handle}/out"), threading.BoundedSemaphore(_AT_ONCE)
        # They lie in a subfolder that corresponds to the input's: SageMaker's page leaves open what it is called.
        place = next(folder.names(), "").rpartition("/")[0]
        beginning = f"{place}/" if place else ""

        def find(name: str) -> bytes | None:
            try:
                with turns:
                    return folder.read(f"{beginning}{name}.out")
            except CloudMissing:
                return None

        yield find

    def end(self, key: str) -> None:
        """Stop the job, and remove its objects; see Batch."""
        seen = self._look(key)
        if seen is not None and seen["TransformJobStatus"] in _GOING:
            with asking(f"the end of Batch Transform job {key}"):
                self._account.client("sagemaker").stop_transform_job(TransformJobName=key)
        self._folder.below(key).remove()

    def _look(self, key: str) -> Json | None:
        client = self._account.client("sagemaker")
        found: Json | None = if_there(
            f"Batch Transform job {key}", lambda: client.describe_transform_job(TransformJobName=key)
        )
        return found


def _between(begun: object, ended: object) -> float:
    whole = isinstance(begun, datetime) and isinstance(ended, datetime)
    return (ended - begun).total_seconds() if whole else 0.0  # type: ignore[operator]
