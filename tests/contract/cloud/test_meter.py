"""Figures in CloudWatch: they come back as they were put, and what AWS refuses is said."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.meter import CloudWatchMeter
from labelloop.cloud.base import Figure
from labelloop.cloud.opening import open_meter
from labelloop.errors import CloudAway, CloudDenied, SettingsError
from support.aws import REGION, StandIn

PUT = "cloudwatch:PutMetricData"


@pytest.fixture
def meter(aws: StandIn) -> CloudWatchMeter:
    return CloudWatchMeter(Account(REGION), "LabelLoop")


def kept(aws: StandIn, name: str, **dimensions: str) -> list[float]:
    """Ask CloudWatch for the sums of what was put by exactly these dimensions in the last hour."""
    now = time.time()
    found: dict[str, Any] = aws.client("cloudwatch").get_metric_statistics(
        Namespace="LabelLoop",
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=datetime.fromtimestamp(now - 3600, UTC),
        EndTime=datetime.fromtimestamp(now + 3600, UTC),
        Period=7200,
        Statistics=["Sum"],
    )
    return [one["Sum"] for one in found["Datapoints"]]


def test_figures_come_back_by_project_and_version(aws: StandIn, meter: CloudWatchMeter) -> None:
    now = time.time()
    meter.put(
        [
            Figure("MacroF1", 0.875, "studio-8080/7", "v3", now),
            Figure("MacroF1", 0.5, "studio-8080/7", "v2", now),
            Figure("Runs", 1.0, "studio-8080/7", "", now),
        ]
    )
    assert kept(aws, "MacroF1", Project="studio-8080/7", Version="v3") == [0.875]
    assert kept(aws, "MacroF1", Project="studio-8080/7", Version="v2") == [0.5]
    assert kept(aws, "Runs", Project="studio-8080/7") == [1.0]


def test_many_figures_go_in_few_requests_and_none_is_lost(aws: StandIn, meter: CloudWatchMeter) -> None:
    now = time.time()
    meter.put([Figure("EndpointErrors", 1.0, "p", "", now) for _ in range(1_201)])
    assert aws.calls == [PUT] * 3
    assert kept(aws, "EndpointErrors", Project="p") == [1_201.0]


def test_no_figures_are_no_request(aws: StandIn, meter: CloudWatchMeter) -> None:
    meter.put([])
    assert aws.calls == []


@pytest.mark.parametrize(
    "odd",
    [
        Figure("DriftKS", float("nan"), "p", "v1", 1.0),
        Figure("DriftKS", float("inf"), "p", "v1", time.time()),
        Figure("DriftKS", 0.5, "p", "v1", time.time() - 15 * 24 * 3600),
        Figure("DriftKS", 0.5, "p", "v1", time.time() + 3 * 3600),
    ],
    ids=["not a number", "infinite", "too old", "too new"],
)
def test_what_cloudwatch_refuses_costs_the_others_nothing(
    aws: StandIn, meter: CloudWatchMeter, caplog: pytest.LogCaptureFixture, odd: Figure
) -> None:
    meter.put([odd, Figure("DriftPSI", 0.25, "p", "v1", time.time())])
    assert kept(aws, "DriftPSI", Project="p", Version="v1") == [0.25]
    assert kept(aws, "DriftKS", Project="p", Version="v1") == []
    assert "DriftKS of project p is not sent" in caplog.text


def test_names_of_all_kinds_become_dimensions_that_aws_takes(aws: StandIn, meter: CloudWatchMeter) -> None:
    meter.put([Figure("Accuracy", 1.0, "p", version, time.time()) for version in (":latest", "modèle\n1", "v" * 2000)])
    taken = {"latest", "mod?le?1", "v" * 1024}
    assert all(kept(aws, "Accuracy", Project="p", Version=version) == [1.0] for version in taken)


def test_a_busy_cloudwatch_is_asked_again_and_then_waited_for(aws: StandIn, meter: CloudWatchMeter) -> None:
    aws.fail(PUT, "Throttling", 400, "Rate exceeded", times=None)
    with pytest.raises(CloudAway, match=r"figures for namespace LabelLoop of CloudWatch in eu-west-1: .*Throttling"):
        meter.put([Figure("Accuracy", 1.0, "p", "v1", time.time())])


def test_a_role_that_lacks_the_action_is_told_which(aws: StandIn, meter: CloudWatchMeter) -> None:
    aws.deny(PUT)
    with pytest.raises(CloudDenied, match=r"let the role of this process do cloudwatch:PutMetricData on"):
        meter.put([Figure("Accuracy", 1.0, "p", "v1", time.time())])


def test_expired_credentials_are_said_to_be(aws: StandIn, meter: CloudWatchMeter) -> None:
    aws.fail(PUT, "ExpiredToken", 403, "The security token included in the request is expired")
    with pytest.raises(CloudDenied, match="the credentials have expired or are wrong"):
        meter.put([Figure("Accuracy", 1.0, "p", "v1", time.time())])


def test_a_meter_is_opened_by_its_address(aws: StandIn) -> None:
    found = open_meter("cloudwatch://Team/LabelLoop?region=eu-central-1")
    assert isinstance(found, CloudWatchMeter)
    assert (found.namespace, found.account.region) == ("Team/LabelLoop", "eu-central-1")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("statsd://LabelLoop", "'statsd' is no kind of place for figures. There are cloudwatch, cloud-monitoring"),
        ("cloudwatch://LabelLoop?colour=red", "'colour' is no option of it"),
    ],
)
def test_other_addresses_are_refused(address: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        open_meter(address)
