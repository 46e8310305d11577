"""Batch Transform: each object below a prefix is answered by a model, into an object of its name with ``.out``.

A job is done when it is looked at for the first time, or stays InProgress while ``stuck``: nothing in a test waits.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labelloop.types import Json
from support.aws import storage
from support.aws.front import Handler
from support.aws.models import Models, container_of
from support.aws.wire import Call, Refused, invalid, page, without_nothing


@dataclass
class Transforms:
    """All Batch Transform jobs."""

    models: Models
    client: Callable[..., Any]
    stuck: bool = False
    _jobs: dict[str, Json] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        return {
            "sagemaker:CreateTransformJob": self._create,
            "sagemaker:DescribeTransformJob": self._describe,
            "sagemaker:ListTransformJobs": self._list,
            "sagemaker:StopTransformJob": self._stop,
        }

    def forget(self) -> None:
        """Forget everything."""
        self._jobs.clear()
        self.stuck = False

    def jobs(self) -> dict[str, str]:
        """Give the status of each job there ever was, by name."""
        return {name: job["TransformJobStatus"] for name, job in self._jobs.items()}

    def _create(self, call: Call) -> Json:
        name = call.parameters["TransformJobName"]
        arn = call.arn("transform-job", name)
        with self._lock:
            if name in self._jobs:
                raise Refused("ResourceInUse", f"Job name must be unique within an AWS account and region: {name}")
            container_of(call.region, call.parameters["ModelName"])
            told = {"TransformJobArn": arn, "TransformJobStatus": "InProgress", "CreationTime": time.time()}
            self._jobs[name] = {**call.parameters, **told}
        return {"TransformJobArn": arn}

    def _describe(self, call: Call) -> Json:
        with self._lock:
            job = self._find(call)
            if job["TransformJobStatus"] == "InProgress" and not self.stuck:
                self._run(job)
            return job

    def _list(self, call: Call) -> Json:
        asked = call.parameters
        shown = ("TransformJobName", "TransformJobArn", "TransformJobStatus", "CreationTime", "FailureReason")
        found = [
            {key: job[key] for key in shown if key in job}
            for name, job in reversed(self._jobs.items())
            if asked.get("NameContains", "") in name
            and asked.get("StatusEquals", job["TransformJobStatus"]) == job["TransformJobStatus"]
        ]
        return page(call, found, "TransformJobSummaries")

    def _stop(self, call: Call) -> Json:
        with self._lock:
            job = self._find(call)
            if job["TransformJobStatus"] == "InProgress":
                job["TransformJobStatus"] = "Stopped"
            return {}

    def _find(self, call: Call) -> Json:
        name = call.parameters["TransformJobName"]
        if name not in self._jobs:
            raise invalid(f"Could not find requested job with name: {name}")
        return self._jobs[name]

    def _run(self, job: Json) -> None:
        """Answer each object; one that fails leaves none, and fails the job when all have been tried."""
        region = job["TransformJobArn"].split(":")[3]
        s3, source = self.client("s3", region), job["TransformInput"]["DataSource"]["S3DataSource"]
        job["TransformStartTime"] = time.time()
        reason = None
        try:
            for uri, name in storage.listed(s3, source["S3Uri"], source["S3DataType"]):
                failed = self._transform(region, job, s3, uri, name.rpartition("/")[2])
                reason = reason or failed
        except storage.NothingThere as error:
            reason = str(error)
        done = {"TransformJobStatus": "Failed" if reason else "Completed", "FailureReason": reason}
        job.update(without_nothing({**done, "TransformEndTime": time.time()}.items()))

    def _transform(self, region: str, job: Json, s3: Any, uri: str, name: str) -> str | None:
        """Answer one object, whole or line by line; says why not."""
        told, content = job["TransformInput"], storage.read(s3, uri)
        parts = content.splitlines() if told.get("SplitType") == "Line" else [content]
        headers = {"Content-Type": told.get("ContentType", ""), "Accept": job["TransformOutput"].get("Accept", "*/*")}
        answers = [self.models.ask(region, job["ModelName"], part, headers) for part in parts]
        bad = next((one for one in answers if one.status_code >= 400), None)
        if bad is not None:
            said = f"{bad.status_code}: {bad.get_data(as_text=True)[:200]}"
            return f"ClientError: {uri}: {said}. See job logs for more information"
        line = b"\n" if job["TransformOutput"].get("AssembleWith") == "Line" else b""
        written = b"".join(one.get_data() + line for one in answers)
        storage.write(s3, f"{job['TransformOutput']['S3OutputPath'].rstrip('/')}/{name}.out", written)
        return None
