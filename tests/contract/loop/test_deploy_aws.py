"""The loop with a SageMaker endpoint on the wire: a champion is tested, gets its traffic and is announced, or not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.cloud.names import group_of
from labelloop.errors import CloudAway, DeployError
from labelloop.loop import jobs
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.models.deployments import Deployments
from labelloop.models.versions import Versions
from support.aws import StandIn
from support.bundles import make_bundle
from support.deploying import announced, ask_for_colours, bring, publish_versions, seen
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_worker import working

SETTINGS: dict[str, object] = {
    "endpoint": "sagemaker://cats?region=eu-west-1",
    "deployer": "sagemaker://cats?region=eu-west-1&count=2&canary=10&wait=60",
    "aws_role": "arn:aws:iam::123456789012:role/labelloop",
    "aws_inference_image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/labelloop-inference:1",
    "aws_location": "s3://labelloop/team",
    "poll_seconds": 0.1,
}


@pytest.fixture
def aws(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in.reset()
    stand_in.use(monkeypatch)
    where = {"LocationConstraint": "eu-west-1"}
    stand_in.client("s3").create_bucket(Bucket="labelloop", CreateBucketConfiguration=where)
    return stand_in


@pytest.fixture
def loop(aws: StandIn, make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of this process' jobs: its project has three versions, none of them champion."""
    ask_for_colours(studio)
    for hub in of_this_process(make_hub(**SETTINGS), monkeypatch):
        publish_versions(hub)
        yield hub


def test_a_champion_is_tested_gets_its_traffic_and_is_announced(studio: StudioApi, loop: Hub, aws: StandIn) -> None:
    assert "on its way" in jobs.deploy(str(loop.project(7)), "v1")
    assert seen(loop).between == ("v1",), "nothing else can answer where there is no endpoint yet"
    assert bring(loop, None) == "v1 is announced"
    assert bring(loop, "v2") == "v2 is announced"
    assert announced(loop) == ("v2", "v2")
    assert (seen(loop).version, seen(loop).stage, seen(loop).brought) == ("v2", "there", ("v1", "v2"))
    assert {tuple(studio.versions_of(task)) for task in studio.tasks} == {("v1", "v2")}
    assert studio.backends[0]["title"] == "v2"
    found = aws.client("sagemaker").list_endpoints()["Endpoints"]
    assert [one["EndpointName"] for one in found] == ["cats"]
    trials = [version for endpoint, version in aws.runtime.answered if endpoint != "cats"]
    assert min(trials.count("v1"), trials.count("v2")) > 50, (
        "all checks of labelloop test-endpoint were made, of either version"
    )


def test_a_cloud_that_throttles_takes_nothing_from_the_rest_of_the_sweep(
    studio: StudioApi, loop: Hub, aws: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = loop.project(7)
    fence = loop.pointer(project).take_fence()
    loop.pointer(project).promote("v1", fence)
    loop.pointer(project).announce("v1", fence)
    found = seen(loop)
    there = replace(found, version="v1", wanted="v1", stage="there", brought=("v1",))
    Deployments(loop.store, project).replace(found, there)
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    aws.fail("sagemaker:DescribeEndpoint", "ThrottlingException", times=None)
    assert sweep_project(loop, project) == "nothing has changed"
    assert "AWS answered ThrottlingException" in project_status(loop, project).trouble


def test_one_that_fails_its_test_leaves_the_old_one_announced(
    studio: StudioApi, loop: Hub, aws: StandIn, tmp_path: Path
) -> None:
    bring(loop, "v1")
    make_bundle(wrong := tmp_path / "wrong", classes=("green", "red", "blue"), gain=6)
    aws.models.instead["v2"] = wrong
    with pytest.raises(DeployError, match=r"v2 could not be brought to endpoint cats: it was tested .* other classes"):
        bring(loop, "v2")
    assert announced(loop) == ("v2", "v1")
    assert {tuple(studio.versions_of(task)) for task in studio.tasks} == {("v1",)}
    assert not [version for endpoint, version in aws.runtime.answered if (endpoint, version) == ("cats", "v2")]
    assert consider(loop, loop.project(7)) == "the last attempt failed; it is left alone for a while"


def test_the_way_back_leaves_nothing_behind_of_what_is_given_up(loop: Hub, aws: StandIn) -> None:
    bring(loop, "v1")
    aws.endpoints.looks = None
    assert "on its way" in jobs.deploy(str(loop.project(7)), "v2")
    names = [one["EndpointName"] for one in aws.client("sagemaker").list_endpoints()["Endpoints"]]
    (trial,) = set(names) - {"cats"}
    assert "on its way" in jobs.deploy(str(loop.project(7)), "v1"), "AWS deletes no endpoint that is being made"
    aws.endpoints.finish(trial)
    assert bring(loop, None) == "v1 is announced"
    assert [one["EndpointName"] for one in aws.client("sagemaker").list_endpoints()["Endpoints"]] == ["cats"]


def moving(loop: Hub, aws: StandIn) -> None:
    """Begin to bring v2 until traffic moves, and stay there."""
    bring(loop, "v1")
    while aws.endpoints.pending("cats") is None:
        assert "on its way" in jobs.deploy(str(loop.project(7)), None if announced(loop)[0] == "v2" else "v2")
    aws.endpoints.stick("cats")


def test_one_that_is_stuck_has_failed_and_the_way_back_waits_for_it(loop: Hub, aws: StandIn) -> None:
    moving(loop, aws)
    found = seen(loop)
    Deployments(loop.store, loop.project(7)).replace(found, replace(found, begun=found.begun - 4000))
    with pytest.raises(DeployError, match="it is not over after 3600 s"):
        jobs.deploy(str(loop.project(7)), None)
    assert announced(loop) == ("v2", "v1")
    with pytest.raises(CloudAway, match="endpoint cats is Updating"):
        jobs.deploy(str(loop.project(7)), "v1")
    aws.endpoints.finish("cats")
    assert bring(loop, None) == "v1 is announced"
    assert announced(loop) == ("v1", "v1")
    assert seen(loop).version == "v1"


def test_where_update_and_way_back_failed_nobody_waits(loop: Hub, aws: StandIn) -> None:
    moving(loop, aws)
    aws.endpoints.fail("cats", "both failed")
    with pytest.raises(DeployError, match="endpoint cats is UpdateRollbackFailed"):
        jobs.deploy(str(loop.project(7)), None)
    assert bring(loop, None) == "v2 is announced", "the next deployment updates it anew"


def labelloop(*words: str) -> tuple[int, str]:
    told = CliRunner().invoke(main, ["aws", *words, "--project", "7"])
    return told.exit_code, told.stdout or told.stderr


def test_what_the_commands_say_without_a_worker(loop: Hub, aws: StandIn) -> None:
    assert "has no champion yet" in labelloop("deploy")[1]
    assert "has no champion before this one" in labelloop("rollback")[1]
    assert "endpoint: sagemaker://cats is not there yet" in labelloop("status")[1]
    bring(loop, "v1")
    assert labelloop("deploy", "v2", "--no-wait")[1].startswith("v2: queued")
    code, told = labelloop("status")
    assert code == 0
    assert "  deployed: v1 since" in told
    assert "  endpoint: sagemaker://cats is InService with v1" in told
    assert "pipeline" not in told
    assert "queue" not in told
    made = Versions(loop.store, loop.project(7))
    made.amend(replace(made.get("v3"), promoted=False, verdict="v3 is worse"))
    assert "v3 was rejected (v3 is worse); --force takes it all the same" in labelloop("deploy", "v3")[1]
    aws.deny("sagemaker:DescribeEndpoint", times=None)
    assert "endpoint: cannot be asked: " in labelloop("status")[1]


def test_status_tells_of_registry_pipeline_and_queue_where_they_are_set(
    loop: Hub, aws: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.client("sqs").create_queue(QueueName="events")
    group = group_of("team", loop.project(7))
    monkeypatch.setenv("LABELLOOP_EVENTS", "sqs://events?region=eu-west-1")
    monkeypatch.setenv("LABELLOOP_TRAINER", "sagemaker-pipeline://scenes?region=eu-west-1")
    monkeypatch.setenv("LABELLOOP_REGISTRY", "sagemaker://team?region=eu-west-1")
    found = json.loads(labelloop("status", "--json")[1])
    assert found["packages"] == "none yet"
    aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)
    container = {"Image": SETTINGS["aws_inference_image"], "ModelDataUrl": "s3://labelloop/model.tar.gz"}
    aws.client("sagemaker").create_model_package(
        ModelPackageGroupName=group,
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    assert json.loads(labelloop("status", "--json")[1])["packages"] == f"{group}/1 approved"
    assert "about 0 events wait" in found["queue"]
    assert found["pipeline"].startswith("cannot be asked: "), "there is none of that name"


def test_where_nothing_deploys_it_says_what_to_set(loop: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_DEPLOYER", "")
    for command in ("deploy", "rollback"):
        code, told = labelloop(command)
        assert code == 1
        assert "nothing brings versions to the endpoint of project 7: let LABELLOOP_DEPLOYER" in told
    code, told = labelloop("status")
    assert (code, "names a part of a cloud" in told) == (0, True)
    monkeypatch.setenv("LABELLOOP_EVENTS", "sqs://nowhere?region=eu-west-1")
    code, told = labelloop("status")
    assert (code, "names a part of a cloud" in told) == (0, False)
    assert "  queue: cannot be asked: queue nowhere in eu-west-1" in told


@pytest.mark.slow
@pytest.mark.process
def test_a_worker_is_followed_until_a_version_is_announced(loop: Hub, aws: StandIn, tmp_path: Path) -> None:
    with working(loop, tmp_path / "worker.log"):
        assert labelloop("deploy", "v1")[0] == 0
        code, told = labelloop("deploy", "v2", "--json")
        assert (code, json.loads(told)["status"]) == (0, "announced"), told
        before = [name for name in aws.calls if "Create" in name]
        assert labelloop("deploy")[1].startswith("v2: announced")
        assert [name for name in aws.calls if "Create" in name] == before, "once more changes nothing"
        code, told = labelloop("rollback")
        assert (code, told.splitlines()[0]) == (0, "v1: announced")
        make_bundle(wrong := tmp_path / "wrong", classes=("green", "red", "blue"), gain=7)
        aws.models.instead["v3"] = wrong
        code, told = labelloop("deploy", "v3")
        assert (code, "v3: failed: it was tested" in told) == (1, True)
