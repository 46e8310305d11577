"""A training or processing job: what was asked for, and what has become of it."""

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from labelloop.children import stop_group
from labelloop.types import Json
from support.aws.wire import without_nothing

GRACE = 2.0
"""Seconds that a program has to end by itself when its job is stopped; SageMaker gives it 120."""


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
    child: "Popen[bytes] | None" = None
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


def stop(job: Job) -> None:
    """End a job: its program, and all that has started, may end by itself for a moment."""
    with job.lock:
        if job.ended is not None:
            return
        job.stopping.set()
        job.status = "Stopping"
    if job.child is not None:
        stop_group(job.child, GRACE)
