"""The loop with Vertex AI on the wire: a champion is tested, gets its traffic, is announced and mirrored, or not."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.cloud.google.client import Google
from labelloop.cloud.names import group_of
from labelloop.errors import DeployError
from labelloop.loop import jobs
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.mirror import reconcile
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.models.deployments import Deployments
from labelloop.models.versions import VersionRecord, Versions
from labelloop.sources.google_api import GoogleApi
from support.bundles import make_bundle
from support.deploying import announced, ask_for_colours, bring, publish_versions, seen
from support.google import LOCATION, PROJECT, Call, StandIn
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process

PLACE = f"vertex://{PROJECT}/{LOCATION}"


@pytest.fixture
def google(google_session: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    google_session.reset()
    for made in (Google, GoogleApi):
        monkeypatch.setitem(made.__init__.__kwdefaults__ or {}, "wait", lambda _: None)
    google_session.use(monkeypatch)
    google_session.bucket("labelloop")
    return google_session


@pytest.fixture
def loop(google: StandIn, make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of this process' jobs: its project has three versions, none of them champion."""
    ask_for_colours(studio)
    settings: dict[str, object] = {
        "endpoint": f"{PLACE}/cats",
        "vertex_base_url": google.url,
        "storage_emulator": google.url,
        "deployer": f"{PLACE}/cats?canary=20&wait=0",
        "registry": PLACE,
        "google_inference_image": "europe-docker.pkg.dev/shop-1/labelloop/inference:1",
        "google_folder": "gs://labelloop/team",
        "poll_seconds": 0.1,
    }
    for hub in of_this_process(make_hub(**settings), monkeypatch):
        publish_versions(hub)
        yield hub


def endpoints(google: StandIn) -> list[str]:
    google.operations.finish()
    return sorted(one["name"].rpartition("/")[2] for one in google.ask("GET", "endpoints").get("endpoints", ()))


def model(hub: Hub) -> str:
    return f"models/{group_of('labelloop', hub.project(7))}"


def crowned(hub: Hub, google: StandIn) -> str:
    """Say which version has the alias of the champion."""
    labels: dict[str, str] = google.ask("GET", f"{model(hub)}@champion")["labels"]
    return labels["labelloop-version"]


@pytest.mark.slow
def test_a_champion_is_tested_gets_its_traffic_and_is_announced(studio: StudioApi, loop: Hub, google: StandIn) -> None:
    assert "on its way" in jobs.deploy(str(loop.project(7)), "v1")
    assert seen(loop).between == ("v1",), "nothing else can answer where there is no endpoint yet"
    assert bring(loop, None) == "v1 is announced"
    assert bring(loop, "v2") == "v2 is announced"
    assert announced(loop) == ("v2", "v2")
    assert (seen(loop).version, seen(loop).stage, seen(loop).brought) == ("v2", "there", ("v1", "v2"))
    assert {tuple(studio.versions_of(task)) for task in studio.tasks} == {("v1", "v2")}
    assert studio.backends[0]["title"] == "v2"
    tested = [endpoint for endpoint, _ in google.runtime.answered if endpoint != "cats"]
    assert len(set(tested)) == 2
    assert min(tested.count(name) for name in set(tested)) > 50, "all checks of labelloop test-endpoint were made"
    reconcile(loop, loop.project(7))
    assert crowned(loop, google) == "v2"


def test_the_alias_of_the_champion_follows_promotion_and_rollback_and_moves_the_champion(
    loop: Hub, google: StandIn
) -> None:
    project = loop.project(7)
    bring(loop, "v1")
    reconcile(loop, project)
    bring(loop, "v2")
    reconcile(loop, project)
    uploads = google.calls.count("aiplatform:POST models:upload")
    assert crowned(loop, google) == "v2"
    assert bring(loop, "v1") == "v1 is announced"
    reconcile(loop, project)
    assert crowned(loop, google) == "v1"
    found = {
        one["labels"]["labelloop-version"]: one for one in google.ask("GET", f"{model(loop)}:listVersions")["models"]
    }
    assert found["v2"]["labels"]["labelloop-status"] == "rejected"
    assert found["v2"]["versionDescription"].startswith("LabelLoop: rejected. rolled back to v1")

    number = found["v3"]["versionId"]
    google.ask("POST", f"{model(loop)}@{number}:mergeVersionAliases", {"versionAliases": ["champion"]})
    reconcile(loop, project)
    assert announced(loop) == ("v3", "v1"), "who gives the alias to a version makes it champion"
    assert bring(loop, None) == "v3 is announced"
    assert google.calls.count("aiplatform:POST models:upload") == uploads == 3, "registry and endpoint share versions"


def test_a_cloud_that_throttles_takes_nothing_from_the_rest_of_the_sweep(loop: Hub, google: StandIn) -> None:
    project = loop.project(7)
    fence = loop.pointer(project).take_fence()
    loop.pointer(project).promote("v1", fence)
    loop.pointer(project).announce("v1", fence)
    found = seen(loop)
    there = replace(found, version="v1", wanted="v1", stage="there", brought=("v1",))
    Deployments(loop.store, project).replace(found, there)
    google.fail("GET endpoints/*", "RESOURCE_EXHAUSTED", times=None)
    assert sweep_project(loop, project) == "nothing has changed"
    assert "Google answered 429 RESOURCE_EXHAUSTED" in project_status(loop, project).trouble


@pytest.mark.slow
def test_one_that_fails_its_test_leaves_the_old_one_announced(
    studio: StudioApi, loop: Hub, google: StandIn, tmp_path: Path
) -> None:
    bring(loop, "v1")
    make_bundle(wrong := tmp_path / "wrong", classes=("green", "red", "blue"), gain=6)
    google.served.instead["v2"] = wrong
    with pytest.raises(DeployError, match=r"v2 could not be brought to endpoint cats: it was tested .* other classes"):
        bring(loop, "v2")
    assert announced(loop) == ("v2", "v1")
    assert {tuple(studio.versions_of(task)) for task in studio.tasks} == {("v1",)}
    assert len(google.ask("GET", "endpoints/cats")["deployedModels"]) == 1
    assert consider(loop, loop.project(7)) == "the last attempt failed; it is left alone for a while"


def test_an_endpoint_takes_the_versions_of_one_project(studio: StudioApi, loop: Hub, google: StandIn) -> None:
    bring(loop, "v1")
    studio.number = 8
    other, made = loop.project(8), loop.settings.directory / "made" / "2"
    versions = Versions(loop.store, other)
    name = versions.claim("run")
    versions.publish(name, made, VersionRecord(name, "run", "head", None, "", True, "good"))
    with pytest.raises(DeployError, match=f"takes the versions of project {loop.project(7)}, and v1 of {other}"):
        jobs.deploy(str(other), "v1")
    assert endpoints(google) == ["cats"]
    assert len(google.ask("GET", "endpoints/cats")["deployedModels"]) == 1


@pytest.mark.slow
def test_a_deployment_that_fails_after_an_hour_leaves_the_old_one_announced(loop: Hub, google: StandIn) -> None:
    bring(loop, "v1")
    google.operations.fail("deployModel", "RESOURCE_EXHAUSTED", "no machine is free there")
    with pytest.raises(DeployError, match=r"v2 could not be brought to endpoint cats: .*no machine is free there"):
        bring(loop, "v2")
    assert announced(loop) == ("v2", "v1")
    assert [*google.ask("GET", "endpoints/cats")["trafficSplit"].values()] == [100]
    assert consider(loop, loop.project(7)) == "the last attempt failed; it is left alone for a while"


def under_way(loop: Hub, google: StandIn) -> None:
    """Begin to bring v2 until it is being deployed to the endpoint itself, and stay there."""

    def look(call: Call) -> None:
        google.operations.looks = None if call.resource.endswith("/endpoints/cats") else 1

    bring(loop, "v1")
    google.before("POST endpoints/*:deployModel", look, times=None)
    assert "on its way" in jobs.deploy(str(loop.project(7)), "v2")
    for _ in range(10):
        if google.operations.looks is None:
            return
        assert "on its way" in jobs.deploy(str(loop.project(7)), None)
    raise AssertionError("it is never deployed")


@pytest.mark.slow
def test_one_that_is_stuck_has_failed_and_the_way_back_waits_for_it(loop: Hub, google: StandIn) -> None:
    under_way(loop, google)
    found = seen(loop)
    Deployments(loop.store, loop.project(7)).replace(found, replace(found, begun=found.begun - 4000))
    with pytest.raises(DeployError, match="it is not over after 3600 s"):
        jobs.deploy(str(loop.project(7)), None)
    assert announced(loop) == ("v2", "v1")
    google.operations.looks = 1
    google.operations.finish()
    assert bring(loop, "v1") == "v1 is announced"
    assert (announced(loop), seen(loop).version) == (("v1", "v1"), "v1")
    assert endpoints(google) == ["cats"], "nothing is left of the one that was given up"


def test_an_account_that_was_revoked_takes_nothing_away(loop: Hub, google: StandIn) -> None:
    bring(loop, "v1")
    google.revoke()
    with pytest.raises(DeployError, match="see whether the service account is disabled"):
        jobs.deploy(str(loop.project(7)), "v2")
    google.mend()
    assert announced(loop)[1] == "v1"
    assert [*google.ask("GET", "endpoints/cats")["trafficSplit"].values()] == [100]


def labelloop(*words: str) -> tuple[int, str]:
    told = CliRunner().invoke(main, ["google", *words, "--project", "7"])
    return told.exit_code, told.stdout or told.stderr


def test_what_the_commands_say_without_a_worker(loop: Hub, google: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has no champion yet" in labelloop("deploy")[1]
    assert f"endpoint: {PLACE}/cats is not there yet" in labelloop("status")[1]
    bring(loop, "v1")
    reconcile(loop, loop.project(7))
    assert labelloop("deploy", "v2", "--no-wait")[1].startswith("v2: queued")
    found = json.loads(labelloop("status", "--json")[1])
    assert found["endpoint"].startswith(f"{PLACE}/cats: v1 serves since ")
    name = model(loop).removeprefix("models/")
    assert found["packages"] == f"{name}@1 approved, {name}@2 rejected, {name}@3 rejected"
    assert "pipeline" not in found
    google.deny("aiplatform.endpoints.get")
    assert "endpoint: cannot be asked: " in labelloop("status")[1]
    assert "a role with aiplatform.endpoints.get" in labelloop("status")[1]
