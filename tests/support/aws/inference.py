"""What models of the stand-in answer: a function of Python stands for each container image.

Batch Transform jobs are done when they are asked for the first time, or stay ``InProgress`` while ``stuck``.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.sagemaker.models import sagemaker_backends
from werkzeug import Response

from labelloop.types import Json
from support.aws.front import Handler
from support.aws.wire import Call, Refused, invalid, without_nothing

Answer = Callable[[str, bytes, str], bytes]
"""Takes where the model's data lie, a body and its media type; raises ValueError or OSError for what it cannot read."""


@dataclass
class Inference:
    """Models by their container images."""

    images: dict[str, Answer] = field(default_factory=dict)
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
            "sagemaker:InvokeEndpoint": self._invoke,
        }

    def jobs(self) -> dict[str, str]:
        """Give the status of each Batch Transform job there ever was, by name."""
        return {name: job["TransformJobStatus"] for name, job in self._jobs.items()}

    def _create(self, call: Call) -> Json:
        name, asked = call.parameters["TransformJobName"], call.parameters
        with self._lock:
            if name in self._jobs:
                raise Refused("ResourceInUse", f"Job name must be unique: {name}")
            _container(call.region, asked["ModelName"])
            self._jobs[name] = {**asked, "TransformJobStatus": "InProgress", "Region": call.region}
        return {"TransformJobArn": call.arn("transform-job", name)}

    def _describe(self, call: Call) -> Json:
        with self._lock:
            job = self._find(call)
            if job["TransformJobStatus"] == "InProgress" and not self.stuck:
                self._run(job)
            return without_nothing((key, value) for key, value in job.items() if key != "Region")

    def _list(self, call: Call) -> Json:
        asked = call.parameters
        found = [
            {"TransformJobName": name, "TransformJobStatus": job["TransformJobStatus"]}
            for name, job in self._jobs.items()
            if asked.get("NameContains", "") in name
            and asked.get("StatusEquals", job["TransformJobStatus"]) == job["TransformJobStatus"]
        ]
        return {"TransformJobSummaries": found}

    def _stop(self, call: Call) -> Json:
        with self._lock:
            self._find(call)["TransformJobStatus"] = "Stopped"
            return {}

    def _find(self, call: Call) -> Json:
        name = call.parameters["TransformJobName"]
        if name not in self._jobs:
            raise invalid(f"Could not find requested job with name: {name}")
        return self._jobs[name]

    def _run(self, job: Json) -> None:
        """Answer each object below the input's prefix by another; one that fails leaves none, and fails the job."""
        image, data = _container(job["Region"], job["ModelName"])
        source = job["TransformInput"]
        failed = ""
        for key, body in _objects(source["DataSource"]["S3DataSource"]["S3Uri"]):
            try:
                answer = self.images[image](data, body, source.get("ContentType", ""))
            except (ValueError, KeyError, OSError) as error:
                failed = f"ClientError: {key}: {error!r}. See job logs for more information"
                continue
            _put(f"{job['TransformOutput']['S3OutputPath'].rstrip('/')}/{key.rpartition('/')[2]}.out", answer)
        job["TransformJobStatus"] = "Failed" if failed else "Completed"
        job["FailureReason"] = failed or None

    def _invoke(self, call: Call) -> Response:
        name = call.request.path.split("/")[2]
        backend = sagemaker_backends[DEFAULT_ACCOUNT_ID][call.region]
        endpoint: Any = backend.endpoints.get(name)
        if endpoint is None:
            raise Refused("ValidationError", f"Endpoint {name} of account {DEFAULT_ACCOUNT_ID} not found.")
        config: Any = backend.endpoint_configs[endpoint.endpoint_config_name]
        image, data = _container(call.region, config.production_variants[0]["ModelName"])
        try:
            body = self.images[image](data, call.request.get_data(), call.request.content_type or "")
        except (ValueError, KeyError, OSError) as error:
            raise Refused("ModelError", f"Received client error (400) from primary: {error!r}", 424) from error
        return Response(body, content_type="application/json")


def _container(region: str, model: str) -> tuple[str, str]:
    """Give a model's image and data; raises Refused."""
    models: Any = sagemaker_backends[DEFAULT_ACCOUNT_ID][region]._models
    if model not in models:
        raise invalid(f'Could not find model "{model}".')
    found = models[model]
    one = (found.containers or [found.primary_container])[0]
    return str(one["Image"]), str(one.get("ModelDataUrl", ""))


def _objects(uri: str) -> list[tuple[str, bytes]]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    held: Any = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket]
    return [(key, found.value) for key, found in held.keys.items() if key.startswith(prefix)]


def _put(uri: str, content: bytes) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, content)
