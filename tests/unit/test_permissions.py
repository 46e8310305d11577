"""The roles that Terraform makes against what is really asked of AWS: none lacks an action, and none has another."""

import re
from pathlib import Path

import pytest

from support.aws_calls import ROOT, SERVICES, actions_of, files_that_ask, services_asked
from support.terraform_roles import MODULE, documents

PAGE = Path(__file__).parents[2] / "docs/aws.md"

OF_PIPELINES = ("cloud/aws/applying.py",)
"""What only `labelloop aws pipeline apply` runs: a person, or a workflow of GitHub Actions, never the loop."""

BY_GITHUB = ("cloud/aws/applying.py", "cloud/aws/executions.py", "cloud/aws/groups.py")

BY_SERVICES = {
    "loop": {
        # Who names alarms for a rollback must be able to see them.
        "cloudwatch:DescribeAlarms",
    },
    "jobs": {
        # A pipeline makes its steps' jobs as its role, looks at them, ends them, and passes them that role.
        *(
            f"sagemaker:{verb}{kind}Job"
            for verb in ("Create", "Describe", "Stop")
            for kind in ("Processing", "Training")
        ),
        *("sagemaker:AddTags", "sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage"),
        *("sagemaker:DescribeModelPackageGroup", "iam:PassRole"),
        # Jobs fetch their image, their inputs and the pictures, write logs, and say what their instances use.
        *("ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage"),
        *("ecr:GetDownloadUrlForLayer", "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:GetBucketLocation"),
        *("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
        "cloudwatch:PutMetricData",
    },
    "models": {
        *("ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage"),
        *("ecr:GetDownloadUrlForLayer", "s3:GetObject", "s3:PutObject", "s3:ListBucket"),
        *("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
        "cloudwatch:PutMetricData",
    },
    "function": {"s3:GetObject", "s3:ListBucket", "logs:CreateLogStream", "logs:PutLogEvents"},
    "github": {
        # `docker push`, and what a search found best, which is in the store.
        *("ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage"),
        *("ecr:GetDownloadUrlForLayer", "ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage"),
        *("ecr:UploadLayerPart", "s3:GetObject", "s3:ListBucket"),
    },
    # Of Label Studio 1.23.2, io_storages/s3/models.py: get, put and delete of objects, lists, head_bucket.
    "label_studio": {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"},
}
"""What is not seen in our code: what AWS's services and other programs ask for as these actors."""

KEY = {"kms:Decrypt", "kms:GenerateDataKey"}


def needed(actor: str) -> set[str]:
    found = set(BY_SERVICES[actor])
    for path in files_that_ask():
        name = path.relative_to(ROOT).as_posix()
        if (actor == "loop" and name not in OF_PIPELINES) or (actor == "github" and name in BY_GITHUB):
            found |= actions_of(path)
    return found


def granted(actor: str) -> set[str]:
    return {action for statement in documents()[actor] if statement.allows for action in statement.actions}


@pytest.mark.parametrize("actor", sorted(BY_SERVICES))
def test_each_actor_may_do_what_is_asked_as_it_and_nothing_else(actor: str) -> None:
    assert sorted(granted(actor) - KEY) == sorted(needed(actor))


@pytest.mark.parametrize("actor", ["jobs", "models", "function", "loop", "github", "label_studio", "start"])
def test_who_reads_what_is_encrypted_may_use_the_key(actor: str) -> None:
    assert granted(actor) >= KEY


def test_no_action_is_a_wild_card() -> None:
    wild = {
        (name, action)
        for name, statements in documents().items()
        for statement in statements
        for action in statement.actions
        if statement.allows and "*" in action
    }
    assert wild == set()


WITHOUT_RESOURCE = {
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "sagemaker:ListEndpoints",
    "sagemaker:ListModelPackageGroups",
    "sagemaker:ListTransformJobs",
}
"""Actions that IAM cannot narrow to a resource (Service Authorization Reference)."""


def test_only_actions_that_know_no_resource_are_granted_on_all() -> None:
    for name, statements in documents().items():
        for statement in statements:
            if statement.allows and '"*"' in statement.resources:
                assert set(statement.actions) <= WITHOUT_RESOURCE, name
                assert statement.conditional or "cloudwatch:PutMetricData" not in statement.actions, name


def test_a_role_is_passed_to_nobody_but_the_service_that_runs_as_it() -> None:
    for name, statements in documents().items():
        for statement in statements:
            assert statement.conditional or "iam:PassRole" not in statement.actions, name


def test_every_service_that_the_code_asks_is_compared() -> None:
    assert services_asked() <= set(SERVICES)


def test_a_call_that_is_not_permitted_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.aws_calls.ROOT", tmp_path)
    code = tmp_path / "cloud/aws/more.py"
    code.parent.mkdir(parents=True)
    code.write_text(
        'client.get_paginator("list_tags")\nmake = client.create_domain if new else client.delete_domain\nmake()\n'
        "re.search(text)\n"
    )
    assert actions_of(code) == {
        "lambda:ListTags",
        "sagemaker:ListTags",
        "sagemaker:CreateDomain",
        "sagemaker:DeleteDomain",
    }


def test_the_page_lists_each_actors_actions() -> None:
    for actor in BY_SERVICES:
        row = re.search(rf"^\| `{actor}` \|.*$", PAGE.read_text(), re.MULTILINE)
        assert row is not None, actor
        assert sorted(re.findall(r"`(\w+:\w+)`", row[0])) == sorted(granted(actor) - KEY), actor


def test_every_file_of_the_module_is_in_its_readme() -> None:
    readme = (MODULE / "README.md").read_text()
    named = re.findall(r"`([\w.]+\.tf\w*)`", "".join(re.findall(r"^\| `.*?\|", readme, re.MULTILINE)))
    assert sorted(named) == sorted(path.name for path in MODULE.glob("*.tf*"))
