"""``make demo-aws``: the loop on AWS from nothing, on one machine (``support.cloud_demo``).

A SageMaker pipeline trains, the registry, an endpoint and the queue are SageMaker's and SQS'.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from labelloop.demo.ports import child_environment
from labelloop.settings import Settings
from labelloop.types import Json
from support.aws import ACCOUNT, REGION, StandIn, aws_stand_in
from support.cloud_demo import ANNOTATIONS, NAME, RAW, InCloud, demo_command

_REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


class OnAws(InCloud):
    """The demo's pictures in S3, its trainer, registry, deployer and endpoint in SageMaker."""

    kind, bucket = "s3", f"s3://{NAME}"
    meaning: Mapping[str, str] = {
        "sagemaker:CreatePipeline": "the pipeline is made",
        "sagemaker:StartPipelineExecution": "the loop starts an execution",
        "sagemaker:CreateModelPackageGroup": "a group of model packages is made for the project",
        "sagemaker:CreateEndpoint": "the first version gets an endpoint",
        "sagemaker:UpdateEndpoint": "the endpoint is moved to the new version",
        "sagemaker:StopPipelineExecution": "an execution is stopped",
    }

    def __init__(self, aws: StandIn) -> None:
        super().__init__()
        self._aws, self._steps = aws, dict[tuple[str, str], str]()
        self._client, self._s3 = aws.client("sagemaker"), aws.client("s3")
        aws.events.listeners.append(self._hear)

    @property
    def calls(self) -> Sequence[str]:
        """What was asked of AWS."""
        return self._aws.calls

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

    def put(self, key: str, content: bytes) -> None:
        """Write a picture into the bucket."""
        self._s3.put_object(Bucket=NAME, Key=key, Body=content)

    def storage(self) -> Json:
        """Say how Label Studio reaches the bucket."""
        return {
            "bucket": NAME,
            "region_name": REGION,
            "s3_endpoint": self._aws.url,
            "aws_access_key_id": self._aws.environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self._aws.environment["AWS_SECRET_ACCESS_KEY"],
        }

    def tell_more(self) -> None:
        """Say how the steps of the newest execution stand."""
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

    def _hear(self, event: Mapping[str, Any], target: str) -> None:
        kind = str(event["detail-type"])
        if event["source"] == "aws.s3":
            self.object_written()
            return
        detail = event["detail"]
        named = detail.get("ModelPackageGroupName") or detail.get("EndpointName") or ""
        status = detail.get("ModelApprovalStatus") or detail.get("EndpointStatus") or ""
        click.echo(f"  event: {kind} ({named} {status}) -> {target.rpartition(':')[2]}")

    def _set_up(self) -> None:
        """Make bucket, queue and rules."""
        sqs, events = self._aws.client("sqs"), self._aws.client("events")
        self._s3.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
        self._s3.put_bucket_notification_configuration(
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


@contextmanager
def _stand_in(folder: Path) -> Iterator[StandIn]:
    """Open the stand-in for this process and all that it starts, and no account."""
    with aws_stand_in(folder) as aws:
        for name in [one for one in os.environ if one.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(aws.environment)
        yield aws


main = demo_command("AWS", _stand_in, OnAws)

if __name__ == "__main__":
    main()
