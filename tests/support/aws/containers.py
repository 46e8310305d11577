"""Containers of jobs, without their images: what SageMaker gives one is laid out below a folder that stands for
/opt/ml, its command runs as a child process of this Python, and what it leaves goes to S3.

``python`` is this Python. The program finds its /opt/ml by SAGEMAKER_BASE_DIR.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from botocore.exceptions import ClientError

from labelloop.children import start_child, stop_group
from labelloop.types import Json
from support.aws import storage
from support.aws.job import GRACE, TRAINING, Job
from support.programs import children_environment, this_python

_OPT_ML = re.compile(r"(?<![\w/.-])/opt/ml(?=/|$|\W)")
_TRAINING_COMMAND = ("python", "-m", "labelloop", "train")
"""What our training image runs when SageMaker starts it as ``train``."""

_FAILURE_LETTERS = 1024


class JobFailed(Exception):
    """The job has failed, for a reason that SageMaker would give."""


@dataclass
class Containers:
    """What containers are made from. ``client`` gives a client of the stand-in, ``environment`` by what AWS is found.

    ``commands`` are what images run where a training job names no entrypoint (all others: ours), ``image_environment``
    stands in the environment of every image.
    """

    client: Callable[..., Any]
    environment: Callable[[], dict[str, str]]
    commands: dict[str, Sequence[str]] = field(default_factory=dict)
    image_environment: dict[str, str] = field(default_factory=dict)

    def run(self, job: Job) -> None:
        """Run a job's program; raises JobFailed, NothingThere, or ValueError for what it asks."""
        status = self._attempt(job)
        while job.interrupted:
            shutil.rmtree(job.root)
            status = self._attempt(job)
        job.message = _start_of(job.root / "output" / "message")
        if job.stopping.is_set():
            raise JobFailed("stopped")
        if status:
            said = _start_of(job.root / "output" / "failure") if job.kind is TRAINING else ""
            self._take_output(job)
            code = 128 - status if status < 0 else status
            raise JobFailed(f"AlgorithmError: {said or 'See job logs for more information'}, exit code: {code}")
        self._deliver(job)

    def keep_log(self, job: Job) -> None:
        """Write what the program said to CloudWatch's logs."""
        lines = job.log.read_text(errors="replace").splitlines() if job.log.is_file() else []
        logs, group = self.client("logs", job.region), job.kind.log_group
        stream = f"{job.name}/algo-1-{int(job.created)}"
        with suppress(ClientError):
            logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": line or " "} for line in lines[-10_000:]]
        if events:
            logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    def _attempt(self, job: Job) -> int:
        """Run the program once, on a machine that holds nothing yet; gives its exit status."""
        job.interrupted = False
        _lay_out(self.client("s3", job.region), job)
        try:
            return self._run_child(job)
        finally:
            for uri, folder in _checkpoints(job):
                storage.take(self.client("s3", job.region), folder, uri)

    def _run_child(self, job: Job) -> int:
        limit = (job.request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds")
        job.child = start_child(self._command(job), log=job.log, environment=self._environment(job))
        try:
            if job.stopping.is_set():
                stop_group(job.child, 0)
            return job.child.wait(limit)
        except TimeoutExpired:
            stop_group(job.child, GRACE)
            raise JobFailed("ClientError: MaxRuntimeExceeded: the job ran for longer than it may") from None
        finally:
            job.child = None

    def _command(self, job: Job) -> list[str]:
        told = job.request["AlgorithmSpecification" if job.kind is TRAINING else "AppSpecification"]
        image = str(told.get("TrainingImage") or told.get("ImageUri") or "")
        entry = told.get("ContainerEntrypoint") or self.commands.get(image) or _TRAINING_COMMAND
        return this_python([_below(job, word) for word in (*entry, *(told.get("ContainerArguments") or ()))])

    def _environment(self, job: Job) -> dict[str, str]:
        (job.folder / "home").mkdir(parents=True, exist_ok=True)
        return {
            **children_environment(),
            "HOME": str(job.folder / "home"),
            **self.environment(),
            "AWS_REGION": job.region,
            "AWS_DEFAULT_REGION": job.region,
            **self.image_environment,
            **{name: _below(job, value) for name, value in (job.request.get("Environment") or {}).items()},
            "SAGEMAKER_BASE_DIR": str(job.root),
            "TRAINING_JOB_NAME" if job.kind is TRAINING else "PROCESSING_JOB_NAME": job.name,
        }

    def _deliver(self, job: Job) -> None:
        s3 = self.client("s3", job.region)
        if job.kind is TRAINING:
            storage.write(s3, f"{job.output}/model.tar.gz", storage.archive(job.root / "model"))
            self._take_output(job)
            events = job.request.get("TensorBoardOutputConfig")
            if events:
                folder = job.here(events.get("LocalPath") or "/opt/ml/output/tensorboard")
                storage.take(s3, folder, f"{events['S3OutputPath'].rstrip('/')}/{job.name}/tensorboard-output")
        for one in _outputs(job):
            storage.take(s3, job.here(one["S3Output"]["LocalPath"]), one["S3Output"]["S3Uri"])

    def _take_output(self, job: Job) -> None:
        folder = job.root / "output" / "data"
        if job.kind is TRAINING and any(folder.iterdir()):
            storage.write(self.client("s3", job.region), f"{job.output}/output.tar.gz", storage.archive(folder))


def _below(job: Job, text: str) -> str:
    """Write a path of the container as that of the folder that stands for it."""
    return _OPT_ML.sub(str(job.root), text)


# What a container finds.
def _lay_out(s3: Any, job: Job) -> None:
    """Write all that SageMaker gives; raises NothingThere."""
    if job.kind is TRAINING:
        for channel in job.request.get("InputDataConfig") or ():
            source = channel["DataSource"]["S3DataSource"]
            target = job.root / "input" / "data" / channel["ChannelName"]
            storage.bring(s3, source["S3Uri"], target, source["S3DataType"])
        for name in ("model", "output/data", "checkpoints"):
            (job.root / name).mkdir(parents=True, exist_ok=True)
    for one in job.request.get("ProcessingInputs") or ():
        place = one["S3Input"]
        storage.bring(s3, place["S3Uri"], job.here(place["LocalPath"]), place.get("S3DataType", "S3Prefix"))
    for one in _outputs(job):
        job.here(one["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
    for uri, folder in _checkpoints(job):
        with suppress(storage.NothingThere):
            storage.bring(s3, uri, folder)
    told = _training_files(job) if job.kind is TRAINING else _processing_files(job)
    for place, content in told.items():
        path = job.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def _outputs(job: Job) -> list[Json]:
    return list((job.request.get("ProcessingOutputConfig") or {}).get("Outputs") or ())


def _checkpoints(job: Job) -> Iterator[tuple[str, Path]]:
    told = job.request.get("CheckpointConfig")
    if told:
        yield told["S3Uri"], job.here(told.get("LocalPath") or "/opt/ml/checkpoints")


def _training_files(job: Job) -> Mapping[str, Json]:
    channels = {
        one["ChannelName"]: {
            "TrainingInputMode": one.get("InputMode") or "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
            "ContentType": one.get("ContentType") or "",
        }
        for one in job.request.get("InputDataConfig") or ()
    }
    return {
        "input/config/hyperparameters.json": job.request.get("HyperParameters") or {},
        "input/config/resourceconfig.json": _hosts(job.request["ResourceConfig"]),
        "input/config/inputdataconfig.json": channels,
    }


def _processing_files(job: Job) -> Mapping[str, Json]:
    resources = (job.request.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    about = {"ProcessingJobArn": job.arn, "ProcessingJobName": job.name}
    return {
        "config/processingjobconfig.json": about | job.request,
        "config/resourceconfig.json": _hosts(resources),
    }


def _hosts(resources: Json) -> Json:
    hosts = [f"algo-{number}" for number in range(1, int(resources.get("InstanceCount", 1)) + 1)]
    kind = resources.get("InstanceType", "")
    return {
        "current_host": "algo-1",
        "current_instance_type": kind,
        "current_group_name": "homogeneousCluster",
        "hosts": hosts,
        "instance_groups": [{"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": hosts}],
        "network_interface_name": "eth0",
    }


def _start_of(path: Path) -> str:
    return path.read_text(errors="replace")[:_FAILURE_LETTERS] if path.is_file() else ""
