"""Asking a model package for answers: what is set up for it is found again, and gone afterwards."""

import json
from contextlib import suppress
from datetime import timedelta
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from moto.sagemaker.models import sagemaker_backends
from PIL import Image

from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.answers import Asking, name_for
from labelloop.cloud.aws.objects import Folder
from labelloop.cloud.aws.passing_endpoint import PassingEndpoint
from labelloop.cloud.aws.transform import BatchTransform
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import CloudAway, CloudError, LeaseLost, RunCancelled
from labelloop.types import Failure, Input, Output
from support.aws import StandIn
from support.aws.kills import dying_at
from support.aws.transforms import Transforms
from support.bundles import picture
from support.crash_store import Killed

ROLE = "arn:aws:iam::123456789012:role/models"
WAYS = (BatchTransform, PassingEndpoint)


def colour_of(_: str, body: bytes, media_type: str) -> bytes:
    """Answer with a picture's colour, as a model that knows two would."""
    if not media_type.startswith("image/"):
        raise ValueError(f"{media_type} is no picture")
    red, _green, blue = np.asarray(Image.open(BytesIO(body)).convert("RGB"))[0, 0]
    name, other = ("red", "blue") if red > blue else ("blue", "red")
    return json.dumps([{"label": name, "score": 1.0}, {"label": other, "score": 0.0}]).encode()


@pytest.fixture
def jobs(aws: StandIn) -> Transforms:
    """Batch Transform; there is a bucket, and an image that knows two colours."""
    aws.client("s3").create_bucket(Bucket="files", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    aws.models.images["colours"] = colour_of
    return aws.transforms


def package_of(aws: StandIn, image: str = "colours") -> str:
    client = aws.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName="theirs")
    return str(
        client.create_model_package(
            ModelPackageGroupName="theirs",
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": image, "ModelDataUrl": "s3://files/model.tar.gz"}],
                "SupportedContentTypes": ["image/jpeg"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )["ModelPackageArn"]
    )


ACCOUNT = cache(Account)
"""A session takes a fifth of a second to be made."""


def asking(way: type[Asking]) -> Asking:
    account = ACCOUNT("eu-west-1")
    return way(
        account,
        Folder(account, "s3://files/judged"),
        ROLE,
        "ml.m5.large",
        EndpointSpec("sagemaker://their-endpoint"),
        1.0,
        60.0,
        lambda _: None,
    )


def inputs(count: int = 5) -> list[Input]:
    """Give pictures of two colours and two media types."""
    return [
        Input(
            picture("red" if at % 2 else "blue", size=(8 + at, 8), form="PNG" if at == 0 else "JPEG"),
            "image/png" if at == 0 else "image/jpeg",
        )
        for at in range(count)
    ]


def left(aws: StandIn, jobs: Transforms) -> list[str]:
    """Name all that costs, or lies about."""
    client = aws.client("sagemaker")
    return [
        *(one["EndpointName"] for one in client.list_endpoints()["Endpoints"]),
        *(one["EndpointConfigName"] for one in client.list_endpoint_configs()["EndpointConfigs"]),
        *(one["ModelName"] for one in client.list_models()["Models"]),
        *(one["Key"] for one in aws.client("s3").list_objects_v2(Bucket="files", Prefix="judged").get("Contents", [])),
        *(name for name, status in jobs.jobs().items() if status == "InProgress"),
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_package_that_nobody_has_approved_yet_answers_and_nothing_is_left_of_it(
    aws: StandIn, jobs: Transforms, way: type[Asking], caplog: pytest.LogCaptureFixture
) -> None:
    package = package_of(aws)
    with caplog.at_level("INFO"):
        answers = asking(way).ask(package, inputs(), name_for(package, "run"))
    assert "one ml.m5.large is billed until then" in caplog.text, "what it costs is said first"
    assert [one.label for one in answers if isinstance(one, Output)] == ["blue", "red", "blue", "red", "blue"]
    assert {one.model_version for one in answers if isinstance(one, Output)} == {package}
    assert left(aws, jobs) == []


@pytest.mark.parametrize("way", WAYS)
def test_what_the_model_cannot_read_is_a_failure_for_that_input_alone(
    aws: StandIn, jobs: Transforms, way: type[Asking]
) -> None:
    package = package_of(aws)
    given = [*inputs(3), Input(b"no picture at all", "image/jpeg")]
    *good, bad = asking(way).ask(package, given, name_for(package, "run"))
    assert all(isinstance(one, Output) for one in good)
    assert isinstance(bad, Failure)
    assert left(aws, jobs) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_answers_nothing_that_can_be_read_is_no_bad_model_but_an_error(
    aws: StandIn, jobs: Transforms, way: type[Asking]
) -> None:
    aws.models.images["colours"] = lambda *_: b'{"what": "is this"}'
    package = package_of(aws)
    with pytest.raises(CloudError, match=r"LABELLOOP_RESPONSE_FORMAT|does not answer"):
        asking(way).ask(package, inputs(), name_for(package, "run"))
    assert left(aws, jobs) == []


@pytest.mark.parametrize("way", WAYS)
def test_who_is_killed_anywhere_goes_on_and_nothing_is_left(aws: StandIn, jobs: Transforms, way: type[Asking]) -> None:
    package, at = package_of(aws), 0
    while True:
        with suppress(Killed), dying_at(at, after=at % 4 == 0) as done:
            asking(way).ask(package, inputs(), name_for(package, str(at)))
        if len(done) < at:
            break
        # Another one goes on where this one was cut off.
        answers = asking(way).ask(package, inputs(), name_for(package, str(at)))
        assert [one.label for one in answers if isinstance(one, Output)] == ["blue", "red", "blue", "red", "blue"]
        assert left(aws, jobs) == []
        at += 2
    assert at > 10


@pytest.mark.parametrize("way", WAYS)
def test_who_is_killed_and_never_comes_back_leaves_what_its_name_removes(
    aws: StandIn, jobs: Transforms, way: type[Asking]
) -> None:
    package, name = package_of(aws), ""
    for at in range(1, 24, 3):
        name = name_for(package, str(at))
        jobs.stuck = True
        aws.endpoints.looks = None if at % 2 else 1
        with suppress(Killed), dying_at(at):
            asking(way).ask(package, inputs(), name)
        jobs.stuck, aws.endpoints.looks = False, 1
        for one in aws.client("sagemaker").list_endpoints(StatusEquals="Creating")["Endpoints"]:
            aws.endpoints.finish(one["EndpointName"])
        asking(way).remove(name)
        assert left(aws, jobs) == []
        asking(way).remove(name)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("error", "stays"), [(LeaseLost("another"), True), (RunCancelled("by hand"), False)])
def test_who_is_ended_removes_it_and_who_is_followed_leaves_it(
    aws: StandIn, jobs: Transforms, way: type[Asking], error: Exception, stays: bool
) -> None:
    package, name = package_of(aws), ""
    jobs.stuck = True
    name = name_for(package, "run")

    def end(*_: object) -> None:
        raise error

    with pytest.raises(type(error)):
        asking(way).ask(package, inputs(), name, (), end)
    assert (name in left(aws, jobs)) == stays


def test_a_service_that_throttles_is_asked_again_later(aws: StandIn, jobs: Transforms) -> None:
    package = package_of(aws)
    name = name_for(package, "run")
    aws.fail("sagemaker:CreateEndpoint", "ThrottlingException", times=None)
    with pytest.raises(CloudAway):
        asking(PassingEndpoint).ask(package, inputs(), name)
    assert left(aws, jobs) != [], "it is found again"


def test_an_endpoint_that_takes_too_long_or_fails_is_removed_and_the_reason_is_told(
    aws: StandIn, jobs: Transforms
) -> None:
    package = package_of(aws)
    name = name_for(package, "run")
    aws.after("sagemaker:CreateEndpoint", lambda _: aws.endpoints.fail(name, "no capacity for ml.m5.large"))
    with pytest.raises(CloudError, match=r"ended as Failed: no capacity for ml.m5.large"):
        asking(PassingEndpoint).ask(package, inputs(), name)
    assert left(aws, jobs) == []


def test_a_batch_transform_that_makes_nothing_tells_why_and_is_begun_anew_the_next_time(
    aws: StandIn, jobs: Transforms
) -> None:
    package = package_of(aws, image="unknown")
    name = name_for(package, "run")
    for _ in range(2):
        with pytest.raises(CloudError, match="ended as Failed: ClientError"):
            asking(BatchTransform).ask(package, inputs(), name)
    assert sorted(jobs.jobs()) == [f"{name}-image-jpeg-1", f"{name}-image-jpeg-2"]
    assert left(aws, jobs) == []


def test_an_endpoint_that_was_forgotten_is_removed_by_who_comes_next(aws: StandIn, jobs: Transforms) -> None:
    package = package_of(aws)
    jobs.stuck = True
    forgotten = name_for(package, "forgotten")
    with pytest.raises(LeaseLost):
        asking(PassingEndpoint).ask(package, inputs(), forgotten, (), lambda *_: (_ for _ in ()).throw(LeaseLost("x")))
    endpoint: Any = sagemaker_backends["123456789012"]["eu-west-1"].endpoints[forgotten]
    endpoint.creation_time -= timedelta(days=2)
    asking(PassingEndpoint).ask(package, inputs(), name_for(package, "run"))
    assert left(aws, jobs) == []
