"""The dashboard: what a person who looks after the loop reads, in a browser, and nothing that could run there."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.progress import StageProgress
from labelloop.loop.project_registry import keep_project, remember_project
from labelloop.models.records import now
from labelloop.models.runs import DUE, WRITTEN, RunRecord
from labelloop.models.versions import VersionRecord
from labelloop.serve.page import content_policy
from labelloop.types import Json
from labelloop.watch.agreement import Agreed, keep_agreement
from support.bundles import make_bundle
from support.web import MakeHub, announce, client_of

HOSTILE = "<script>alert(1)</script>"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def publish(hub: Hub, folder: Path, labels: int, right: float, verdict: str, **more: object) -> str:
    """Publish a version that was measured."""
    project, run = hub.project(7), f"run{labels}"
    test = {"items": 40, "accuracy": {"value": right, "low": right - 0.1, "high": right + 0.05}}
    metrics: Json = {"labels": labels, "test": test, **more}
    make_bundle(folder / run)
    versions = hub.versions(project)
    version = versions.claim(run)
    created = "2026-01-01T00:00:00+00:00"
    record = VersionRecord(version, run, "head", None, created, promoted=True, verdict=verdict, metrics=metrics)
    versions.publish(version, folder / run, record)
    return version


@pytest.fixture
def looked_after(hub: Hub, tmp_path: Path) -> FlaskClient:
    """A project with two versions, the second one announced and agreed with."""
    remember_project(hub, hub.project(7), "http://labelloop:9090")
    keep_project(hub, hub.project(7), "Birds & bees")
    publish(hub, tmp_path, 100, 0.8, "v1 becomes the first champion")
    announce(hub, 7, "v1")
    publish(hub, tmp_path, 200, 0.9, f"v2 replaces v1 {HOSTILE}")
    announce(hub, 7, "v2")
    keep_agreement(hub.store, hub.project(7), Agreed("v2", 30, 24, 10, 7))
    return client_of(hub)


def page(client: FlaskClient, path: str) -> str:
    answer = client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert answer.headers["Content-Security-Policy"] == content_policy(answer.text)
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.text


def test_all_projects_are_there_with_what_their_champions_reach(looked_after: FlaskClient) -> None:
    text = page(looked_after, "/dashboard")

    assert "Birds &amp; bees" in text
    assert "0.900" in text
    assert "0.800 to 0.950" in text
    assert "7 of 10 (70%" in text
    assert "Redis answers" in text
    assert "nothing is trained or pre-annotated until one runs" in text


def test_of_many_versions_the_newest_are_read_and_shown(
    looked_after: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelloop.web.dashboard._MOST", 1)
    text = page(looked_after, "/dashboard/localhost-8080/7")

    assert re.findall(r'<th scope="row"[^>]*>(v\d)', text) == ["v2"]
    assert "1 older ones are left out" in text


def test_a_project_has_its_versions_newest_first_with_curve_verdict_and_report(looked_after: FlaskClient) -> None:
    text = page(looked_after, "/dashboard/localhost-8080/7")

    assert re.findall(r'<th scope="row"[^>]*>(v\d)', text) == ["v2", "v1"]
    assert "v1: accuracy 0.800 (0.700 to 0.850), 100 labels" in text
    assert len(re.findall("<circle", text)) == 2
    assert re.findall(r'class="name"[^>]*>(\w+)<', text) == ["labels"]
    assert "v1 becomes the first champion" in text
    assert 'href="http://localhost:8080/projects/7/data"' in text
    assert 'href="7/versions/v2/report"' in text


def test_labels_and_verdicts_are_text_whatever_they_hold(looked_after: FlaskClient) -> None:
    text = page(looked_after, "/dashboard/localhost-8080/7")

    assert HOSTILE not in text
    assert "v2 replaces v1 &lt;script&gt;" in text


def test_label_errors_are_one_click_away_where_there_are_any(hub: Hub, tmp_path: Path) -> None:
    remember_project(hub, hub.project(7), None)
    publish(hub, tmp_path, 100, 0.8, "made", suspects=3)
    publish(hub, tmp_path, 200, 0.8, "made", suspects=0)

    text = page(client_of(hub), "/dashboard/localhost-8080/7")
    assert re.findall(r'href="(\S+)#label-errors">([^<]+)<', text) == [("7/versions/v1/report", "3 label errors")]


def test_a_report_that_is_still_written_or_left_out_is_said_where_it_would_be(hub: Hub, tmp_path: Path) -> None:
    remember_project(hub, hub.project(7), None)
    project = hub.project(7)
    for labels, report in ((100, "v3 followed"), (200, DUE), (300, WRITTEN)):
        version = publish(hub, tmp_path, labels, 0.8, "made")
        hub.versions(project).amend(replace(hub.versions(project).get(version), created=now()))
        hub.runs(project).save(RunRecord(f"run{labels}", str(project), "m", "s", 1, state="promoted", report=report))

    client = client_of(hub)
    text = page(client, "/dashboard/localhost-8080/7")
    assert re.findall(r'href="(\S+)">report<', text) == ["7/versions/v3/report"]
    assert "its report is being written" in text
    assert "no report: v3 followed" in text
    with Lease(hub, project):
        answer = client.get("/dashboard/localhost-8080/7/versions/v2/report")
    assert (answer.status_code, answer.get_json()["error"]) == (
        404,
        "the report of v2 is being written. Ask for it again in a minute",
    )


def test_of_the_newest_versions_alone_it_is_looked_at(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelloop.web.dashboard._FEW", 2)
    remember_project(hub, hub.project(7), None)
    project = hub.project(7)
    for labels in (100, 200, 300):
        version = publish(hub, tmp_path, labels, 0.8, "made")
        hub.versions(project).amend(replace(hub.versions(project).get(version), created=now()))
        hub.runs(project).save(RunRecord(f"run{labels}", str(project), "m", "s", 1, state="promoted", report=DUE))

    text = page(client_of(hub), "/dashboard/localhost-8080/7")
    assert text.count("its report is being written") == 2
    assert re.findall(r'href="(\S+)">report<', text) == ["7/versions/v1/report"]


def test_what_goes_on_and_what_is_next_are_those_of_status(looked_after: FlaskClient, hub: Hub) -> None:
    hub.state(hub.project(7)).changes.add(["a1", "a2", "a3"], 1.0)
    hub.state(hub.project(7)).progress().tell(StageProgress("train", "head", 3, 8, 0.0, 0.0, elsewhere=True))

    text = page(looked_after, "/dashboard/localhost-8080/7")
    assert '<progress max="8" value="3">' in text
    assert "3 of 20 changed labels" in text
    assert "3 of 20 changed labels" in page(looked_after, "/dashboard")


def test_a_report_is_shown_and_runs_no_script_whatever_is_in_it(looked_after: FlaskClient, hub: Hub) -> None:
    hub.versions(hub.project(7)).write_report("v1", b"<!DOCTYPE html><h1>v1</h1>")

    answer = looked_after.get("/dashboard/localhost-8080/7/versions/v1/report")
    assert answer.data == b"<!DOCTYPE html><h1>v1</h1>"
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "sandbox"} < set(policy)
    assert "script" not in " ".join(policy)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dashboard/localhost-8080/8", "no project localhost-8080/8 is known here"),
        ("/dashboard/_projects/7", "is no project key"),
        ("/dashboard/localhost-8080/7/versions/v3/report", "v3 of localhost-8080/7 is not published"),
        ("/dashboard/localhost-8080/7/versions/v2/report", "v2 of localhost-8080/7 has no report"),
    ],
)
def test_what_is_not_there_is_404_with_the_reason(looked_after: FlaskClient, path: str, reason: str) -> None:
    answer = looked_after.get(path)
    assert answer.status_code == 404
    assert reason in answer.get_json()["error"]


@pytest.mark.usefixtures("looked_after")
def test_without_redis_it_says_so_and_shows_what_the_store_holds(make_hub: MakeHub) -> None:
    text = page(client_of(make_hub(redis_url="redis://127.0.0.1:1")), "/dashboard")

    assert '<span class="trouble">Redis cannot be reached' in text
    assert "Birds &amp; bees" in text


def test_a_browser_is_led_to_it_and_label_studio_is_not(make_hub: MakeHub) -> None:
    client = client_of(make_hub(basic_auth_user="label", basic_auth_pass="studio"))

    led = client.get("/", headers=BROWSER)
    assert (led.status_code, led.headers["Location"]) == (302, "dashboard")
    assert client.get("/dashboard", headers=BROWSER).status_code == 401
    for accepts in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        assert client.get("/", headers=accepts).get_json()["status"] == "UP"


def test_browsers_are_given_the_address_that_they_can_reach(make_hub: MakeHub, tmp_path: Path) -> None:
    hub = make_hub(label_studio_link="https://labels.example.com/ls/")
    remember_project(hub, hub.project(7), None)

    assert 'href="https://labels.example.com/ls/projects/7/data"' in page(client_of(hub), "/dashboard/localhost-8080/7")
