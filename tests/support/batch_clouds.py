"""Both clouds as a test of batch jobs holds them: what is set, what was begun, what lies about, what goes wrong."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import support.google
from labelloop.types import Json
from support.aws import StandIn
from support.aws.kills import dying_at as dying_on_aws
from support.google import LOCATION, PROJECT
from support.google.kills import dying_at as dying_on_google


class BatchCloud(ABC):
    """A cloud with an endpoint and batch jobs. ``name`` is what its jobs are called, ``machine`` what they run on."""

    name: str
    machine: str
    dying_at: Callable[[int], AbstractContextManager[list[str]]]

    @property
    @abstractmethod
    def settings(self) -> Json:
        """What a hub is made with."""

    @abstractmethod
    def jobs(self) -> list[str]:
        """Say of each job that there is whether it is running, done or stopped, in their order."""

    @abstractmethod
    def hold(self) -> None:
        """Let jobs go on until ``release``."""

    @abstractmethod
    def release(self) -> None:
        """Let jobs come to an end, at once."""

    @abstractmethod
    def stop(self, handle: str) -> None:
        """Stop a job by hand."""

    @abstractmethod
    def refuse(self) -> None:
        """Let the next job be refused: ResourceLimitExceeded."""

    @abstractmethod
    def lose_an_answer(self) -> None:
        """Let one of the answers be gone when a job is over."""

    @abstractmethod
    def lying(self) -> list[str]:
        """Name what lies in the folder of batch jobs."""

    @abstractmethod
    def asked(self) -> int:
        """Count what the endpoint itself was asked."""

    @abstractmethod
    def begun(self) -> int:
        """Count how often a job was asked for."""


@dataclass
class AwsBatches(BatchCloud):
    """SageMaker's Batch Transform."""

    aws: StandIn

    name = "Batch Transform"
    machine = "2 x ml.m5.large"
    dying_at = staticmethod(dying_on_aws)

    @property
    def settings(self) -> Json:
        return {
            "endpoint": "sagemaker://cats?region=eu-west-1",
            "deployer": "sagemaker://cats?region=eu-west-1&count=2",
            "aws_role": "arn:aws:iam::123456789012:role/labelloop",
            "aws_inference_image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/labelloop-inference:1",
            "aws_location": "s3://labelloop/team",
            "poll_seconds": 0.1,
        }

    def jobs(self) -> list[str]:
        words = {"InProgress": "running", "Completed": "done", "Stopped": "stopped"}
        return [words[status] for status in self.aws.transforms.jobs().values()]

    def hold(self) -> None:
        self.aws.transforms.stuck = True

    def release(self) -> None:
        self.aws.transforms.stuck = False

    def stop(self, handle: str) -> None:
        self.aws.client("sagemaker").stop_transform_job(TransformJobName=handle)

    def refuse(self) -> None:
        self.aws.fail("sagemaker:CreateTransformJob", "ResourceLimitExceeded", message="0 instances of ml.m5.large")

    def lose_an_answer(self) -> None:
        lost: list[str] = []

        def lose(_: object) -> None:
            for name in [name for name in self.lying() if "/out/" in name and not lost][:1]:
                self.aws.client("s3").delete_object(Bucket="labelloop", Key=name)
                lost.append(name)

        self.aws.after("sagemaker:DescribeTransformJob", lose, times=None)

    def lying(self) -> list[str]:
        found = self.aws.client("s3").list_objects_v2(Bucket="labelloop", Prefix="team/deployed/batch/")
        return [one["Key"] for one in found.get("Contents", [])]

    def asked(self) -> int:
        return len(self.aws.runtime.answered)

    def begun(self) -> int:
        return self.aws.calls.count("sagemaker:CreateTransformJob")


@dataclass
class GoogleBatches(BatchCloud):
    """Vertex AI's batch prediction."""

    google: support.google.StandIn

    name = "batch prediction"
    machine = "2 x n1-standard-4"
    dying_at = staticmethod(dying_on_google)

    @property
    def settings(self) -> Json:
        place = f"vertex://{PROJECT}/{LOCATION}/cats"
        return {
            "endpoint": place,
            "vertex_base_url": self.google.url,
            "storage_emulator": self.google.url,
            "deployer": f"{place}?machine=n1-standard-4&replicas=2..3",
            "google_inference_image": "europe-docker.pkg.dev/shop-1/labelloop/inference:1",
            "google_folder": "gs://labelloop/team",
            "poll_seconds": 0.1,
        }

    def jobs(self) -> list[str]:
        words = {"PENDING": "running", "RUNNING": "running", "CANCELLING": "stopped", "CANCELLED": "stopped"}
        return [words.get(state, "done") for state in self.google.batches.states()]

    def hold(self) -> None:
        self.google.batches.looks = None

    def release(self) -> None:
        self.google.batches.looks = 0
        self.google.batches.finish()

    def stop(self, handle: str) -> None:
        self.google.ask("POST", f"{handle.partition(f'locations/{LOCATION}/')[2]}:cancel", {})
        self.google.batches.finish()

    def refuse(self) -> None:
        self.google.batches.quota.append("aiplatform.googleapis.com/custom_model_prediction_cpus")

    def lose_an_answer(self) -> None:
        lost: list[bytes] = []

        def lose(_: object) -> None:
            for name in [name for name in self.lying() if "prediction.results" in name and not lost]:
                first, *others = self.google.storage.read("labelloop", name).splitlines(keepends=True)
                self.google.storage.put("labelloop", name, b"".join(others))
                lost.append(first)

        self.google.after("GET batchPredictionJobs/*", lose, times=None)

    def lying(self) -> list[str]:
        return [name for name in self.google.storage.names("labelloop", "team/") if "/batch/" in name]

    def asked(self) -> int:
        return sum(endpoint == "cats" for endpoint, _ in self.google.runtime.answered)

    def begun(self) -> int:
        return self.google.calls.count("aiplatform:POST batchPredictionJobs")
