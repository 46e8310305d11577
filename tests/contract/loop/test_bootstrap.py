"""A project with a bootstrap endpoint: who predicts when, under which version, and what of it is kept."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.cli.doctor import diagnose
from labelloop.errors import EndpointError, OptionsError, SettingsError
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.predict import Prediction, predict_tasks
from labelloop.loop.prelabel import prelabel
from labelloop.loop.project_endpoint import hear, open_for, share_extra_params
from labelloop.loop.serving import announced_version, note_deployment, serving
from labelloop.loop.standing import standing
from labelloop.loop.startup import clashes, refuse_impossible
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.models.champion import ChampionPointer
from labelloop.settings import Settings
from labelloop.types import NO_VERSION, Json
from support.label_configs import interface
from support.misbehaving import Misbehaving, Reply, answer, good, misbehaving, stall
from support.studio_api import CONFIG, StudioApi

from .conftest import MakeHub, of_this_process

NO_TORCH = {"weights": "/nowhere/a.safetensors"}
DOWN = answer({"error": "down"}, 500)


def zero_shot(version: str = "zs") -> Reply:
    """Every picture is a dog, in words of its own."""
    named = {"model_version": version} if version else {}
    scores = {"a dog": 0.75, "a cat": 0.25}
    return answer({"predictions": [{"label": "a dog", "score": 0.75, "scores": scores, "kind": "single", **named}]})


@pytest.fixture
def bootstrap() -> Iterator[Misbehaving]:
    with misbehaving(zero_shot()) as running:
        yield running


@pytest.fixture
def own() -> Iterator[Misbehaving]:
    """The project's own endpoint: an inference container, for which every picture is a cat."""
    with misbehaving(good) as running:
        yield running


@pytest.fixture
def make(make_hub: MakeHub, own: Misbehaving, bootstrap: Misbehaving) -> MakeHub:
    def make(**given: object) -> Hub:
        usual: dict[str, object] = {
            "endpoint": own.address,
            "bootstrap_endpoint": f"{bootstrap.address}/zero-shot",
            "bootstrap_options": '{"label_map": {"a dog": "dog", "a cat": "cat"}}',
        }
        return make_hub(**{**usual, **given})

    return make


@pytest.fixture
def hub(hub: Hub, studio: StudioApi) -> Hub:
    studio.connect("labelloop-untrained")
    studio.add_tasks(3)
    return hub


@pytest.fixture
def started(make: MakeHub, hub: Hub) -> Hub:
    """A hub of three tasks and no version yet."""
    return make()


def announce(hub: Hub, version: str = "v1") -> None:
    pointer = ChampionPointer(hub.store, hub.project(7))
    fence = pointer.take_fence()
    pointer.promote(version, fence)
    pointer.announce(version, fence)
    hub.state(hub.project(7)).announce(version)


def predict(hub: Hub, studio: StudioApi, context: object = None) -> list[Prediction]:
    return predict_tasks(hub, 7, interface(hub, CONFIG), list(studio.tasks.values()), context)


def told(found: list[Prediction]) -> list[tuple[str, str]]:
    """Give version and label of each prediction."""
    return [
        (item["model_version"], item["result"][0]["value"]["choices"][0]) if isinstance(item, dict) else ("", "")
        for item in found
    ]


def test_it_predicts_until_a_version_is_announced(studio: StudioApi, started: Hub, own: Misbehaving) -> None:
    project = started.project(7)
    name = announced_version(started, project)
    assert name.endswith("/zero-shot"), "what it is called before it has answered"

    assert told(predict(started, studio)) == [("zs", "dog")] * 3
    assert announced_version(started, project) == "zs"
    assert not own.requests

    announce(started)
    assert announced_version(started, project) == "v1"
    assert told(predict(started, studio)) == [("v1", "cat")] * 3


def test_its_version_is_its_own_word_else_the_given_one(
    studio: StudioApi, make: MakeHub, hub: Hub, bootstrap: Misbehaving
) -> None:
    bootstrap.replies = [zero_shot("")]
    given = make(bootstrap_options='{"version": "clip-1", "label_map": {"a dog": "dog"}}')
    assert announced_version(given, given.project(7)) == "clip-1"
    assert told(predict(given, studio)) == [("clip-1", "dog")] * 3

    bootstrap.replies = [zero_shot()]
    assert told(predict(make(bootstrap_options=given.settings.bootstrap_options), studio)) == [("zs", "dog")] * 3


def test_new_tasks_are_pre_annotated_and_ordered_by_it(
    studio: StudioApi, started: Hub, own: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hub in of_this_process(started, monkeypatch):
        project = hub.project(7)
        sweep_project(hub, project)
        assert jobs.prelabel(str(project)) == "3 tasks pre-annotated with zs, 0 left out"
        assert [studio.versions_of(task) for task in studio.tasks] == [["zs"]] * 3
        assert studio.backends[0]["title"] == "zs"
        assert jobs.prelabel(str(project)) == "0 tasks pre-annotated with zs, 0 left out"

        announce(hub)
        assert jobs.prelabel(str(project)) == "3 tasks pre-annotated with v1, 0 left out"
    assert {request.headers["x-labelloop-version"] for request in own.requests} == {"v1"}


def test_the_command_pre_annotates_what_is_there(
    studio: StudioApi, started: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in of_this_process(started, monkeypatch):
        ran = CliRunner().invoke(main, ["predict", "--project", "7"])
        assert "3 tasks pre-annotated with zs, 0 left out" in ran.output
    assert [studio.versions_of(task) for task in studio.tasks] == [["zs"]] * 3
    assert studio.backends[0]["title"] == "zs"


def test_an_endpoint_that_versions_are_brought_to_has_one_as_well(
    studio: StudioApi, make: MakeHub, hub: Hub, own: Misbehaving
) -> None:
    brought = make(endpoint=f"{own.address}/predict", deployer="command:./deploy.sh")
    assert told(predict(brought, studio)) == [("zs", "dog")] * 3
    assert not own.requests
    announce(brought)
    assert told(predict(brought, studio)) == [("zs", "dog")] * 3, "announced elsewhere, and not brought there yet"
    seen = serving(brought, brought.project(7), "v1").deployment
    note_deployment(brought, brought.project(7), seen, replace(seen, version="v1", brought=("v1",)))
    own.replies = [DOWN]
    assert told(predict(brought, studio)) == [("zs", "dog")] * 3
    assert own.requests
    assert announced_version(brought, brought.project(7)) == "v1"


def test_the_version_survives_redis_and_costs_one_round_trip(studio: StudioApi, started: Hub, make: MakeHub) -> None:
    project = started.project(7)
    sweep_project(started, project)
    predict(started, studio)
    started.redis.flushall()
    assert announced_version(started, project) == "zs"

    gone = make(store=started.settings.store_address, redis_url="redis://127.0.0.1:1")
    assert announced_version(gone, gone.project(7)) == "zs"

    announced_version(started, project)
    before = _commands(started)
    announced_version(started, project)
    assert _commands(started) - before == 3 + 1, "what is read together, and the INFO that counts"


def _commands(hub: Hub) -> int:
    return int(hub.redis.info("stats")["total_commands_processed"])


@pytest.mark.parametrize("reply", [DOWN, answer({"predictions": []})])
def test_it_answers_where_the_own_endpoint_is_down_under_its_own_version(
    studio: StudioApi, make: MakeHub, hub: Hub, own: Misbehaving, bootstrap: Misbehaving, reply: Reply
) -> None:
    fallen = make()
    announce(fallen)
    own.replies = [reply]
    assert told(predict(fallen, studio)) == [("zs", "dog")] * 3
    assert announced_version(fallen, fallen.project(7)) == "v1", "/setup stays with the announced version"
    asked = len(bootstrap.requests)
    assert told(predict(fallen, studio)) == [("zs", "dog")] * 3
    assert len(bootstrap.requests) == asked, "it was kept under its own version"

    own.replies = [good]
    assert told(predict(fallen, studio)) == [("v1", "cat")] * 3, "and nothing of it under ours"


def test_it_answers_while_the_breaker_of_the_own_endpoint_is_open(
    studio: StudioApi, make: MakeHub, hub: Hub, own: Misbehaving
) -> None:
    fallen = make(cache_seconds=0.0)
    announce(fallen)
    own.replies = [DOWN]
    for _ in range(7):
        assert told(predict(fallen, studio)) == [("zs", "dog")] * 3
    assert len(own.requests) == 5, "then the breaker is open, and nobody waits for it"


def test_it_answers_for_all_of_the_label_config_a_version_for_what_it_has_learned(
    studio: StudioApi, make: MakeHub, hub: Hub, own: Misbehaving, bootstrap: Misbehaving
) -> None:
    boxes = '<RectangleLabels name="box" toName="image"><Label value="dog"/></RectangleLabels></View>'
    config, one = CONFIG.replace("</View>", boxes), list(studio.tasks.values())[:1]
    region = {"label": "a dog", "score": 0.75, "box": [0.1, 0.2, 0.3, 0.4]}
    bootstrap.replies = [answer({"predictions": [{"regions": [region], "model_version": "zs"}]})]
    finds = make()

    def types() -> list[str]:
        (found,) = predict_tasks(finds, 7, interface(finds, config), one)
        assert isinstance(found, dict)
        return [result["type"] for result in found["result"]]

    assert types() == ["rectanglelabels"]
    announce(finds)
    assert types() == ["choices"]
    finds = make()
    own.replies = [DOWN]
    assert types() == ["rectanglelabels"]


def test_a_call_that_fails_among_others_is_answered_by_it_in_its_place(
    studio: StudioApi, started: Hub, own: Misbehaving
) -> None:
    studio.add_tasks(17)
    announce(started)
    own.replies = [good, DOWN]
    found = told(predict(started, studio))
    assert len(found) == 20
    assert sorted(set(found[:16])) != sorted(set(found[16:])), "sixteen go in one call, four in another"
    assert {one for part in (found[:16], found[16:]) for one in set(part)} == {("v1", "cat"), ("zs", "dog")}


def test_it_answers_within_the_same_deadline_where_the_own_endpoint_hangs(
    studio: StudioApi, make: MakeHub, hub: Hub, own: Misbehaving
) -> None:
    fallen = make(endpoint_timeout=0.3, predict_deadline=20.0)
    announce(fallen)
    own.replies = [stall]
    assert told(predict(fallen, studio)) == [("zs", "dog")] * 3
    assert predict(make(predict_deadline=-1.0), studio) == [[]] * 3


def test_what_the_own_endpoint_fails_for_alone_is_not_asked_again(
    studio: StudioApi, started: Hub, own: Misbehaving, bootstrap: Misbehaving
) -> None:
    announce(started)
    own.replies = [answer({"predictions": [{"error": "no picture"}] * 3})]
    assert predict(started, studio) == [[]] * 3
    assert not bootstrap.requests


def test_where_both_are_down_there_are_empty_items(
    studio: StudioApi, started: Hub, own: Misbehaving, bootstrap: Misbehaving
) -> None:
    announce(started)
    own.replies = bootstrap.replies = [DOWN]
    assert predict(started, studio) == [[]] * 3
    assert own.requests
    assert bootstrap.requests


def test_bulk_waits_for_the_own_endpoint(studio: StudioApi, make: MakeHub, hub: Hub, own: Misbehaving) -> None:
    fallen = make(retry_seconds=0.0)
    announce(fallen)
    own.replies = [DOWN]
    with pytest.raises(EndpointError):
        prelabel(fallen, fallen.project(7), None, lambda *_: None)
    assert studio.predictions == []


def test_a_project_may_name_its_own_or_none(studio: StudioApi, make: MakeHub, hub: Hub, bootstrap: Misbehaving) -> None:
    secret = '{"headers": {"Authorization": "Bearer s3cret"}, "label_map": {"a dog": "dog"}}'
    chosen = make(bootstrap_options=secret, allowed_endpoints=(f"{bootstrap.address}/team/*",))
    project = chosen.project(7)
    predict(chosen, studio)
    assert {request.headers.get("authorization") for request in bootstrap.requests} == {"Bearer s3cret"}

    bootstrap.requests.clear()
    said: Json = {"endpoint": f"{bootstrap.address}/team/a", "version": "theirs", "label_map": {"a dog": "cat"}}
    hear(chosen, project, {"bootstrap": said})
    share_extra_params(chosen, project)
    assert announced_version(chosen, project) == "theirs"
    assert told(predict(chosen, studio)) == [("zs", "cat")] * 3
    assert {request.line for request in bootstrap.requests} == {"POST /team/a HTTP/1.1"}
    assert not any("authorization" in request.headers for request in bootstrap.requests)

    hear(chosen, project, {"bootstrap": False})
    share_extra_params(chosen, project)
    assert announced_version(chosen, project) == NO_VERSION
    assert predict(chosen, studio) == [[]] * 3


def test_an_address_that_is_not_allowed_or_cannot_be_is_refused(make_hub: MakeHub) -> None:
    hub = make_hub(allowed_endpoints=("gopher://*",))
    with pytest.raises(OptionsError, match="LABELLOOP_ALLOWED_ENDPOINTS"):
        open_for(hub, {"bootstrap": "http://127.0.0.1:1/x"})
    with pytest.raises(OptionsError, match="LABELLOOP_BOOTSTRAP_ENDPOINT: the address is of no known kind"):
        open_for(hub, {"bootstrap": "gopher://x"})
    with pytest.raises(SettingsError, match="LABELLOOP_BOOTSTRAP_ENDPOINT: expected"):
        refuse_impossible(make_hub(bootstrap_endpoint="http://[h"))


def test_a_container_or_a_fake_is_asked_for_a_model_of_its_own(
    studio: StudioApi, make: MakeHub, hub: Hub, bootstrap: Misbehaving
) -> None:
    bootstrap.replies = [good]
    pinned = make(bootstrap_endpoint=bootstrap.address, bootstrap_options="")
    assert told(predict(pinned, studio)) == [("v1", "cat")] * 3
    assert not any("x-labelloop-version" in request.headers for request in bootstrap.requests)
    fake = make(bootstrap_endpoint="fake://?classes=cat,dog&version=zs-fake", bootstrap_options="")
    assert {version for version, _ in told(predict(fake, studio))} == {"zs-fake"}


def test_an_endpoint_that_stands_alone_needs_none_and_it_is_said(
    studio: StudioApi,
    make: MakeHub,
    hub: Hub,
    own: Misbehaving,
    bootstrap: Misbehaving,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = make(endpoint=f"{own.address}/predict", **NO_TORCH)
    own.replies = [DOWN]
    assert predict(alone, studio) == [[]] * 3
    assert not bootstrap.requests
    finding = next(one for one in diagnose(alone, None) if one.name == "bootstrap endpoint")
    assert finding.ok
    assert "has a model of its own" in finding.detail
    assert finding.remedy
    assert project_status(alone, alone.project(7)).bootstrap is None
    for _ in of_this_process(alone, monkeypatch):
        ran = CliRunner().invoke(main, ["connect", "--project", "7", "--url", "http://labelloop.internal:9090"])
        assert "A bootstrap endpoint is named, and it is not needed" in ran.output


def test_options_without_an_endpoint_are_doubtful() -> None:
    assert "LABELLOOP_BOOTSTRAP_OPTIONS" in " ".join(clashes(Settings(bootstrap_options='{"batch": 2}')))


def test_status_and_doctor_say_who_predicts_now(
    studio: StudioApi, make: MakeHub, hub: Hub, bootstrap: Misbehaving
) -> None:
    stands = make(**NO_TORCH)
    project = stands.project(7)
    predict(stands, studio)
    name = f"127.0.0.1:{bootstrap.port}/zero-shot"
    lines = standing(project_status(stands, project))
    assert lines[1] == f"  bootstrap endpoint {name} predicts until a version is announced, as zs"
    found = {one.name: one for one in diagnose(stands, 7)}
    assert "before a project's first version" in found["bootstrap endpoint"].detail
    assert found["project's bootstrap endpoint"].detail == f"{name}; it predicts until a version is announced"
    assert found["labels"].ok

    announce(stands)
    assert standing(project_status(stands, project))[1].endswith("predicts where the project's own is down")
    bootstrap.replies = [answer({}, 401)]
    found = {one.name: one for one in diagnose(stands, 7)}
    assert not found["bootstrap endpoint"].ok
    assert found["project's bootstrap endpoint"].detail.endswith("where the one that serves v1 is down")
