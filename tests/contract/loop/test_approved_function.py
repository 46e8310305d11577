"""A version that waits, approved in the registry on AWS: it is brought to a Lambda function, and then announced."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.loop.hub import Hub
from labelloop.loop.queue import SHORT
from labelloop.loop.sweep import sweep_project
from labelloop.models.versions import VersionRecord, Versions
from labelloop.types import Input, Output, Target
from support.aws import REGION, StandIn
from support.aws.models import FunctionsInHere
from support.bundles import make_bundle, picture
from support.deploying import announced, ask_for_colours, bring
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_consider import waiting
from .test_mirroring import packages, say

FUNCTION = f"lambda://cats?region={REGION}"


@pytest.fixture
def aws(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in.reset()
    stand_in.use(monkeypatch)
    monkeypatch.setattr(stand_in.functions, "run", FunctionsInHere(tmp_path / "served").run)
    stand_in.client("s3").create_bucket(Bucket="team", CreateBucketConfiguration={"LocationConstraint": REGION})
    return stand_in


@pytest.fixture
def loop(aws: StandIn, studio: StudioApi, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A worker's hub whose project has v1, which waits for nobody, and v2, which waits for approval."""
    ask_for_colours(studio)
    made = make_hub(
        approval="manual",
        endpoint=FUNCTION,
        deployer=FUNCTION,
        registry=f"sagemaker://cats?region={REGION}",
        aws_role=aws.role("labelloop", "lambda"),
        aws_inference_image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/labelloop-inference:1",
        aws_location="s3://team/loop",
    )
    for hub in of_this_process(made, monkeypatch):
        publish(Versions(hub.store, hub.project(7)), hub.settings.directory / "made", waits=False)
        publish(Versions(hub.store, hub.project(7)), hub.settings.directory / "made", waits=True)
        yield hub


def publish(versions: Versions, folder: Path, *, waits: bool) -> None:
    run = "second" if waits else "first"
    name = versions.claim(run)
    make_bundle(folder / name, gain=5.0 if waits else 4.0)
    record = VersionRecord(name, run, "head", "v1" if waits else None, "", True, f"{name} is good", waits=waits)
    versions.publish(name, folder / name, record)


def deployments(hub: Hub) -> int:
    """Count the jobs that wait to bring a champion to its endpoint."""
    return sum(str(job.func_name).endswith(".deploy") for job in waiting(hub, SHORT))


def answering() -> str:
    """Say which version the function answers a picture with."""
    (told,) = open_endpoint(EndpointSpec(FUNCTION)).invoke([Input(picture("red"), "image/png")], Target())
    assert isinstance(told, Output), told
    return told.model_version


def test_approved_in_the_registry_a_version_is_brought_to_the_function(
    studio: StudioApi, loop: Hub, aws: StandIn
) -> None:
    assert bring(loop, "v1") == "v1 is announced"
    sweep_project(loop, loop.project(7))
    assert packages(aws) == {"v1": "Approved", "v2": "PendingManualApproval"}
    assert (answering(), deployments(loop)) == ("v1", 0), "v2 waits for a person"

    say(aws, "v2", "Approved")
    sweep_project(loop, loop.project(7))
    assert announced(loop) == ("v2", "v1"), "it is the champion, which no annotator sees yet"
    assert (answering(), deployments(loop)) == ("v1", 1)

    assert bring(loop, None) == "v2 is announced"
    assert answering() == "v2"
    assert packages(aws) == {"v1": "Approved", "v2": "Approved"}
    assert {tuple(studio.versions_of(task)) for task in studio.tasks} == {("v1", "v2")}

    say(aws, "v2", "Rejected")
    sweep_project(loop, loop.project(7))
    assert bring(loop, None) == "v1 is announced"
    assert answering() == "v1", "the way back is the registry's, too"
