"""The loop with a registry on AWS: what a worker mirrors, what a person there brings about, what goes wrong."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.cli.doctor import diagnose
from labelloop.loop import jobs, mirror
from labelloop.loop.hub import Hub
from labelloop.loop.promotion import promote
from labelloop.loop.queue import SHORT
from labelloop.loop.sweep import sweep_project
from labelloop.models.runs import DUE, WRITTEN
from support.aws import REGION, StandIn
from support.aws.kills import dying_at
from support.crash_store import Killed
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_approval import publish
from .test_consider import waiting

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/labelloop:1"


@pytest.fixture
def aws(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in.reset()
    stand_in.use(monkeypatch)
    stand_in.client("s3").create_bucket(Bucket="team", CreateBucketConfiguration={"LocationConstraint": REGION})
    return stand_in


@pytest.fixture
def loop(aws: StandIn, studio: StudioApi, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A worker's hub whose project has a champion v1; v2 waits for approval."""
    made = make_hub(
        approval="manual",
        registry=f"sagemaker://cats?region={REGION}",
        aws_inference_image=IMAGE,
        aws_location="s3://team/loop",
    )
    studio.connect("v1")
    for hub in of_this_process(made, monkeypatch):
        project = hub.project(7)
        publish(hub, project, "v1", parent=None, waits=False)
        promote(hub.store, project, "v1")
        publish(hub, project, "v2")
        yield hub


def deploy(hub: Hub) -> str:
    return jobs.deploy(str(hub.project(7)), None)


def listed(aws: StandIn) -> list[tuple[str, str, str]]:
    """Give all packages as SageMaker has them: name, version, approval."""
    client, found = aws.client("sagemaker"), []
    for group in client.list_model_package_groups()["ModelPackageGroupSummaryList"]:
        named = client.list_model_packages(ModelPackageGroupName=group["ModelPackageGroupName"])
        for one in named["ModelPackageSummaryList"]:
            told = client.describe_model_package(ModelPackageName=one["ModelPackageArn"])
            version = told["CustomerMetadataProperties"]["version"]
            found.append((one["ModelPackageArn"], version, one["ModelApprovalStatus"]))
    return found


def packages(aws: StandIn) -> dict[str, str]:
    return {version: approval for _, version, approval in listed(aws)}


def say(aws: StandIn, version: str, approval: str) -> None:
    """Say something of a package, as a person does in SageMaker Studio."""
    [name] = [name for name, known, _ in listed(aws) if known == version]
    aws.client("sagemaker").update_model_package(ModelPackageArn=name, ModelApprovalStatus=approval)


def delete(aws: StandIn) -> None:
    for name, _, _ in listed(aws):
        aws.client("sagemaker").delete_model_package(ModelPackageName=name)


def status() -> str:
    return CliRunner().invoke(main, ["status", "--project", "7"]).output


def test_approved_in_studio_a_version_becomes_champion_and_is_announced(aws: StandIn, loop: Hub) -> None:
    assert deploy(loop) == "v1 is announced"
    assert packages(aws) == {"v1": "Approved", "v2": "PendingManualApproval"}
    say(aws, "v2", "Approved")

    sweep_project(loop, loop.project(7))

    assert loop.pointer(loop.project(7)).read().champion == "v2"
    assert [job.func_name for job in waiting(loop, SHORT) if "deploy" in str(job.func_name)]
    assert deploy(loop) == "v2 is announced"
    assert packages(aws) == {"v1": "Approved", "v2": "Approved"}
    say(aws, "v2", "Rejected")
    sweep_project(loop, loop.project(7))
    assert deploy(loop) == "v1 is announced"
    assert packages(aws) == {"v1": "Approved", "v2": "Rejected"}


@pytest.mark.parametrize("written", [True, False])
def test_a_version_waits_for_its_report_but_not_for_ever(
    aws: StandIn, loop: Hub, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    project = loop.project(7)
    runs, run = loop.runs(project), loop.versions(project).get("v2").run
    runs.amend(run, lambda one: replace(one, report=DUE))
    deploy(loop)
    assert packages(aws) == {"v1": "Approved"}
    if written:
        runs.amend(run, lambda one: replace(one, report=WRITTEN))
    else:
        monkeypatch.setattr(mirror, "_REPORT_DUE", timedelta(0))
    sweep_project(loop, project)
    assert packages(aws) == {"v1": "Approved", "v2": "PendingManualApproval"}


def test_a_sweep_without_news_asks_for_one_listing(aws: StandIn, loop: Hub) -> None:
    deploy(loop)
    aws.calls.clear()
    sweep_project(loop, loop.project(7))
    assert aws.calls == ["sagemaker:ListModelPackages"]


def test_what_goes_wrong_there_is_a_note_and_takes_nothing_from_the_loop(aws: StandIn, loop: Hub) -> None:
    aws.deny("sagemaker:UpdateModelPackage", "arn:aws:sagemaker:eu-west-1:123456789012:model-package/*")
    assert deploy(loop) == "v1 is announced"
    told = status()
    assert "versions are not mirrored now" in told
    assert "let the role of this process do sagemaker:UpdateModelPackage on arn:aws:sagemaker" in told
    for code, tries in (("ThrottlingException", 4), ("ExpiredTokenException", 1)):
        aws.fail("sagemaker:ListModelPackages", code, times=tries)
        sweep_project(loop, loop.project(7))
        assert code in status()
    sweep_project(loop, loop.project(7))
    assert "not mirrored" not in status()
    assert packages(aws) == {"v1": "Approved", "v2": "PendingManualApproval"}


def test_a_group_that_was_deleted_comes_back(aws: StandIn, loop: Hub) -> None:
    deploy(loop)
    delete(aws)
    client = aws.client("sagemaker")
    [group] = client.list_model_package_groups()["ModelPackageGroupSummaryList"]
    client.delete_model_package_group(ModelPackageGroupName=group["ModelPackageGroupName"])
    sweep_project(loop, loop.project(7))
    assert packages(aws) == {"v1": "Approved", "v2": "PendingManualApproval"}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_call_of_aws_the_next_sweep_comes_to_the_same(aws: StandIn, loop: Hub, after: bool) -> None:
    project, killed = loop.project(7), 0
    for at in range(20):
        try:
            with dying_at(at, after=after):
                sweep_project(loop, project)
        except Killed:
            killed += 1
            sweep_project(loop, project)
            assert packages(aws) == {"v1": "Approved", "v2": "PendingManualApproval"}
            assert len(listed(aws)) == 2, f"killed at call {at}"
            delete(aws)
        else:
            break
    assert killed > 8


def test_doctor_asks_the_registry(loop: Hub) -> None:
    # With a trainer elsewhere no network is tried, which takes seconds.
    loop.settings = replace(loop.settings, trainer="command:./train.sh")
    found = {one.name: one for one in diagnose(loop, None)}
    assert found["registry"].detail == f"sagemaker://cats in {REGION}: 0 model package groups, files in s3://team/loop"
    assert found["registry"].ok
