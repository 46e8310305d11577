"""Terraform's module for AWS: formatted, valid, planned in every form, applied to a stand-in, and taken away again.

What the stand-in lacks (ECS, ElastiCache, the load balancer, Auto Scaling) is planned only.
"""

import base64
import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from labelloop.cloud.aws.objects import location_of
from labelloop.cloud.opening import open_inbox, open_meter, open_registry
from labelloop.deployers.opening import check_deployer
from labelloop.settings import Settings
from support.aws import ACCOUNT, REGION, StandIn, aws_stand_in
from support.terraform_roles import MODULE, documents
from support.tools import missing_tool, require_tool

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(600)]

MIRRORS = ("/opt/*", "/usr/share/terraform/*", "/usr/local/share/terraform/*", "~/.terraform.d/*")
"""Where a machine may hold providers of its own; without one they come from the registry."""

SERVICES = ("cloudwatch", "cloudwatchevents", "ecr", "iam", "logs", "s3", "secretsmanager", "sns", "sqs", "sts")

VARIABLES = {
    "label_studio_url": "https://label.example.com",
    "github_repository": "team/models",
    "alarm_email": "team@example.com",
    "force_destroy": "true",
}
NETWORK = {
    "vpc_id": "vpc-1",
    "private_subnet_ids": '["subnet-1", "subnet-2"]',
    "balancer_subnet_ids": '["subnet-3", "subnet-4"]',
    "label_studio_cidrs": '["203.0.113.7/32"]',
    "certificate_arn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1",
}


@dataclass(frozen=True)
class Terraform:
    """A copy of the module, with a provider that asks a stand-in."""

    program: str
    folder: Path
    aws: StandIn

    def run(self, *arguments: str, fails: bool = False, variables: Mapping[str, str] = {}) -> str:
        """Run a command and give all that it prints."""
        environment = {
            **os.environ,
            **self.aws.environment,
            "TF_CLI_CONFIG_FILE": str(self.folder / "terraformrc"),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            **{f"TF_VAR_{name}": value for name, value in {**VARIABLES, **variables}.items()},
        }
        command, *rest = arguments
        done = subprocess.run(
            [self.program, command, *(("-no-color",) if command != "fmt" else ()), *rest],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"terraform {command}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout + (done.stderr if fails else "")

    def plan(self, name: str, *options: str, **variables: str) -> dict[str, Any]:
        """Make a plan, and give it as JSON."""
        self.run("plan", "-input=false", "-lock=false", f"-out={name}", *options, variables=variables)
        found: dict[str, Any] = json.loads(self.run("show", "-json", name))
        return found


@dataclass(frozen=True)
class Applied:
    """What came of applying it, and the plans with compute that were made meanwhile."""

    terraform: Terraform
    outputs: Mapping[str, Any]
    plans: Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    program = require_tool("terraform", "https://developer.hashicorp.com/terraform/install")
    folder = tmp_path_factory.mktemp("terraform")
    for path in MODULE.glob("*.tf*"):
        (folder / path.name).write_bytes(path.read_bytes())
    mirror = next((path for place in MIRRORS for path in _found(place)), None)
    source = "direct {}" if mirror is None else f'filesystem_mirror {{\n    path = "{mirror}"\n  }}'
    (folder / "terraformrc").write_text(f"provider_installation {{\n  {source}\n}}\n")
    with aws_stand_in(tmp_path_factory.mktemp("aws")) as aws:
        (folder / "provider.tf").write_text(provider(aws.url))
        made = Terraform(program, folder, aws)
        try:
            made.run("init", "-input=false")
        except AssertionError as error:
            if mirror is None:
                missing_tool(f"Terraform's provider for AWS is not on this machine: {error}")
            raise
        yield made


def _found(place: str) -> Iterator[Path]:
    root, _, pattern = str(Path(place).expanduser()).rpartition("/")
    return (path for path in Path(root).glob(pattern) if (path / "registry.terraform.io/hashicorp/aws").is_dir())


def provider(address: str) -> str:
    """Write what no user needs: the address of a stand-in for each service."""
    endpoints = "\n".join(f'    {name} = "{address}"' for name in SERVICES)
    return f"""
provider "aws" {{
  max_retries                 = 2
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  endpoints {{
{endpoints}
  }}
}}
"""


@pytest.fixture(scope="module")
def applied(terraform: Terraform) -> Applied:
    """Apply it, which waits for a minute by the provider's own clock; the other forms are planned meanwhile."""
    with ThreadPoolExecutor() as threads:
        applying = threads.submit(terraform.run, "apply", "-auto-approve", "-input=false", "-parallelism=30")
        planned = {
            compute: threads.submit(terraform.plan, compute, f"-state={compute}.tfstate", compute=compute, **NETWORK)
            for compute in ("fargate", "ec2")
        }
        applying.result()
        plans = {compute: plan.result() for compute, plan in planned.items()}
    outputs = json.loads(terraform.run("output", "-json"))
    return Applied(terraform, {name: one["value"] for name, one in outputs.items()}, plans)


def test_it_is_formatted_and_valid(terraform: Terraform) -> None:
    assert terraform.run("fmt", "-check", "-diff", str(MODULE)) == ""
    assert json.loads(terraform.run("validate", "-json"))["diagnostics"] == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"compute": "lambda"}, "compute: none, fargate or ec2."),
        ({"compute": "fargate", **NETWORK, "certificate_arn": ""}, "certificate_arn: web speaks HTTPS only."),
        ({"label_studio_url": "https://label.example.com/"}, "without a path or a slash at the end"),
    ],
)
def test_variables_that_cannot_be_are_refused(terraform: Terraform, wrong: dict[str, str], said: str) -> None:
    told = terraform.run("plan", "-input=false", "-lock=false", "-state=none.tfstate", fails=True, variables=wrong)
    assert said in " ".join(told.replace("│", " ").split())


def test_what_it_says_for_env_are_settings_as_they_should_be(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    applied.terraform.aws.use(monkeypatch)
    environment = dict(line.split("=", 1) for line in shlex.split(applied.outputs["env"]))
    assert environment == sourced(applied.outputs["env"])
    settings, faults = Settings.read(environment)
    assert faults == {}
    known = {entry.metadata["name"] for entry in fields(Settings)}
    assert set(environment) - known == {"AWS_DEFAULT_REGION"}
    bucket = applied.outputs["data_bucket"].replace("-data-", "-store-")
    assert (settings.store_address, location_of(settings)) == (f"s3://{bucket}/store", f"s3://{bucket}/work")
    assert open_registry(settings.registry, settings).name == "sagemaker://labelloop"
    assert open_inbox(settings.events).check().startswith("queue labelloop-events")
    open_meter(settings.metrics).put([])
    check_deployer(settings.deployer)


def sourced(text: str) -> dict[str, str]:
    """Read the lines as a shell does that is told ``. ./.env``."""
    script = f"set -a\n{text}\nexec env -0"
    told = subprocess.run(["/bin/sh", "-euc", script], env={}, capture_output=True, text=True, timeout=20, check=True)
    read = dict(one.split("=", 1) for one in told.stdout.split("\0") if one)
    return {name: value for name, value in read.items() if name not in ("PWD", "OLDPWD", "SHLVL", "_")}


@pytest.mark.parametrize(
    ("key", "told"),
    [("annotations/7/1", 1), ("raw/a.png", 1), ("other/a.png", 0), ("annotation", 0)],
)
def test_what_happens_in_the_bucket_comes_into_the_queue(applied: Applied, key: str, told: int) -> None:
    aws = applied.terraform.aws
    with unencrypted(applied) as s3:
        s3.put_object(Bucket=applied.outputs["data_bucket"], Key=key, Body=b"{}")
    assert [event["detail"]["object"]["key"] for event in taken(aws)] == [key] * told


def test_what_comes_without_tls_is_refused(applied: Applied) -> None:
    s3 = applied.terraform.aws.client("s3")
    with pytest.raises(s3.exceptions.ClientError, match="403"):
        s3.put_object(Bucket=applied.outputs["data_bucket"], Key="raw/a.png", Body=b"{}")


@contextmanager
def unencrypted(applied: Applied) -> Iterator[Any]:
    """Let the data bucket be asked as the stand-in is, which speaks no TLS."""
    s3, bucket = applied.terraform.aws.client("s3"), applied.outputs["data_bucket"]
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    yield s3
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)


def test_what_sagemaker_tells_comes_into_the_queue(applied: Applied) -> None:
    aws = applied.terraform.aws
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/labelloop"
    events = [
        ("SageMaker Model Package State Change", {"ModelPackageGroupName": "labelloop-studio-8080-7"}),
        ("SageMaker Model Package State Change", {"ModelPackageGroupName": "somebody-else"}),
        (EXECUTION, {"pipelineArn": arn, "currentPipelineExecutionStatus": "Failed"}),
        (EXECUTION, {"pipelineArn": arn, "currentPipelineExecutionStatus": "Executing"}),
    ]
    aws.client("events").put_events(
        Entries=[
            {"Source": "aws.sagemaker", "DetailType": kind, "Detail": json.dumps(detail)} for kind, detail in events
        ]
    )
    assert [event["detail"] for event in taken(aws)] == [events[0][1], events[2][1]]


EXECUTION = "SageMaker Model Building Pipeline Execution Status Change"


def taken(aws: StandIn) -> list[dict[str, Any]]:
    """Take all that is in the queue of events."""
    sqs = aws.client("sqs")
    url, found = sqs.get_queue_url(QueueName="labelloop-events")["QueueUrl"], []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for one in messages:
            found.append(json.loads(one["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
    return found


@pytest.mark.parametrize("actor", ["jobs", "models", "function", "loop", "github"])
def test_applied_roles_may_do_what_the_files_say(applied: Applied, actor: str) -> None:
    policy = applied.terraform.aws.client("iam").get_role_policy(RoleName=f"labelloop-{actor}", PolicyName="labelloop")
    statements = policy["PolicyDocument"]["Statement"]
    actions = {action for one in statements for action in _listed(one["Action"])}
    # Without a key of one's own nobody needs to use one.
    assert actions | {"kms:Decrypt", "kms:GenerateDataKey"} == {
        action for one in documents()[actor] for action in one.actions
    }
    resources = {resource for one in statements for resource in _listed(one["Resource"]) if resource != "*"}
    assert all(
        "labelloop" in resource or "/pipelines-" in resource or "/aws/sagemaker/" in resource for resource in resources
    )


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_buckets_are_closed_encrypted_and_keep_old_versions(applied: Applied) -> None:
    s3 = applied.terraform.aws.client("s3")
    bucket = applied.outputs["data_bucket"]
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    [refusal] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert (refusal["Effect"], refusal["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"][0]["AllowedOrigins"] == [VARIABLES["label_studio_url"]]


def test_alarms_are_those_that_deployments_name(applied: Applied) -> None:
    found = applied.terraform.aws.client("cloudwatch").describe_alarms(AlarmNames=applied.outputs["rollback_alarms"])
    assert {one["MetricName"] for one in found["MetricAlarms"]} == {"Invocation5XXErrors", "ModelLatency"}
    for one in found["MetricAlarms"]:
        assert {"Name": "VariantName", "Value": "primary"} in one["Dimensions"]
        assert one["AlarmName"] in applied.outputs["env"]


def test_secrets_are_empty_shells(applied: Applied) -> None:
    secrets = applied.terraform.aws.client("secretsmanager")
    for arn in applied.outputs["secrets"].values():
        with pytest.raises(secrets.exceptions.ResourceNotFoundException):
            secrets.get_secret_value(SecretId=arn)


@pytest.mark.parametrize(
    ("compute", "of_it", "of_the_other"),
    [
        ("fargate", {"aws_ecs_service": 2, "aws_ecs_task_definition": 2}, "aws_autoscaling_group"),
        ("ec2", {"aws_autoscaling_group": 1, "aws_launch_template": 1}, "aws_ecs_service"),
    ],
)
def test_worker_and_web_run_where_they_should(
    applied: Applied, compute: str, of_it: dict[str, int], of_the_other: str
) -> None:
    planned = [one["type"] for one in applied.plans[compute]["resource_changes"]]
    both = {"aws_elasticache_replication_group": 1, "aws_lb_listener": 1, "aws_lb_target_group": 1}
    assert {kind: planned.count(kind) for kind in of_it | both} == of_it | both
    assert of_the_other not in planned


def test_the_machines_script_is_one(applied: Applied) -> None:
    text = (MODULE / "machine.sh.tftpl").read_text()
    assert "umask 077" in text
    template = next(one for one in applied.plans["ec2"]["resource_changes"] if one["type"] == "aws_launch_template")[
        "change"
    ]["after"]
    # Redis' address is known after it is made, and with it the script: the bash in it is looked at without values.
    assert template.get("user_data") is None or base64.b64decode(template["user_data"])
    assert template["metadata_options"][0]["http_tokens"] == "required"


def test_a_second_plan_changes_nothing(applied: Applied) -> None:
    found = applied.terraform.plan("again")
    changed = {
        one["address"]: {
            name for name, value in one["change"]["after"].items() if value != one["change"]["before"].get(name)
        }
        for one in found["resource_changes"]
        if one["change"]["actions"] != ["no-op"]
    }
    assert changed == {}


def test_all_of_it_can_be_taken_away(applied: Applied) -> None:
    aws = applied.terraform.aws
    applied.terraform.run("destroy", "-auto-approve", "-input=false", "-parallelism=30", "-refresh=false")
    assert aws.client("s3").list_buckets()["Buckets"] == []
    assert "QueueUrls" not in aws.client("sqs").list_queues()
    assert aws.client("iam").list_roles()["Roles"] == []
    assert aws.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
