"""Training and processing jobs that really run: what they are given is laid out as in SageMaker's containers, below a
folder of their own that stands for /opt/ml, and their command runs as a child process of this Python.

The image's name says nothing here: ``python`` is this Python. A job's program finds its /opt/ml by SAGEMAKER_BASE_DIR.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from labelloop.children import start_child, stop_group
from labelloop.types import Json
from support.aws import storage
from support.aws.front import Handler
from support.aws.wire import Call, invalid, page, without_nothing

_GRACE = 2.0
"""Seconds that a program has to end by itself when its job is stopped; SageMaker gives it 120."""

_OPT_ML = re.compile(r"(?<![\w/.-])/opt/ml(?=/|$|\W)")
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "HF_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "LD_LIBRARY_PATH")
_TRAINING_COMMAND = ("python", "-m", "labelloop", "train")
"""What our training image runs when SageMaker starts it as ``train``."""

_FAILURE_LETTERS = 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between training and processing: how SageMaker spells it, and where its logs go."""

    word: str
    arn: str
    log_group: str


TRAINING = Kind("TrainingJob", "training-job", "/aws/sagemaker/TrainingJobs")
PROCESSING = Kind("ProcessingJob", "processing-job", "/aws/sagemaker/ProcessingJobs")


@dataclass
class Job:
    """One job: what was asked for, and what has become of it."""

    kind: Kind
    arn: str
    request: Json
    folder: Path
    status: str = "InProgress"
    reason: str = ""
    message: str = ""
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    interrupted: bool = False
    child: "subprocess.Popen[bytes] | None" = None
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @property
    def root(self) -> Path:
        """The folder that stands for /opt/ml."""
        return self.folder / "opt" / "ml"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def here(self, path: str) -> Path:
        """Give the folder that stands for a path of the container; raises ValueError for one outside /opt/ml."""
        inside = Path(os.path.normpath(path))
        if not inside.is_relative_to("/opt/ml"):
            raise ValueError(f"ClientError: {path} is not below /opt/ml")
        return self.root / inside.relative_to("/opt/ml")

    def describe(self) -> Json:
        """Give what Describe answers; SageMaker says no reason where there is none."""
        word = self.kind.word
        more: Json = {}
        if self.kind is TRAINING:
            more = {
                "SecondaryStatus": {"InProgress": "Training"}.get(self.status, self.status),
                "ModelArtifacts": {"S3ModelArtifacts": f"{self.output}/model.tar.gz"},
                "TrainingStartTime": self.started,
                "TrainingEndTime": self.ended,
            }
        else:
            more = {
                "ProcessingStartTime": self.started,
                "ProcessingEndTime": self.ended,
                "ExitMessage": self.message or None,
            }
        return without_nothing(
            {
                **self.request,
                f"{word}Name": self.name,
                f"{word}Arn": self.arn,
                f"{word}Status": self.status,
                "FailureReason": self.reason or None,
                "CreationTime": self.created,
                "LastModifiedTime": self.ended or self.started or self.created,
                **more,
            }.items()
        )

    @property
    def output(self) -> str:
        """The folder in S3 of a training job's results."""
        return f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output"


class _Failed(Exception):
    """The job has failed, for a reason that SageMaker would give."""


@dataclass
class Jobs:
    """All jobs. ``client`` gives a client of the stand-in; ``environment`` what every child finds AWS by."""

    folder: Path
    client: Callable[..., Any]
    environment: Callable[[], dict[str, str]]
    commands: dict[str, Sequence[str]] = field(default_factory=dict)
    """What an image runs where a training job names no entrypoint; ours trains."""
    image_environment: dict[str, str] = field(default_factory=dict)
    """What stands in the environment of every image."""
    jobs: dict[str, Job] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        answered: dict[str, Handler] = {}
        for kind in (TRAINING, PROCESSING):
            answered |= {
                f"sagemaker:Create{kind.word}": self._create(kind),
                f"sagemaker:Describe{kind.word}": self._describe(kind),
                f"sagemaker:Stop{kind.word}": self._stop(kind),
                f"sagemaker:List{kind.word}s": self._list(kind),
            }
        return answered

    def forget(self) -> None:
        """Stop and forget everything."""
        for job in list(self.jobs.values()):
            stop(job)
        for thread in self.threads:
            thread.join()
        self.threads.clear()
        self.jobs.clear()
        self.commands.clear()
        self.image_environment.clear()

    def make(self, kind: Kind, region_arn: str, request: Json) -> Job:
        """Note a job that has not begun; ``region_arn`` is its ARN. Raises Refused where its name is taken."""
        name = region_arn.rpartition("/")[2]
        if region_arn in self.jobs:
            raise invalid(f"{kind.word} names must be unique within an AWS account and region. {name} exists already.")
        job = Job(kind, region_arn, request, self.folder / name)
        self.jobs[region_arn] = job
        return job

    def run(self, job: Job) -> None:
        """Run a job to its end, whatever that is: its status and reason say it."""
        job.started = time.time()
        try:
            self._work(job)
            self._deliver(job)
            job.status = "Completed"
        except (storage.NothingThere, ValueError, _Failed) as error:
            job.status, job.reason = "Failed", str(error)
        except ClientError as error:
            job.status, job.reason = "Failed", f"ClientError: {error}"
        with job.lock:
            if job.stopping.is_set():
                job.status, job.reason = "Stopped", ""
            job.ended = time.time()
        self._keep_log(job)

    def interrupt(self, job: Job) -> None:
        """Take the job's machine away, as happens to spot instances: it begins anew with its checkpoints."""
        job.interrupted = True
        if job.child is not None:
            stop_group(job.child, _GRACE)

    # Before: folders as in a container.
    def _prepare(self, job: Job) -> None:
        s3 = self.client("s3", job.region)
        if job.kind is TRAINING:
            for channel in job.request.get("InputDataConfig") or ():
                source = channel["DataSource"]["S3DataSource"]
                target = job.root / "input" / "data" / channel["ChannelName"]
                storage.bring(s3, source["S3Uri"], target, source["S3DataType"])
            for name in ("model", "output/data", "checkpoints"):
                (job.root / name).mkdir(parents=True, exist_ok=True)
            for name, content in _training_files(job).items():
                _write(job.root / "input" / "config" / name, content)
            return
        for one in job.request.get("ProcessingInputs") or ():
            place = one["S3Input"]
            storage.bring(s3, place["S3Uri"], job.here(place["LocalPath"]), place.get("S3DataType", "S3Prefix"))
        for one in _outputs(job):
            job.here(one["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
        for name, content in _processing_files(job).items():
            _write(job.root / "config" / name, content)

    # The program.
    def _work(self, job: Job) -> None:
        status = self._attempt(job)
        while job.interrupted:
            shutil.rmtree(job.root)
            status = self._attempt(job)
        job.message = _start_of(job.root / "output" / "message")
        if job.stopping.is_set():
            raise _Failed("stopped")
        if status:
            said = _start_of(job.root / "output" / "failure") if job.kind is TRAINING else ""
            self._take_output(job)
            raise _Failed(f"AlgorithmError: {said or 'See job logs for more information'}, exit code: {_exit(status)}")

    def _attempt(self, job: Job) -> int:
        """Run the program once, on a machine that holds nothing yet."""
        job.interrupted = False
        self._prepare(job)
        self._bring_checkpoints(job)
        status = self._run_child(job)
        self._take_checkpoints(job)
        return status

    def _run_child(self, job: Job) -> int:
        with suppress(FileExistsError):
            (job.folder / "home").mkdir(parents=True)
        environment = {
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
        limit = (job.request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds")
        job.child = start_child(self._command(job), log=job.log, environment=environment)
        try:
            if job.stopping.is_set():
                stop_group(job.child, 0)
            return job.child.wait(limit)
        except subprocess.TimeoutExpired:
            stop_group(job.child, _GRACE)
            raise _Failed("ClientError: MaxRuntimeExceeded: the job ran for longer than it may") from None
        finally:
            job.child = None

    def _command(self, job: Job) -> list[str]:
        told = job.request["AlgorithmSpecification" if job.kind is TRAINING else "AppSpecification"]
        image = str(told.get("TrainingImage") or told.get("ImageUri") or "")
        entry = told.get("ContainerEntrypoint") or self.commands.get(image) or _TRAINING_COMMAND
        words = [_below(job, word) for word in (*entry, *(told.get("ContainerArguments") or ()))]
        return [sys.executable, *words[1:]] if re.fullmatch(r"python[\d.]*", words[0]) else words

    # After.
    def _deliver(self, job: Job) -> None:
        s3 = self.client("s3", job.region)
        if job.kind is TRAINING:
            storage.write(s3, f"{job.output}/model.tar.gz", storage.archive(job.root / "model"))
            self._take_output(job)
            return
        for one in _outputs(job):
            storage.take(s3, job.here(one["S3Output"]["LocalPath"]), one["S3Output"]["S3Uri"])

    def _take_output(self, job: Job) -> None:
        folder = job.root / "output" / "data"
        if job.kind is TRAINING and any(folder.iterdir()):
            storage.write(self.client("s3", job.region), f"{job.output}/output.tar.gz", storage.archive(folder))

    def _bring_checkpoints(self, job: Job) -> None:
        for uri, folder in _checkpoints(job):
            with suppress(storage.NothingThere):
                storage.bring(self.client("s3", job.region), uri, folder)

    def _take_checkpoints(self, job: Job) -> None:
        for uri, folder in _checkpoints(job):
            storage.take(self.client("s3", job.region), folder, uri)

    def _keep_log(self, job: Job) -> None:
        lines = job.log.read_text(errors="replace").splitlines() if job.log.is_file() else []
        logs, stream = self.client("logs", job.region), f"{job.name}/algo-1-{int(job.created)}"
        with suppress(ClientError):
            logs.create_log_group(logGroupName=job.kind.log_group)
        logs.create_log_stream(logGroupName=job.kind.log_group, logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": line or " "} for line in lines[-10_000:]]
        if events:
            logs.put_log_events(logGroupName=job.kind.log_group, logStreamName=stream, logEvents=events)

    # What AWS answers.
    def _create(self, kind: Kind) -> Handler:
        def create(call: Call) -> Json:
            request = dict(call.parameters)
            job = self.make(kind, call.arn(kind.arn, request.pop(f"{kind.word}Name")), request)
            thread = threading.Thread(target=self.run, args=(job,), daemon=True)
            self.threads.append(thread)
            thread.start()
            return {f"{kind.word}Arn": job.arn}

        return create

    def _describe(self, kind: Kind) -> Handler:
        return lambda call: self._named(kind, call).describe()

    def _stop(self, kind: Kind) -> Handler:
        def end(call: Call) -> Json:
            job = self._named(kind, call)
            if job.status == "InProgress":
                threading.Thread(target=stop, args=(job,), daemon=True).start()
            return {}

        return end

    def _list(self, kind: Kind) -> Handler:
        def give(call: Call) -> Json:
            asked = call.parameters
            found = [
                job
                for job in self.jobs.values()
                if job.kind is kind
                and job.region == call.region
                and asked.get("NameContains", "") in job.name
                and asked.get("StatusEquals", job.status) == job.status
            ]
            newest = sorted(found, key=lambda job: job.created, reverse=asked.get("SortOrder") != "Ascending")
            names = tuple(f"{kind.word}{end}" for end in ("Name", "Arn", "Status"))
            shown = (*names, "CreationTime", "LastModifiedTime")
            told = [{key: value for key, value in job.describe().items() if key in shown} for job in newest]
            return page(call, told, f"{kind.word}Summaries")

        return give

    def _named(self, kind: Kind, call: Call) -> Job:
        arn = call.arn(kind.arn, call.parameters[f"{kind.word}Name"])
        if arn not in self.jobs:
            raise invalid(f"Requested resource not found: Could not find {kind.arn} '{arn}'.")
        return self.jobs[arn]


def children_environment() -> dict[str, str]:
    """Give what a container's program needs of this process to be this Python, and nothing else of it."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}


def stop(job: Job) -> None:
    """End a job: its program, and all that has started, may end by itself for a moment."""
    with job.lock:
        if job.ended is not None:
            return
        job.stopping.set()
        job.status = "Stopping"
    if job.child is not None:
        stop_group(job.child, _GRACE)


def _outputs(job: Job) -> list[Json]:
    return list((job.request.get("ProcessingOutputConfig") or {}).get("Outputs") or ())


def _checkpoints(job: Job) -> Iterator[tuple[str, Path]]:
    told = job.request.get("CheckpointConfig")
    if told:
        yield told["S3Uri"], job.here(told.get("LocalPath") or "/opt/ml/checkpoints")


def _below(job: Job, text: str) -> str:
    """Write a path of the container as that of the folder that stands for it."""
    return _OPT_ML.sub(str(job.root), text)


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


def _training_files(job: Job) -> Json:
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
        "hyperparameters.json": job.request.get("HyperParameters") or {},
        "resourceconfig.json": _hosts(job.request["ResourceConfig"]),
        "inputdataconfig.json": channels,
    }


def _processing_files(job: Job) -> Json:
    resources = (job.request.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    return {
        "processingjobconfig.json": {
            "ProcessingJobArn": job.arn,
            "ProcessingJobName": job.name,
            **job.request,
        },
        "resourceconfig.json": _hosts(resources),
    }


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _start_of(path: Path) -> str:
    return path.read_text(errors="replace")[:_FAILURE_LETTERS] if path.is_file() else ""


def _exit(status: int) -> int:
    return 128 - status if status < 0 else status
