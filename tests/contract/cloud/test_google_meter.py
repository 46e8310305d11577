"""Figures in Cloud Monitoring: they come back as they were put, and what Google refuses is said."""

import time

import pytest

from labelloop.cloud.base import Figure
from labelloop.cloud.google.client import Google
from labelloop.cloud.google.meter import MonitoringMeter
from labelloop.cloud.opening import open_meter
from labelloop.errors import CloudAway, CloudDenied, SettingsError
from support.google import PROJECT, StandIn

PUT = "monitoring:POST timeSeries"


@pytest.fixture
def meter() -> MonitoringMeter:
    return MonitoringMeter(Google(PROJECT, wait=lambda _: None))


def kept(google: StandIn, name: str, **labels: str) -> list[float]:
    return google.monitoring.points(f"custom.googleapis.com/labelloop/{name}", **labels)


def test_figures_come_back_by_project_and_version(google: StandIn, meter: MonitoringMeter) -> None:
    now = time.time()
    meter.put(
        [
            Figure("MacroF1", 0.875, "studio-8080/7", "v3", now),
            Figure("MacroF1", 0.5, "studio-8080/7", "v2", now),
            Figure("Runs", 1.0, "studio-8080/7", "", now),
        ]
    )
    assert kept(google, "MacroF1", project="studio-8080/7", version="v3") == [0.875]
    assert kept(google, "MacroF1", project="studio-8080/7", version="v2") == [0.5]
    assert kept(google, "Runs", project="studio-8080/7") == [1.0]


def test_many_figures_go_in_few_requests_and_none_is_lost(google: StandIn, meter: MonitoringMeter) -> None:
    now = time.time()
    meter.put([Figure("EndpointErrors", 1.0, f"p/{number}", "", now) for number in range(401)])
    assert list(google.calls) == [PUT] * 3
    assert kept(google, "EndpointErrors") == [1.0] * 401


def test_of_a_series_the_last_figure_counts_and_one_that_comes_too_soon_costs_the_others_nothing(
    google: StandIn, meter: MonitoringMeter
) -> None:
    now = time.time()
    meter.put([Figure("Checked", 1.0, "p", "", now - 1), Figure("Checked", 2.0, "p", "", now)])
    meter.put([Figure("Checked", 3.0, "p", "", now + 1), Figure("Accuracy", 0.5, "p", "v1", now)])
    assert (kept(google, "Checked"), kept(google, "Accuracy")) == ([2.0], [0.5])


def test_no_figures_are_no_request(google: StandIn, meter: MonitoringMeter) -> None:
    meter.put([])
    assert list(google.calls) == []


@pytest.mark.parametrize(
    ("value", "ago"),
    [(float("nan"), 0.0), (float("inf"), 0.0), (0.5, 26 * 3600.0), (0.5, -600.0)],
    ids=["not a number", "infinite", "too old", "too new"],
)
def test_what_monitoring_refuses_costs_the_others_nothing(
    google: StandIn, meter: MonitoringMeter, caplog: pytest.LogCaptureFixture, value: float, ago: float
) -> None:
    now = time.time()
    meter.put([Figure("DriftKS", value, "p", "v1", now - ago), Figure("DriftPSI", 0.25, "p", "v1", now)])
    assert kept(google, "DriftPSI", project="p", version="v1") == [0.25]
    assert kept(google, "DriftKS") == []
    assert "DriftKS of project p is not sent" in caplog.text


def test_a_busy_monitoring_is_asked_again_and_then_waited_for(google: StandIn, meter: MonitoringMeter) -> None:
    google.fail(PUT, "RESOURCE_EXHAUSTED", times=None)
    with pytest.raises(CloudAway, match=f"figures for Cloud Monitoring in project {PROJECT}"):
        meter.put([Figure("Accuracy", 1.0, "p", "v1", time.time())])
    assert len(google.calls) > 1


def test_an_account_that_lacks_the_permission_is_told_which(google: StandIn, meter: MonitoringMeter) -> None:
    google.deny("monitoring.timeSeries.create")
    with pytest.raises(CloudDenied, match=r"monitoring\.timeSeries\.create"):
        meter.put([Figure("Accuracy", 1.0, "p", "v1", time.time())])


def test_a_meter_is_opened_by_its_address() -> None:
    found = open_meter("cloud-monitoring://shop-1")
    assert isinstance(found, MonitoringMeter)
    assert (found.google.project, found.name) == ("shop-1", "cloud-monitoring://shop-1")
    with pytest.raises(SettingsError, match="'region' is no option of it: there is none"):
        open_meter("cloud-monitoring://shop-1?region=eu-west-1")
