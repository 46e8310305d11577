"""Addresses of the deployers on AWS, and what versions are called there."""

import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.cloud.aws.hosting import seconds
from labelloop.cloud.names import Names
from labelloop.deployers.function import FunctionTarget
from labelloop.deployers.opening import check_deployer
from labelloop.deployers.sagemaker_address import SageMakerTarget
from labelloop.errors import SettingsError
from labelloop.loop.startup import clashes
from labelloop.setting_values import deployer_address
from labelloop.settings import Settings
from labelloop.types import ProjectKey
from support.examples import examples

GOOD = (
    "sagemaker://cats",
    "sagemaker://cats?region=eu-west-1&instance=ml.g5.xlarge&count=2&canary=10&wait=300&alarms=one,two",
    "sagemaker://cats?linear=20",
    "sagemaker://cats?serverless=4096&concurrency=5",
    "sagemaker://cats?async=s3://bucket/prefix",
    "lambda://cats",
    "lambda://cats_2?region=eu-west-1&alias=prod&memory=3008&storage=2048&timeout=60&canary=10&wait=300&alarms=one",
    "lambda://cats?url=public&role=arn:aws:iam::123456789012:role/cats",
    "sagemaker://cats?role=arn:aws:iam::123456789012:role/cats",
)

BAD = (
    ("sagemaker://a_b", "at most 46 letters, digits and hyphens"),
    (f"sagemaker://{'a' * 47}", "at most 46 letters, digits and hyphens"),
    ("sagemaker://cats/dogs", "names an endpoint"),
    ("sagemaker://cats?instance=m5.large", "instance is a type such as ml.m5.large"),
    ("sagemaker://cats?count=0", "count is a whole number from 1 to 1000"),
    ("sagemaker://cats?canary=60", "canary is a whole number from 1 to 50"),
    ("sagemaker://cats?canary=10&linear=20", "canary does not go together with linear"),
    ("sagemaker://cats?serverless=4096&canary=10", "serverless does not go together with canary"),
    ("sagemaker://cats?serverless=4096&alarms=one", "serverless does not go together with alarms"),
    ("sagemaker://cats?concurrency=5", "concurrency is for serverless endpoints"),
    ("sagemaker://cats?async=bucket", "async is a folder in S3"),
    ("sagemaker://cats?color=red", "knows no option 'color'"),
    ("sagemaker://cats?count=1&count=2", "the option count .* needs one value"),
    ("lambda://cats:live", "names a function"),
    ("lambda://cats?alias=7", "alias is a name such as live, and no number"),
    ("lambda://cats?memory=64", "memory is a whole number from 512 to 10240"),
    ("lambda://cats?url=all", "url is iam, public or none"),
)


@pytest.mark.parametrize("deployer", ["sagemaker://cats?region=eu-west-1", "lambda://cats"])
def test_a_deployer_of_another_endpoint_than_the_one_that_is_asked_is_told(deployer: str) -> None:
    def told(endpoint: str) -> bool:
        return "another endpoint" in " ".join(clashes(Settings(deployer=deployer, endpoint=endpoint)))

    assert told("sagemaker://dogs?region=eu-west-1")
    assert not told(deployer)
    assert not told("https://abc.lambda-url.eu-west-1.on.aws/invocations")


@pytest.mark.parametrize("address", GOOD)
def test_addresses_that_are_read(address: str) -> None:
    assert deployer_address(address) == ""
    check_deployer(address)


@pytest.mark.parametrize(("address", "told"), BAD, ids=[address for address, _ in BAD])
def test_an_address_that_is_wrong_says_where(address: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        check_deployer(address)


def test_what_an_address_says() -> None:
    target = SageMakerTarget.parse(GOOD[1])
    assert (target.endpoint, target.canary, target.alarms) == ("cats", 10, ("one", "two"))
    assert target.capacity == {"InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 2}
    assert target.address("other") == "sagemaker://other?region=eu-west-1"
    routing = SageMakerTarget.parse(GOOD[2]).guarded["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["LinearStepSize"] == {"Type": "CAPACITY_PERCENT", "Value": 20}
    queued = SageMakerTarget.parse(GOOD[4]).address("cats")
    assert queued == "sagemaker://cats?mode=async&input=s3://bucket/prefix/input"
    assert FunctionTarget.parse(GOOD[6]).address("7") == "lambda://cats_2?region=eu-west-1&alias=7"


@settings(max_examples=examples(50))
@given(
    st.from_regex(r"[a-z0-9][a-z0-9.-]{0,40}", fullmatch=True),
    st.integers(0, 10**10 - 1),
    st.integers(1, 99_999),
    st.text(max_size=20),
)
def test_a_name_is_one_that_aws_takes_and_says_its_version(instance: str, number: int, version: int, fact: str) -> None:
    names = Names(ProjectKey(instance, number))
    name = names.of(f"v{version}", fact)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name), "SageMaker's pattern"
    assert names.version(name) == f"v{version}"
    assert names.of(f"v{version}", fact) == name
    assert names.of(f"v{version}", fact + "!") != name
    assert Names(ProjectKey(instance, number + 1)).version(name) == ""
    assert names.version(f"{name}0") == ""


def test_moments_are_told_in_utc() -> None:
    assert seconds(datetime(2026, 1, 1, 9, 30, tzinfo=timezone(timedelta(hours=9)))) == "2026-01-01T00:30:00+00:00"
    assert seconds(None) == ""
