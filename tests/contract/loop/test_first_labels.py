"""Before the first version: by which order the loop has Label Studio serve tasks, and what becomes of it afterwards."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelloop.data.labeling import Counters
from labelloop.data.listing import Record
from labelloop.errors import StudioError
from labelloop.kinds.base import find
from labelloop.loop import first_labels, jobs
from labelloop.loop.hub import Hub
from labelloop.loop.metering import look_for_agreement
from labelloop.loop.moments import forget
from labelloop.loop.order import arms, control_tasks, is_held_out, read_order, without_version
from labelloop.loop.predict import predict_tasks
from labelloop.loop.project_labels import cached_pictures, labeling_of
from labelloop.loop.project_registry import remember_project
from labelloop.loop.serving import announced_version
from labelloop.loop.standing import standing
from labelloop.loop.status import FirstLabels, project_status
from labelloop.loop.sweep import sweep_project
from labelloop.models.champion import ChampionPointer
from labelloop.run.fetch import noted
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect
from labelloop.studio.diagnosis import check_title
from labelloop.types import FIRST_LABELS, IMAGES, NO_VERSION, ProjectKey
from support.deployed import running_place
from support.label_configs import interface
from support.studio_api import CONFIG, StudioApi
from support.web import client_of

from .conftest import MakeHub, of_this_process
from .test_consider import scheduled

pytestmark = pytest.mark.train

ADDRESS = "http://10.0.0.9:9090"

QUICK: dict[str, object] = {"backbone": "test_resnet", "image_size": 32, "first_labels": True}

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


@pytest.fixture
def hub(make_hub: MakeHub, kept_networks: None, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of jobs in this process, with a project that is connected."""
    made = make_hub(**QUICK, recipes=("head",))
    studio.connect(NO_VERSION, url=ADDRESS)
    remember_project(made, made.project(7), ADDRESS)
    yield from of_this_process(made, monkeypatch)


@pytest.fixture
def project(hub: Hub) -> ProjectKey:
    return hub.project(7)


def add(studio: StudioApi, *colours: str) -> None:
    for number, colour in enumerate(colours, len(studio.tasks) + 1):
        noise = np.random.default_rng(number).normal(0, 8, (16, 16, 3))
        buffer = io.BytesIO()
        Image.fromarray(np.clip(COLOURS[colour] + noise, 0, 255).astype(np.uint8)).save(buffer, "PNG")
        studio.pictures[f"/data/upload/7/{number}.png"] = buffer.getvalue()
        studio.add_tasks(1)


def held_out(studio: StudioApi, task: int) -> bool:
    return is_held_out(hashlib.sha256(studio.pictures[f"/data/upload/7/{task}.png"]).hexdigest())


def served(studio: StudioApi) -> list[int]:
    """The tasks that Label Studio serves by the project's version, in order; the others come after these."""
    found = {one["task"]: one["score"] for one in studio.predictions if one["model_version"] == studio.model_version}
    return sorted(found, key=lambda task: found[task])


def scores(studio: StudioApi) -> dict[int, float]:
    return {one["task"]: one["score"] for one in studio.predictions if one["model_version"] == FIRST_LABELS}


def asked_alone(hub: Hub, studio: StudioApi, task: int, context: object = None) -> object:
    return predict_tasks(hub, 7, interface(hub, CONFIG), [studio.tasks[task]], context)[0]


def test_typical_and_different_tasks_come_first_and_held_out_ones_at_random(
    hub: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    colours = ["red"] * 40 + ["green"] * 8 + ["blue"] * 8
    add(studio, *colours)
    studio.pictures["/data/upload/7/3.png"] = b"no picture"
    studio.pictures["/data/upload/7/5.png"] = studio.pictures["/data/upload/7/4.png"]

    assert jobs.prelabel(str(project)) == "there is no version yet; 54 tasks are ordered without"

    assert (studio.model_version, studio.backends[0]["title"]) == (FIRST_LABELS, FIRST_LABELS)
    assert announced_version(hub, project) == FIRST_LABELS
    addresses = ["/data/upload/7/1.png", "/data/upload/7/3.png"]
    known = hashlib.sha256(studio.pictures[addresses[0]]).hexdigest()
    assert hub.task_contents(project).find([(1, addresses[0]), (3, addresses[1])]) == [known, ""]
    assert [cached_pictures(hub).find(project, noted(one)) for one in addresses] == [known, None]
    assert all(one["result"] == [] for one in studio.predictions)
    order = served(studio)
    assert len(order) == 54
    assert 3 not in order
    assert len({4, 5} & set(order)) == 1, "they are one picture"
    train = [colours[task - 1] for task in order if not held_out(studio, task)]
    assert set(train[:3]) == set(COLOURS)
    places = [at / len(order) for at, task in enumerate(order) if held_out(studio, task)]
    assert len(places) > 5
    assert 0.25 < np.mean(places) < 0.75
    assert min(scores(studio).values()) < 0.05
    assert max(scores(studio).values()) > 0.95


def test_one_that_is_asked_for_alone_gets_the_same_and_never_a_pre_annotation(
    hub: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    add(studio, *["red"] * 6, *["blue"] * 6)
    assert asked_alone(hub, studio, 1) == []
    jobs.prelabel(str(project))
    add(studio, "green")
    hub.redis.flushall()
    for task, score in scores(studio).items():
        assert asked_alone(hub, studio, task) == {"result": [], "score": score, "model_version": FIRST_LABELS}
    assert asked_alone(hub, studio, 13) == [], "it has no place yet"
    client = client_of(hub)
    assert client.post("/setup", json={"project": "7"}).json == {"model_version": FIRST_LABELS}
    body = {"project": "7", "label_config": CONFIG, "tasks": [studio.tasks[2], studio.tasks[13]]}
    given = client.post("/predict", json=body).json
    assert given == {"results": [without_version(scores(studio)[2]), []]}
    assert asked_alone(hub, studio, 1, {"result": []}) == [], "who draws waits for an answer"


def test_what_was_there_before_is_ordered_when_somebody_sweeps(
    hub: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    add(studio, *["red"] * 5)
    sweep_project(hub, project)
    hub.state(project).note("unpredicted", "")
    forget(hub.redis, project)
    sweep_project(hub, project)
    assert scheduled(hub) == []
    sweep_project(hub, project, scan_now=True)
    assert scheduled(hub) == ["prelabel"]


def test_what_comes_later_comes_in_between_and_nothing_is_placed_anew(
    hub: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    add(studio, *["red"] * 12)
    jobs.prelabel(str(project))
    before = scores(studio)
    add(studio, *["red"] * 10, *["green"] * 10)
    green = next(task for task in range(23, 33) if not held_out(studio, task))
    studio.annotate(green, "dog")

    assert jobs.prelabel(str(project)).endswith("19 tasks are ordered without")
    after = scores(studio)
    assert {task: after[task] for task in before} == before
    assert len(studio.predictions) == 31
    assert green not in after
    later = [task for task in served(studio) if task > 12 and not held_out(studio, task)]
    assert later[0] < 23, "a red one: what is like the labeled one comes late"
    assert any(after[task] < max(before.values()) for task in range(13, 33) if task in after)
    assert jobs.prelabel(str(project)) == "there is no version yet"


def test_of_many_tasks_some_are_compared_and_more_when_those_are_labeled(
    hub: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_labels, "SAMPLE", 20)
    compared: list[int] = []
    features = type(find(IMAGES)).features

    def counted(self: Any, items: Any, *rest: Any) -> Any:
        compared.append(len(items))
        return features(self, items, *rest)

    monkeypatch.setattr(type(find(IMAGES)), "features", counted)
    add(studio, *["red"] * 50)
    sweep_project(hub, project)
    jobs.prelabel(str(project))
    assert (len(scores(studio)), compared) == (20, [1, 20])
    assert project_status(hub, project).first_labels == FirstLabels(20, 50)
    told = "  the first labels are ordered: typical and different tasks first; 20 of 50 compared"
    assert told in standing(project_status(hub, project))

    for task in served(studio)[:2]:
        studio.annotate(task, "cat")
    jobs.prelabel(str(project))
    assert len(scores(studio)) == 20, "two are not worth it"
    for task in served(studio)[2:6]:
        studio.annotate(task, "dog")
    jobs.prelabel(str(project))
    assert len(scores(studio)) == 26
    assert compared[-1] == 12, "with the six that are labeled"


def test_what_is_cut_off_gets_the_places_that_were_noted(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, *["red"] * 15)

    def killed() -> None:
        raise StudioError("the worker is killed here")

    def refused(method: str, path: str, *rest: Any) -> tuple[int, object]:
        return (403, {}) if method == "POST" else StudioApi.answer(studio, method, path, *rest)

    studio.answer = refused  # type: ignore[method-assign, assignment]
    with pytest.raises(StudioError):
        jobs.prelabel(str(project))
    assert hub.state(project).notes()["unpredicted"]
    del studio.answer
    assert studio.predictions == []
    order = read_order(hub.store, project, FIRST_LABELS)
    assert order is not None

    hub.redis.flushall()
    remember_project(hub, project, ADDRESS)
    jobs.prelabel(str(project))
    assert {str(task): score for task, score in scores(studio).items()} == order.scores
    assert "unpredicted" not in hub.state(project).notes()

    studio.predictions = studio.predictions[3:]
    jobs.prelabel(str(project))
    assert {str(task): score for task, score in scores(studio).items()} == order.scores, "somebody deleted some"


def test_a_title_that_was_left_behind_is_mended_by_the_sweep(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, *["red"] * 8)
    jobs.prelabel(str(project))
    studio.model_version = studio.backends[0]["title"] = NO_VERSION
    sweep_project(hub, project)
    assert (studio.model_version, studio.backends[0]["title"]) == (FIRST_LABELS, FIRST_LABELS)


def test_the_first_version_takes_over_and_nothing_comes_back(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, *["red"] * 10)
    jobs.prelabel(str(project))
    pointer = ChampionPointer(hub.store, project)
    pointer.promote("v1", pointer.take_fence())
    assert jobs.prelabel(str(project)) == "there is no version yet", "it is about to be announced"
    assert announced_version(hub, project) == FIRST_LABELS
    assert jobs.deploy(str(project), None) == "v1 is announced"

    assert (studio.model_version, studio.backends[0]["title"]) == ("v1", "v1")
    assert announced_version(hub, project) == "v1"
    assert all(studio.versions_of(task) == [FIRST_LABELS, "v1"] for task in studio.tasks)
    assert asked_alone(hub, studio, 1)["result"]  # type: ignore[index]
    assert project_status(hub, project).first_labels is None
    add(studio, "blue")
    assert jobs.prelabel(str(project)) == "1 tasks pre-annotated with v1, 0 left out"
    hub.redis.flushall()
    assert announced_version(hub, project) == "v1"


def test_they_are_no_version_that_anybody_agrees_with(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, *["red"] * 10)
    jobs.prelabel(str(project))
    tasks = list(studio.tasks)
    assert arms(hub.store, project, tasks) == {}, "no version has chosen any"
    known = control_tasks(hub.store, project)
    assert all(known(task) for task in scores(studio))

    by = {one["task"]: number for number, one in enumerate(studio.predictions, 1)}
    for task in tasks:
        given = [one | {"id": by[task]} for one in studio.predictions if one["task"] == task]
        studio.tasks[task]["predictions"] = given
        studio.annotate(task, "cat", parent_prediction=by[task], lead_time=3.0)
    look_for_agreement(hub, project, Counters(10, 10, 10, 0))
    assert hub.state(project).agreement.read() is None
    pointer = ChampionPointer(hub.store, project)
    fence = pointer.take_fence()
    pointer.promote("v1", fence)
    pointer.announce("v1", fence)
    hub.state(project).announce("v1")
    look_for_agreement(hub, project, Counters(10, 10, 10, 0))
    agreed = hub.state(project).agreement.read()
    assert agreed is None or not (agreed.begun or agreed.control or agreed.shown)


def test_what_is_made_in_bulk_of_them_is_not_the_truth(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    """As "Create Annotations From Predictions" makes it: it says nothing, and nobody took any time for it."""
    studio.config = CONFIG.replace('toName="image"', 'toName="image" choice="multiple"')
    add(studio, *["red"] * 10)
    jobs.prelabel(str(project))
    in_bulk, by_hand, *_ = scores(studio)
    empty: dict[str, Any] = {"result": [], "parent_prediction": 1}
    studio.annotate(in_bulk, "cat", **empty)
    studio.annotate(by_hand, "cat", **empty, lead_time=4.0)
    labeling = labeling_of(hub, project)
    found = {one.task: one for one in labeling.records(find(labeling.kind).truth)}
    assert isinstance(found[by_hand], Record)
    assert not isinstance(found[in_bulk], Record)


def test_where_it_is_switched_off_tasks_come_at_random_again(
    hub: Hub, project: ProjectKey, studio: StudioApi, make_hub: MakeHub
) -> None:
    add(studio, *["red"] * 6)
    jobs.prelabel(str(project))
    off = make_hub(**{**QUICK, "first_labels": False})
    off.redis.flushall()
    remember_project(off, project, ADDRESS)
    assert announced_version(off, project) == NO_VERSION
    assert asked_alone(off, studio, 1) == []
    sweep_project(off, project)
    assert (studio.model_version, studio.backends[0]["title"]) == (NO_VERSION, NO_VERSION)
    assert project_status(off, project).first_labels is None


def test_where_the_first_version_makes_its_endpoint_tasks_are_ordered_until_somebody_else_has_made_one(
    hub: Hub,
    project: ProjectKey,
    studio: StudioApi,
    make_hub: MakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(studio, *["red"] * 6)
    with running_place(tmp_path / "its place") as place:
        made = make_hub(**QUICK, endpoint=place.endpoint, deployer=place.deployer)
        for _ in of_this_process(made, monkeypatch):
            (place.folder / "absent").touch()
            assert jobs.prelabel(str(project)) == "there is no version yet; 6 tasks are ordered without"
            assert announced_version(hub, project) == studio.model_version == FIRST_LABELS
            assert asked_alone(made, studio, 1) == without_version(scores(studio)[1])
            assert place.asked == 0

            (place.folder / "absent").unlink()
            assert "6 tasks pre-annotated" in jobs.prelabel(str(project))
            assert announced_version(made, project) == studio.model_version != FIRST_LABELS
            assert all(map(control_tasks(hub.store, project), scores(studio))), "they were shown empty all the same"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"first_labels": False}, id="switched off"),
        pytest.param({"bootstrap_endpoint": "fake://?classes=cat,dog&version=zs"}, id="something predicts"),
    ],
)
def test_elsewhere_nothing_happens_and_nothing_is_said(
    given: dict[str, object],
    hub: Hub,
    project: ProjectKey,
    studio: StudioApi,
    make_hub: MakeHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(studio, *["red"] * 6)
    for _ in of_this_process(make_hub(**{**QUICK, **given}), monkeypatch):
        jobs.prelabel(str(project))
        assert read_order(hub.store, project, FIRST_LABELS) is None
        assert scores(studio) == {}
        assert studio.model_version != FIRST_LABELS
        assert set(hub.state(project).notes()) <= {"missing"}


def test_a_project_that_is_not_connected_is_left_alone(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, *["red"] * 6)
    studio.backends.clear()
    assert jobs.prelabel(str(project)) == "there is no version yet"
    assert scores(studio) == {}


def test_connect_and_doctor_know_the_name(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, *["red"] * 6)
    jobs.prelabel(str(project))
    studio.model_version = studio.backends[0]["title"] = NO_VERSION
    client = Studio(studio.url, "legacy")
    told = connect(client, 7, ADDRESS, Settings(), announced_version(hub, project))
    assert "ML backend 1 titled first-labels (was labelloop-untrained)." in told
    (own,) = client.ml_backends(7)
    assert check_title(own, announced_version(hub, project), client.project(7)).ok
    client.close()
