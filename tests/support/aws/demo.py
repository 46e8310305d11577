"""``make demo-aws``: the loop on AWS from nothing, on one machine: a real Label Studio, our own code, and the stand-in.

Pictures come from a bucket and annotations go to one, a SageMaker pipeline trains, the registry, an endpoint and the
queue are SageMaker's and SQS'. Everything asks as it would ask AWS; the stand-in answers, and runs the steps and the
endpoint as processes of this machine. What happened is said line by line, with what it led to.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from labelloop.cli.processes import demo, play_demo
from labelloop.demo.examples import Example, Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.ports import child_environment
from labelloop.demo.run import Surroundings
from labelloop.environment import start_logging
from labelloop.errors import LabelLoopError
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.types import Json
from support.aws import ACCOUNT, REGION, StandIn, aws_stand_in

NAME = "labelloop-demo"
"""Of the bucket, the queue, the pipeline and the endpoint."""

RAW, ANNOTATIONS = "raw/", "annotations/"

_TASKS_SECONDS = 300

_REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"

_MEANING = {
    "sagemaker:CreatePipeline": "the pipeline is made",
    "sagemaker:StartPipelineExecution": "the loop starts an execution",
    "sagemaker:CreateModelPackageGroup": "a group of model packages is made for the project",
    "sagemaker:CreateEndpoint": "the first version gets an endpoint",
    "sagemaker:UpdateEndpoint": "the endpoint is moved to the new version",
    "sagemaker:StopPipelineExecution": "an execution is stopped",
}
"""Calls that change something worth a line."""


class OnAws(Surroundings):
    """The demo's pictures in S3, its trainer, registry, deployer and endpoint in SageMaker."""

    def __init__(self, aws: StandIn, executions: "Executions") -> None:
        self._aws, self._executions = aws, executions

    def settings(self, settings: Settings) -> Settings:
        """Name AWS for all that would be on this machine, and set up there what Terraform sets up for users."""
        there = f"?region={REGION}"
        settings = replace(
            settings,
            store=f"s3://{NAME}/store",
            endpoint=f"sagemaker://{NAME}{there}",
            trainer=f"sagemaker-pipeline://{NAME}{there}",
            deployer=f"sagemaker://{NAME}{there}&canary=20&wait=2",
            registry=f"sagemaker://{NAME}{there}",
            events=f"sqs://{NAME}{there}",
            metrics=f"cloudwatch://LabelLoop{there}",
            aws_role=f"arn:aws:iam::{ACCOUNT}:role/{NAME}",
            aws_training_image=f"{_REGISTRY}/labelloop-worker:demo",
            aws_inference_image=f"{_REGISTRY}/labelloop-inference:demo",
            poll_seconds=1.0,
        )
        self._set_up()
        command = [sys.executable, "-m", "labelloop", "aws", "pipeline", "apply"]
        subprocess.run(command, env=child_environment(settings), check=True)
        return settings

    def fill(self, studio: LabelStudio, client: Studio, project: int, examples: Examples) -> dict[int, Example]:
        """Put the pictures into the bucket, and let Label Studio find them there; annotations go back to the bucket."""
        s3 = self._aws.client("s3")
        storage = {
            "project": project,
            "bucket": NAME,
            "region_name": REGION,
            "s3_endpoint": self._aws.url,
            "aws_access_key_id": self._aws.environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self._aws.environment["AWS_SECRET_ACCESS_KEY"],
        }
        source = {"title": "raw pictures", "prefix": RAW.rstrip("/"), "regex_filter": r".*\.png", "use_blob_urls": True}
        right = {f"{RAW}{number:05}.png": picture for number, picture in enumerate(examples.shown)}
        for number, (key, picture) in enumerate(right.items()):
            s3.put_object(Bucket=NAME, Key=key, Body=picture.content)
            if number == 0:
                # Label Studio takes no storage with nothing in it.
                studio.request("POST", "/api/storages/s3", json=storage | source)
        target = {"title": "annotations", "prefix": ANNOTATIONS.rstrip("/"), "can_delete_objects": True}
        studio.request("POST", "/api/storages/export/s3", json=storage | target)
        # The loop hears of them by the queue, and has Label Studio sync its storage.
        give_up = time.monotonic() + _TASKS_SECONDS
        while len(tasks := list(client.tasks(project))) < len(right):
            if time.monotonic() > give_up:
                raise LabelLoopError(f"Label Studio has {len(tasks)} of {len(right)} tasks after {_TASKS_SECONDS} s")
            self.tend()
            time.sleep(1)
        return {task["id"]: right[task["data"]["image"].removeprefix(f"s3://{NAME}/")] for task in tasks}

    def tend(self) -> None:
        """Say what happened since."""
        self._executions.tell()

    def _set_up(self) -> None:
        """Make bucket, queue and rules."""
        s3, sqs, events = (self._aws.client(service) for service in ("s3", "sqs", "events"))
        s3.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_notification_configuration(
            Bucket=NAME, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        queue = sqs.create_queue(QueueName=NAME)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for name, pattern in _patterns().items():
            events.put_rule(Name=name, EventPattern=json.dumps(pattern))
            events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])


def _patterns() -> dict[str, Json]:
    """The rules of deploy/terraform/aws/queue.tf."""
    objects = {"bucket": {"name": [NAME]}, "object": {"key": [{"prefix": ANNOTATIONS}, {"prefix": RAW}]}}
    changed = ["Object Created", "Object Deleted"]
    return {
        "objects": {"source": ["aws.s3"], "detail-type": changed, "detail": objects},
        "packages": {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Model Package State Change"]},
    }


class Executions:
    """Tells what happened in the stand-in: events by the queue they went to, calls, steps of executions."""

    def __init__(self, aws: StandIn) -> None:
        self._aws, self._steps = aws, dict[tuple[str, str], str]()
        self._client = aws.client("sagemaker")
        self._told = 0
        self._objects = 0
        self._at = time.monotonic()
        aws.events.listeners.append(self._hear)

    def _hear(self, event: Mapping[str, Any], target: str) -> None:
        kind = str(event["detail-type"])
        if event["source"] == "aws.s3":
            self._objects += 1
            return
        detail = event["detail"]
        named = detail.get("ModelPackageGroupName") or detail.get("EndpointName") or ""
        status = detail.get("ModelApprovalStatus") or detail.get("EndpointStatus") or ""
        click.echo(f"  event: {kind} ({named} {status}) -> {target.rpartition(':')[2]}")

    def tell(self) -> None:
        """Say what is new, at most once a second."""
        if time.monotonic() - self._at < 1:
            return
        self._at = time.monotonic()
        if self._objects:
            click.echo(f"  event: {self._objects} objects written to S3 -> queue -> the loop looks at what has changed")
            self._objects = 0
        calls = list(self._aws.calls)
        for call in calls[self._told :]:
            if call in _MEANING:
                click.echo(f"  call:  {call}: {_MEANING[call]}")
        self._told = len(calls)
        self._tell_steps()

    def _tell_steps(self) -> None:
        try:
            found = self._client.list_pipeline_executions(PipelineName=NAME)["PipelineExecutionSummaries"]
        except self._client.exceptions.ClientError:
            return  # there is no pipeline yet
        for execution in found[:1]:
            arn = execution["PipelineExecutionArn"]
            steps = self._client.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
            for step in steps["PipelineExecutionSteps"]:
                key, status = (arn, step["StepName"]), step["StepStatus"]
                if self._steps.get(key) != status:
                    self._steps[key] = status
                    why = f": {step['FailureReason']}" if step.get("FailureReason") else ""
                    click.echo(f"  step:  {step['StepName']} {status.lower()}{why}")


def _play(**asked: Any) -> None:
    """Run the demo on the stand-in."""
    start_logging("WARNING")
    with tempfile.TemporaryDirectory(prefix="labelloop-aws-") as folder, aws_stand_in(Path(folder)) as aws:
        for name in [one for one in os.environ if one.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(aws.environment)
        click.echo(f"A stand-in of AWS answers at {aws.url}: no account is used, and nothing leaves this machine.")
        try:
            play_demo(Settings.from_environment(), OnAws(aws, Executions(aws)), **asked)
        except LabelLoopError as error:
            raise click.ClickException(str(error)) from error


main = click.Command(
    "demo-aws",
    params=[one for one in demo.params if one.name != "keep"],
    callback=_play,
    help="Show the loop turn on AWS, with a stand-in of it and a real Label Studio.",
)

if __name__ == "__main__":
    main()
