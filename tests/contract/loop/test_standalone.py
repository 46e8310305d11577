"""A project whose endpoint has a model of its own: versions follow its answers, and nothing is trained."""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from labelloop.cli.doctor import diagnose
from labelloop.data.site_events import LabelsChanged, TrainingRequested
from labelloop.errors import EndpointError, OptionsError, SettingsError
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.predict import Prediction, predict_tasks
from labelloop.loop.prelabel import prelabel
from labelloop.loop.project_endpoint import extra_params, hear, learn, learn_unknown, share_extra_params
from labelloop.loop.queue import LONG, queue
from labelloop.loop.retrain import retrain
from labelloop.loop.serving import announced_version
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.types import NO_VERSION, Json
from support.label_configs import interface
from support.misbehaving import Exchange, Misbehaving, Reply, answer, misbehaving
from support.studio_api import CONFIG, StudioApi

from .conftest import MakeHub

NO_TORCH = {"weights": "/nowhere/a.safetensors"}
"""With weights that are not there doctor finds training at fault at once, without waiting for torch."""


def model(version: str = "", score: float = 0.75) -> Reply:
    named = {"model_version": version} if version else {}
    scores = {"cat": score, "dog": 1 - score}
    return answer({"predictions": [{"label": "cat", "score": score, "scores": scores, "kind": "single", **named}]})


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving(model("m1")) as running:
        yield running


@pytest.fixture
def alone(make_hub: MakeHub, server: Misbehaving) -> Hub:
    """A hub whose endpoint stands alone."""
    return make_hub(endpoint=f"{server.address}/predict", cache_seconds=0.0)


def predict(hub: Hub, tasks: list[Json], version: str) -> list[Prediction]:
    return predict_tasks(hub, 7, interface(hub, CONFIG), tasks, version=version)


def versions(found: list[Prediction]) -> list[str]:
    return [item["model_version"] for item in found if isinstance(item, dict)]


def test_setup_reports_what_the_endpoint_answered_with_last(studio: StudioApi, alone: Hub, server: Misbehaving) -> None:
    studio.add_tasks(3)
    project, tasks = alone.project(7), list(studio.tasks.values())
    first = announced_version(alone, project)
    assert first == alone.endpoint.name
    assert not server.requests, "/setup may not ask the endpoint"

    assert versions(predict(alone, tasks, first)) == ["m1"] * 3
    assert announced_version(alone, project) == "m1"

    server.replies = [model("m2")]
    assert versions(predict(alone, tasks, "m1")) == ["m2"] * 3
    assert announced_version(alone, project) == "m2"


def test_the_version_survives_redis(studio: StudioApi, alone: Hub, make_hub: MakeHub) -> None:
    studio.connect("v0")
    studio.add_tasks(1)
    sweep_project(alone, alone.project(7))
    predict(alone, list(studio.tasks.values()), "")
    alone.redis.flushall()
    assert announced_version(alone, alone.project(7)) == "m1"

    gone = make_hub(
        endpoint=alone.settings.endpoint, store=alone.settings.store_address, redis_url="redis://127.0.0.1:1"
    )
    assert announced_version(gone, gone.project(7)) == "m1"


def test_a_version_is_stored_once_label_studio_has_the_project(studio: StudioApi, alone: Hub) -> None:
    studio.connect("v0")
    studio.add_tasks(1)
    predict(alone, list(studio.tasks.values()), "")
    assert announced_version(alone, alone.project(7)) == "m1"
    assert list(alone.store.walk("")) == [], "it may be a project that there is not"

    sweep_project(alone, alone.project(7))
    alone.redis.flushall()
    assert announced_version(alone, alone.project(7)) == "m1"


def test_a_version_that_is_given_stands(studio: StudioApi, make_hub: MakeHub, server: Misbehaving) -> None:
    server.replies = [model()]
    studio.add_tasks(1)
    hub = make_hub(endpoint=f"{server.address}/predict", model_version="scenes-3")
    assert announced_version(hub, hub.project(7)) == "scenes-3"
    assert versions(predict(hub, list(studio.tasks.values()), "scenes-3")) == ["scenes-3"]


def test_a_project_may_name_an_endpoint_of_its_own(studio: StudioApi, make_hub: MakeHub, server: Misbehaving) -> None:
    studio.add_tasks(1)
    hub = make_hub(allowed_endpoints=(f"{server.address}/*",))
    project, tasks = hub.project(7), list(studio.tasks.values())
    assert announced_version(hub, project) == NO_VERSION

    hear(hub, project, {"endpoint": f"{server.address}/predict", "label_map": {"cat": "dog"}})
    share_extra_params(hub, project)
    other = make_hub(allowed_endpoints=(f"{server.address}/*",), redis_url=hub.settings.redis_url)
    (found,) = predict(other, tasks, announced_version(other, project))

    assert isinstance(found, dict)
    assert found["result"][0]["value"]["choices"] == ["dog"]
    assert server.requests[0].line == "POST /predict HTTP/1.1"


def test_an_endpoint_that_is_not_allowed_is_not_asked(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving
) -> None:
    studio.add_tasks(1)
    hub = make_hub()
    hear(hub, hub.project(7), {"endpoint": f"{server.address}/predict"})
    with pytest.raises(OptionsError, match="LABELLOOP_ALLOWED_ENDPOINTS"):
        announced_version(hub, hub.project(7))
    assert predict(hub, list(studio.tasks.values()), "v1") == [[]]
    assert not server.requests


def test_a_worker_learns_extra_params_from_label_studio(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.connect("v1", extra_params={"threshold": 0.25})
    hub = make_hub()
    assert extra_params(hub, hub.project(7)) is None

    learn(hub, hub.project(7))
    assert extra_params(hub, hub.project(7)) == {"threshold": 0.25}


def test_extra_params_outlive_a_redis_that_is_gone_in_the_process_that_heard_them(make_hub: MakeHub) -> None:
    hub = make_hub(redis_url="redis://127.0.0.1:1")
    hear(hub, hub.project(7), '{"threshold": 0.25}')
    share_extra_params(hub, hub.project(7))
    assert extra_params(hub, hub.project(7)) == '{"threshold": 0.25}'


def test_bulk_predicts_and_nothing_is_trained(studio: StudioApi, alone: Hub, server: Misbehaving) -> None:
    studio.add_tasks(30)
    project = alone.project(7)
    version = announced_version(alone, project)

    done = prelabel(alone, project, version, lambda *_: None)
    again = prelabel(alone, project, announced_version(alone, project), lambda *_: None)

    assert (done.predicted, again.predicted) == (30, 0)
    assert all(studio.versions_of(task) == ["m1"] for task in studio.tasks)
    assert consider(alone, project) == "its endpoint has a model of its own: nothing is trained"
    with Lease(alone, project) as lease, pytest.raises(SettingsError, match="inference container"):
        retrain(alone, project, "a test", ProgressReporter(alone, project, lease))


def test_bulk_that_gave_up_early_goes_on_where_it_stopped(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving
) -> None:
    studio.add_tasks(30)
    server.replies = [*([model("m1")] * 7), answer({}, 500)]
    for failing in (True, False):
        # Each start of the command is a hub of its own.
        hub = make_hub(endpoint=f"{server.address}/predict", endpoint_concurrency=1, retry_seconds=0.0)
        project = hub.project(7)
        with pytest.raises(EndpointError) if failing else nullcontext():
            prelabel(hub, project, announced_version(hub, project), lambda *_: None)
        server.replies = [model("m1")]
    assert all(studio.versions_of(task) == ["m1"] for task in studio.tasks)


LOGIN, TRUNCATED = b"<!DOCTYPE html><title>Log in</title>", b"\xff\xd8\xff\xe0\0\x10JFIF"


@pytest.mark.parametrize(("bad", "asked"), [(LOGIN, 0), (b"", 0), (b"\0" * 100, 0), (TRUNCATED, 6)])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("batch", [1, 9])
def test_pictures_that_are_none_cost_no_other_its_prediction(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving, bad: bytes, asked: int, first: bool, batch: int
) -> None:
    studio.add_tasks(9)
    broken = range(1, 7) if first else range(4, 10)
    for number in broken:
        studio.pictures[f"/data/upload/7/{number}.png"] = bad + (b"%d" % number if bad == TRUNCATED else b"")

    def decoding(exchange: Exchange) -> None:
        sent = exchange.request.body
        if exchange.request.headers["content-type"] != "application/json":
            (model("m1") if sent.startswith(b"picture") else answer({"error": "not decoded"}, 500))(exchange)
            return
        contents = [b64decode(one["b64"]) for one in json.loads(sent)["instances"]]
        well = all(content.startswith(b"picture") for content in contents)
        one = [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]
        (answer({"predictions": [one] * len(contents)}) if well else answer({"error": "not decoded"}, 500))(exchange)

    server.replies = [decoding]
    hub = make_hub(endpoint=f"{server.address}/predict", endpoint_concurrency=1, endpoint_batch=batch)
    found = predict(hub, list(studio.tasks.values()), "")
    if batch > 1 and asked and not first:
        assert found == [[]] * 9, "nothing was answered yet, and the one that was tried is at fault: next time, another"
        found = predict(hub, list(studio.tasks.values()), "")
    assert [number for number, item in enumerate(found, 1) if not item] == list(broken)
    alone = {request.body for request in server.requests if not request.body.startswith(b"{")}
    assert sum(not body.startswith(b"picture") for body in alone) == asked


def test_a_repeated_request_costs_no_call(studio: StudioApi, make_hub: MakeHub, server: Misbehaving) -> None:
    studio.add_tasks(2)
    hub, tasks = make_hub(endpoint=f"{server.address}/predict"), list(studio.tasks.values())
    first = predict(hub, tasks, "m1")
    assert predict(hub, tasks, "m1") == first
    assert len(server.requests) == 2

    predict(hub, tasks, "m2")
    assert len(server.requests) == 4, "another version is another prediction"
    studio.pictures["/data/upload/7/1.png"] = b"another picture"
    predict(hub, tasks, "m1")
    assert len(server.requests) == 5, "another content is another prediction"


def test_a_model_that_is_taken_back_is_not_contradicted_by_older_predictions(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving
) -> None:
    """A kept prediction says nothing of what the endpoint serves now."""
    studio.add_tasks(2)
    hub, (one, two) = make_hub(endpoint=f"{server.address}/predict"), studio.tasks.values()
    project = hub.project(7)
    assert versions(predict(hub, [one], "m1")) == ["m1"]
    server.replies = [model("m2")]
    assert versions(predict(hub, [two], "m1")) == ["m2"]
    assert announced_version(hub, project) == "m2"

    server.replies = [model("m1")]
    assert versions(predict(hub, [one], "m2")) == ["m1"]
    assert announced_version(hub, project) == "m1"
    assert versions(predict(hub, [two], "m1")) == ["m1"], "what was kept of m2 is not given for m1"
    assert announced_version(hub, project) == "m1"


def test_the_first_prediction_of_all_is_kept_too(studio: StudioApi, make_hub: MakeHub, server: Misbehaving) -> None:
    studio.add_tasks(1)
    hub, tasks = make_hub(endpoint=f"{server.address}/predict"), list(studio.tasks.values())
    first = predict(hub, tasks, announced_version(hub, hub.project(7)))
    assert versions(first) == ["m1"]
    assert predict(hub, tasks, announced_version(hub, hub.project(7))) == first
    assert len(server.requests) == 1


def test_a_version_that_the_model_names_goes_before_a_given_one(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving
) -> None:
    """Or ``/setup`` would report one that no prediction ever has, and every visit of a task would add another."""
    studio.add_tasks(1)
    hub = make_hub(endpoint=f"{server.address}/predict", model_version="scenes-3")
    assert announced_version(hub, hub.project(7)) == "scenes-3"
    assert versions(predict(hub, list(studio.tasks.values()), "scenes-3")) == ["m1"]
    assert announced_version(hub, hub.project(7)) == "m1"


def test_after_redis_was_wiped_a_project_is_not_trained_by_mistake(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving
) -> None:
    studio.add_tasks(30)
    for task in range(1, 21):
        studio.annotate(task, "cat" if task % 2 else "dog")
    studio.connect("m1", extra_params={"endpoint": f"{server.address}/predict"})
    hub = make_hub(allowed_endpoints=(f"{server.address}/*",))

    assert (
        sweep_project(hub, hub.project(7), scan_now=True) == "its endpoint has a model of its own: nothing is trained"
    )
    assert hub.state(hub.project(7)).changes.pending().changed == 0


def test_label_studio_is_asked_for_extra_params_once(studio: StudioApi, make_hub: MakeHub) -> None:
    hub = make_hub()
    for _ in range(3):
        learn_unknown(hub, hub.project(7))
    assert studio.count("GET /api/ml") == 1
    assert extra_params(hub, hub.project(7)) is None


def test_changed_labels_do_not_pile_up_and_start_training_starts_nothing(alone: Hub) -> None:
    project = alone.project(7)
    note(alone, LabelsChanged(7, tuple(range(50))))
    consider(alone, project)
    assert alone.state(project).changes.pending().changed == 0

    assert note(alone, TrainingRequested(7)) is None
    assert queue(alone.redis, LONG).count == 0


def test_status_says_what_predicts_and_asks_for_no_labels(studio: StudioApi, alone: Hub) -> None:
    studio.add_tasks(1)
    project = alone.project(7)
    predict(alone, list(studio.tasks.values()), "")
    alone.state(project).note("trouble", "it was down")
    stands = project_status(alone, project)

    assert (stands.announced, stands.missing, stands.endpoint) == ("m1", "", alone.endpoint.name)
    assert standing(stands) == [
        f"project {project}: version m1 of endpoint {alone.endpoint.name}; nothing is trained",
        "  trouble: it was down",
    ]


def test_status_tells_of_impossible_extra_params(make_hub: MakeHub) -> None:
    hub = make_hub()
    hear(hub, hub.project(7), {"treshold": 0.5})
    assert "'treshold'" in project_status(hub, hub.project(7)).trouble


def test_doctor_looks_at_the_projects_own_endpoint_and_all_its_control_tags(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving
) -> None:
    studio.config = (
        '<View><Image name="i" value="$image"/><RectangleLabels name="r" toName="i"><Label value="cat"/>'
        "</RectangleLabels></View>"
    )
    studio.connect("m1", extra_params={"endpoint": f"{server.address}/predict", "response": "boxes"})
    hub = make_hub(allowed_endpoints=(f"{server.address}/*",), **NO_TORCH)
    found = {finding.name: finding for finding in diagnose(hub, 7)}

    assert found["project's endpoint"].ok
    assert server.address in found["project's endpoint"].detail
    assert found["labels"].ok
    assert "<RectangleLabels name='r'> with 1 labels" in found["labels"].detail


def test_doctor_names_what_is_wrong_in_extra_params(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.connect("v1", extra_params={"request": "smoke signals"})
    found = {finding.name: finding for finding in diagnose(make_hub(endpoint="http://127.0.0.1:1", **NO_TORCH), 7)}

    assert not found["project's endpoint"].ok
    assert "smoke signals" in found["project's endpoint"].detail
