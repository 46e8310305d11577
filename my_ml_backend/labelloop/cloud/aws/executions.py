"""SageMaker pipelines: executions found by their names, begun, looked at and stopped."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from labelloop.cloud.aws.account import Account, asking
from labelloop.errors import CloudError, CloudMissing
from labelloop.types import Json

RUNNING = ("Executing", "Stopping")
"""Statuses of an execution that has not ended."""

_LOG_GROUPS = {
    "processing-job": "/aws/sagemaker/ProcessingJobs",
    "training-job": "/aws/sagemaker/TrainingJobs",
    "transform-job": "/aws/sagemaker/TransformJobs",
}
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution: its ARN, display name, SageMaker's status, when it began (None: unknown), why it failed."""

    arn: str
    name: str
    status: str
    started: datetime | None = None
    reason: str = ""

    @property
    def id(self) -> str:
        """Its id, which ``Execution.PipelineExecutionId`` stands for in a definition."""
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an execution, as ListPipelineExecutionSteps tells; ``job`` is the ARN of what it started, if any."""

    name: str
    status: str
    reason: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    job: str = ""
    metadata: Json | None = None

    @property
    def log(self) -> str:
        """The console's address of its job's logs; empty for what writes none."""
        parts = self.job.split(":")
        kind, _, name = parts[-1].partition("/")
        if len(parts) != 6 or kind not in _LOG_GROUPS or parts[1] not in _CONSOLES:
            return ""
        region, console = parts[3], _CONSOLES[parts[1]]
        # Behind its # the console wants names quoted twice, and $ for every per cent sign.
        group = quote(quote(_LOG_GROUPS[kind], safe=""), safe="").replace("%", "$")
        streams = f"$3FlogStreamNameFilter$3D{quote(name)}"
        return (
            f"https://{region}.{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}{streams}"
        )


class Pipeline:
    """One pipeline of an account, by name. Every method raises CloudError or one of its kinds."""

    def __init__(self, account: Account, name: str) -> None:
        self.account, self.name = account, name

    @property
    def _client(self) -> Any:
        return self.account.client("sagemaker")

    def describe(self) -> Json:
        """Give DescribePipeline's answer; raises CloudMissing."""
        try:
            with asking(f"pipeline {self.name} in {self.account.region}"):
                found: Json = self._client.describe_pipeline(PipelineName=self.name)
                return found
        except CloudMissing as error:
            raise CloudMissing(
                f"{error}: correct its name or its region, or make it: labelloop aws pipeline apply --name {self.name} "
                f"--region {self.account.region}"
            ) from error

    def executions(self) -> Iterator[Execution]:
        """Give all executions, the newest first."""
        with asking(f"the executions of pipeline {self.name}"):
            pages = self._client.get_paginator("list_pipeline_executions").paginate(
                PipelineName=self.name,
                SortBy="CreationTime",
                SortOrder="Descending",
                PaginationConfig={"PageSize": 100},
            )
            for page in pages:
                for one in page["PipelineExecutionSummaries"]:
                    yield Execution(
                        one["PipelineExecutionArn"],
                        one.get("PipelineExecutionDisplayName", ""),
                        one["PipelineExecutionStatus"],
                        one.get("StartTime"),
                        one.get("PipelineExecutionFailureReason", ""),
                    )

    def find(self, name: str) -> Execution | None:
        """Give the newest execution of a display name, whatever became of it; None for none.

        AWS neither forbids two of one name nor finds them by it: whoever starts one looks here first.
        """
        return next((one for one in self.executions() if one.name == name), None)

    def start(self, name: str, parameters: Mapping[str, str], token: str = "") -> Execution:
        """Begin an execution under a display name (at most 82 letters), with these parameters, all of them text.

        AWS begins one for a ``token`` (32 to 128 letters), however often it is asked; by default each call is another.
        """
        with asking(f"an execution of pipeline {self.name}"):
            begun = self._client.start_pipeline_execution(
                PipelineName=self.name,
                PipelineExecutionDisplayName=name,
                PipelineParameters=[{"Name": key, "Value": value} for key, value in parameters.items()],
                **({"ClientRequestToken": token} if token else {}),
            )
        return Execution(begun["PipelineExecutionArn"], name, "Executing")

    def look(self, arn: str) -> Execution:
        """Say how an execution stands; raises CloudMissing."""
        with asking(f"execution {arn}"):
            found = self._client.describe_pipeline_execution(PipelineExecutionArn=arn)
        return Execution(
            arn,
            found.get("PipelineExecutionDisplayName", ""),
            found["PipelineExecutionStatus"],
            found.get("CreationTime"),
            found.get("FailureReason", ""),
        )

    def steps(self, arn: str) -> list[Step]:
        """Give the steps that have begun, in the order of their start."""
        with asking(f"the steps of execution {arn}"):
            pages = self._client.get_paginator("list_pipeline_execution_steps").paginate(
                PipelineExecutionArn=arn, SortOrder="Ascending"
            )
            found = [_step(one) for page in pages for one in page["PipelineExecutionSteps"]]
        return [replace(one, reason=self._reason(one)) if one.status == "Failed" else one for one in found]

    def _reason(self, step: Step) -> str:
        """Say why a step failed: of a processing job SageMaker tells only that it did, and the job itself why."""
        if ":processing-job/" not in step.job:
            return step.reason
        name = step.job.rpartition("/")[2]
        try:
            with asking(f"processing job {name}"):
                told = self._client.describe_processing_job(ProcessingJobName=name)
        except CloudError:
            return step.reason
        return told.get("ExitMessage") or step.reason

    def stop(self, arn: str) -> None:
        """End an execution; one that has ended stays as it is."""
        if self.look(arn).status in RUNNING:
            with asking(f"the end of execution {arn}"):
                self._client.stop_pipeline_execution(PipelineExecutionArn=arn)


def _step(told: Json) -> Step:
    metadata = told.get("Metadata") or {}
    jobs = [one["Arn"] for one in metadata.values() if isinstance(one, dict) and "Arn" in one]
    return Step(
        told["StepName"],
        told["StepStatus"],
        told.get("FailureReason", ""),
        told.get("StartTime"),
        told.get("EndTime"),
        jobs[0] if jobs else "",
        metadata,
    )
