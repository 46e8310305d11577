"""SageMaker's model registry on the wire: a package for each version, and what goes wrong."""

import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.objects import Folder
from labelloop.cloud.aws.registry import SageMakerRegistry
from labelloop.cloud.base import Package, Publication
from labelloop.cloud.names import group_of
from labelloop.cloud.opening import open_registry
from labelloop.errors import CloudAway, CloudDenied, CloudError, CloudMissing, SettingsError
from labelloop.models.versions import VersionRecord
from labelloop.settings import Settings
from labelloop.types import ProjectKey
from support.aws import REGION, StandIn
from support.file_bundle import write_bundle

PROJECT = ProjectKey("1795187630", 7)
GROUP = "cats-1795187630-7"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/labelloop:1"
RECORD = VersionRecord(
    "v3",
    "0123456789abcdef",
    "finetune",
    "v2",
    "2026-11-20T10:00:00.000000+00:00",
    True,
    "v3 replaces v2: 45 of 50 test items right (0.900)",
    {"test": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}}},
)


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    return Publication(PROJECT, RECORD, write_bundle(tmp_path / "bundle"), "f00d", b"<!doctype html>v3")


@pytest.fixture
def registry(aws: StandIn) -> SageMakerRegistry:
    aws.client("s3").create_bucket(Bucket="team", CreateBucketConfiguration={"LocationConstraint": REGION})
    account = Account(REGION)
    return SageMakerRegistry(account, "cats", IMAGE, Folder(account, "s3://team/loop"))


def held(aws: StandIn, address: str) -> bytes:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    content: bytes = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def test_a_package_holds_the_model_its_metrics_its_report_and_where_it_comes_from(
    aws: StandIn, registry: SageMakerRegistry, publication: Publication
) -> None:
    assert registry.packages(PROJECT) == []

    made = registry.add(publication)

    assert made.name == f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{GROUP}/1"
    assert registry.packages(PROJECT) == [Package(made.name, "pending")]
    found = aws.client("sagemaker").describe_model_package(ModelPackageName=made.name)
    [container] = found["InferenceSpecification"]["Containers"]
    assert container["Image"] == IMAGE
    with tarfile.open(fileobj=io.BytesIO(held(aws, container["ModelDataUrl"]))) as archive:
        assert "model.onnx" in archive.getnames()
    statistics = held(aws, found["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
    assert json.loads(statistics) == RECORD.metrics["test"]
    told = found["CustomerMetadataProperties"]
    assert {"version": "v3", "run": RECORD.run, "parent": "v2", "manifest": "f00d", "recipe": "finetune"}.items() <= (
        told.items()
    )
    assert told["project"] == str(PROJECT)
    assert held(aws, told["report"]) == publication.report
    assert found["ModelPackageDescription"] == f"v3 of project {PROJECT}: {RECORD.verdict}"
    described = registry.describe(made.name)
    assert (described.version, described.run, described.status, described.told) == (
        "v3",
        RECORD.run,
        "pending",
        "pending",
    )
    assert described.changed.endswith("+00:00")


def test_the_same_bundle_is_handed_over_once(
    aws: StandIn, registry: SageMakerRegistry, publication: Publication
) -> None:
    registry.add(publication)
    before = aws.calls.count("s3:PutObject")
    registry.add(publication)
    assert aws.calls.count("s3:PutObject") == before + 2, "metrics and report; not the archive"


def test_packages_of_many_pages_are_all_listed_the_oldest_first(
    aws: StandIn, registry: SageMakerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = aws.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName=GROUP)
    made = [client.create_model_package(ModelPackageGroupName=GROUP)["ModelPackageArn"] for _ in range(3)]
    monkeypatch.setattr("labelloop.cloud.aws.registry._MOST_LISTED", 2)
    assert [one.name for one in registry.packages(PROJECT)] == made
    assert aws.calls.count("sagemaker:ListModelPackages") == 2


def test_what_we_say_of_a_package_is_told_from_what_a_person_says(
    aws: StandIn, registry: SageMakerRegistry, publication: Publication
) -> None:
    package = registry.add(publication)
    registry.approve(package, "rejected", "rolled back to v2,\nfor a reason")
    ours = registry.describe(package.name)
    assert (ours.status, ours.told) == ("rejected", "rejected")
    found = aws.client("sagemaker").describe_model_package(ModelPackageName=package.name)
    assert found["ApprovalDescription"] == "LabelLoop: Rejected. rolled back to v2, for a reason"

    aws.client("sagemaker").update_model_package(ModelPackageArn=package.name, ModelApprovalStatus="Approved")

    theirs = registry.describe(package.name)
    assert (theirs.status, theirs.told) == ("approved", "rejected")
    assert theirs.changed >= ours.changed
    registry.approve(theirs, "approved", "a" * 2000)
    assert registry.describe(package.name).told == "approved"


def test_a_package_of_our_pipeline_says_its_run_and_what_it_was_registered_as(
    aws: StandIn, registry: SageMakerRegistry
) -> None:
    sagemaker = aws.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    for told in ({}, {"registered_as": "PendingManualApproval"}):
        sagemaker.create_model_package(
            ModelPackageGroupName=GROUP,
            ModelApprovalStatus="PendingManualApproval",
            CustomerMetadataProperties={"run": "abc", **told},
        )
    first, second = (registry.describe(one.name) for one in registry.packages(PROJECT))
    assert (first.version, first.run, first.told) == ("", "abc", "")
    assert (second.version, second.run, second.told) == ("", "abc", "pending")


def test_what_is_gone_is_missing_and_no_group_is_no_package(
    aws: StandIn, registry: SageMakerRegistry, publication: Publication
) -> None:
    package = registry.add(publication)
    aws.client("sagemaker").delete_model_package(ModelPackageName=package.name)
    with pytest.raises(CloudMissing, match=package.name):
        registry.describe(package.name)
    with pytest.raises(CloudMissing, match=package.name):
        registry.approve(package, "approved", "why")
    aws.client("sagemaker").delete_model_package_group(ModelPackageGroupName=GROUP)
    assert registry.packages(PROJECT) == []
    assert registry.add(publication).name.endswith(f"{GROUP}/2"), "the group is made anew"


def test_an_action_that_the_role_lacks_is_named_with_its_resource(
    aws: StandIn, registry: SageMakerRegistry, publication: Publication
) -> None:
    package = registry.add(publication)
    aws.deny("sagemaker:UpdateModelPackage", package.name)
    with pytest.raises(CloudDenied) as raised:
        registry.approve(package, "approved", "why")
    assert f"let the role of this process do sagemaker:UpdateModelPackage on {package.name}" in str(raised.value)


@pytest.mark.parametrize(
    ("code", "status", "kind", "told"),
    [
        ("ThrottlingException", 400, CloudAway, "ThrottlingException"),
        ("ExpiredTokenException", 400, CloudDenied, "the credentials have expired or are wrong"),
        ("InternalFailure", 500, CloudAway, "InternalFailure"),
        ("ValidationException", 400, CloudError, "ValidationException"),
    ],
)
def test_what_aws_refuses_says_of_what(
    aws: StandIn, registry: SageMakerRegistry, code: str, status: int, kind: type[CloudError], told: str
) -> None:
    aws.fail("sagemaker:ListModelPackages", code, status, times=None)
    with pytest.raises(kind) as raised:
        registry.packages(PROJECT)
    assert told in str(raised.value)
    assert f"the packages of group {GROUP}" in str(raised.value)
    assert "hush" not in str(raised.value)


def test_what_is_there_is_said(aws: StandIn, registry: SageMakerRegistry, publication: Publication) -> None:
    registry.add(publication)
    assert registry.check() == f"sagemaker://cats in {REGION}: 1 model package group, files in s3://team/loop"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (PROJECT, GROUP),
        (ProjectKey("localhost-8080", 7), "cats-localhost-8080-7"),
        (ProjectKey("ls.corp-8080", 7), r"cats-ls-corp-8080-7-[0-9a-f]{8}"),
        (ProjectKey("a" * 70, 7), rf"cats-{'a' * 49}-[0-9a-f]{{8}}"),
    ],
    ids=["by creation", "by address", "with a dot", "too long"],
)
def test_a_groups_name_is_one_that_aws_takes(key: ProjectKey, name: str) -> None:
    found = group_of("cats", key)
    assert re.fullmatch(name, found)
    assert re.fullmatch("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", found)


def test_an_address_opens_a_registry_or_says_what_is_wrong(aws: StandIn) -> None:
    settings = Settings(aws_inference_image=IMAGE, aws_location="s3://team/loop")
    opened = open_registry(f"sagemaker://cats?region={REGION}", settings)
    assert opened.name == "sagemaker://cats"
    for address, given, told in (
        ("mlflow://cats", settings, "is no kind of registry. There are sagemaker and vertex"),
        ("sagemaker://cats?zone=a", settings, "'zone' is no option"),
        ("sagemaker://cats", Settings(aws_location="s3://team/loop"), "set LABELLOOP_AWS_INFERENCE_IMAGE"),
        ("sagemaker://cats", Settings(aws_inference_image=IMAGE), "set LABELLOOP_AWS_LOCATION"),
    ):
        with pytest.raises(SettingsError, match=told):
            open_registry(address, given)
    assert aws.calls == []
