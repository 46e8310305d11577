"""In which order tasks are served, over HTTP: what Label Studio is told of each in bulk, and when it asks for one."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from labelloop.data.labeling import Counters
from labelloop.data.listing import Record
from labelloop.endpoints.fake import FakeEndpoint
from labelloop.errors import StoreAway, StudioError
from labelloop.kinds.base import find
from labelloop.loop import imports, next_tasks
from labelloop.loop.hub import Hub
from labelloop.loop.metering import look_for_agreement
from labelloop.loop.order import Order, order_score, read_order
from labelloop.loop.predict import predict_tasks
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.project_labels import labeling_of
from labelloop.models.champion import ChampionPointer
from labelloop.models.store import Store, Versioned
from labelloop.types import Json, LeftOut, side
from support.label_configs import interface
from support.misbehaving import answer, misbehaving
from support.studio_api import CONFIG, StudioApi

from .conftest import MakeHub

CLICK = {
    "result": [{"type": "keypointlabels", "value": {"x": 1, "y": 2, "width": 1, "keypointlabels": ["cat"]}}],
}


def run(hub: Hub, version: str | None = "v1") -> Prelabeled:
    return prelabel(hub, hub.project(7), version, lambda *_: None)


def single(hub: Hub, studio: StudioApi, task: int, version: str = "v1", context: object = None) -> Json:
    (found,) = predict_tasks(hub, 7, interface(hub, CONFIG), [studio.tasks[task]], context, version=version)
    assert isinstance(found, dict)
    return found


def order_of(hub: Hub, version: str = "v1") -> Order | None:
    return read_order(hub.store, hub.project(7), version)


def content(task: int) -> str:
    return hashlib.sha256(f"picture {task}".encode()).hexdigest()


def held_out(task: int) -> bool:
    return side(content(task)) != "train"


def scores(studio: StudioApi, version: str = "v1") -> dict[int, float]:
    return {one["task"]: one["score"] for one in studio.predictions if one["model_version"] == version}


def test_held_out_tasks_come_at_random_and_the_others_by_their_true_scores(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(150)
    assert run(studio_hub) == Prelabeled(150, 0)
    order = order_of(studio_hub)
    assert order is not None
    true = [score for task, score in scores(studio).items() if not held_out(task)]
    assert [score for _, score in order.table] == sorted(true)
    for one in studio.predictions:
        task, result = one["task"], one["result"][0]
        drawn = order_score(content(task), "v1", order.table)
        assert one["score"] == pytest.approx(drawn if held_out(task) else result["score"])
        assert order.arm(task) == ("random" if held_out(task) else "ordered")
    changed = [one for one in studio.predictions if one["score"] != pytest.approx(one["result"][0]["score"])]
    assert len(changed) > 20, "what their regions say stays true"


def test_one_that_is_asked_for_alone_has_the_same_score_in_every_process(
    studio: StudioApi, studio_hub: Hub, make_hub: MakeHub
) -> None:
    studio.add_tasks(30)
    before = {task: single(studio_hub, studio, task) for task in studio.tasks}
    assert all(one["score"] == pytest.approx(one["result"][0]["score"]) for one in before.values()), "no table yet"
    run(studio_hub)
    served = scores(studio)
    assert {task: single(studio_hub, studio, task)["score"] for task in studio.tasks} == served, "from the cache"
    studio_hub.redis.flushall()
    assert {task: single(make_hub(), studio, task)["score"] for task in studio.tasks} == served

    studio.add_tasks(10)
    alone = {task: single(make_hub(), studio, task)["score"] for task in range(31, 41)}
    assert any(held_out(task) for task in alone)
    kept = order_of(studio_hub)
    studio.tasks = {task: one for task, one in studio.tasks.items() if task <= 30 or held_out(task)}
    run(make_hub())
    again = order_of(studio_hub)
    assert kept is not None
    assert again is not None
    assert again.table == kept.table, "held-out tasks tell nothing"
    assert {task: score for task, score in scores(studio).items() if task > 30} == {
        task: score for task, score in alone.items() if held_out(task)
    }


def test_what_still_waits_is_drawn_anew_for_every_version(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(60)
    run(studio_hub, "v1")
    run(studio_hub, "v2")
    one, other = scores(studio, "v1"), scores(studio, "v2")
    assert all((one[task] != other[task]) == held_out(task) for task in studio.tasks)


def test_what_is_cut_off_goes_on_with_the_same_table(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.add_tasks(130)

    def refused(method: str, *rest: Any) -> tuple[int, object]:
        return (403, {}) if method == "POST" else StudioApi.answer(studio, method, *rest)

    studio.answer = refused  # type: ignore[method-assign, assignment]
    with pytest.raises(StudioError):
        run(make_hub())
    cut = order_of(make_hub())
    assert cut is not None
    assert all(cut.arm(task) for task in studio.tasks), "noted before they are served"
    del studio.answer
    assert studio.predictions == []

    studio.add_tasks(400)
    run(make_hub())
    order = order_of(make_hub())
    assert order is not None
    assert order.table == cut.table
    assert all(
        score == pytest.approx(order_score(content(task), "v1", cut.table))
        for task, score in scores(studio).items()
        if held_out(task)
    )


def test_the_table_is_of_tasks_that_chance_chose_and_each_is_predicted_once(
    studio: StudioApi, studio_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_tasks, "_SIZE", 125)
    studio.add_tasks(600)
    told: list[int] = []
    done = prelabel(studio_hub, studio_hub.project(7), "v1", lambda *step: told.append(step[1]))

    assert done == Prelabeled(600, 0)
    assert told == list(range(601))
    endpoint = studio_hub.endpoint
    assert isinstance(endpoint, FakeEndpoint)
    assert sum(count for _, count in endpoint.asked) == 600
    assert all(studio.versions_of(task) == ["v1"] for task in studio.tasks)
    order = order_of(studio_hub)
    assert order is not None
    assert 80 < len(order.table) <= 125
    table, first = {score for _, score in order.table}, sorted(studio.tasks)[:125]
    assert len(table & {one for task, one in scores(studio).items() if task in first}) < 60, "they may be sorted"


def test_what_does_not_come_of_the_sample_because_memory_is_full_comes_later(
    studio: StudioApi, studio_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_tasks, "MOST_BYTES", 3000)
    studio.add_tasks(80)
    assert run(studio_hub) == Prelabeled(80, 0)
    assert all(studio.versions_of(task) == ["v1"] for task in studio.tasks)
    order = order_of(studio_hub)
    assert order is not None
    assert 0 < len(order.table) < 40, "of those that came first"


def test_large_tasks_are_held_back_as_far_as_memory_goes(
    studio: StudioApi, studio_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_tasks, "MOST_BYTES", 20_000)
    studio.add_tasks(80)
    for task in studio.tasks.values():
        task["data"]["page"] = "x" * 1000
    assert run(studio_hub) == Prelabeled(80, 0)
    assert all(studio.versions_of(task) == ["v1"] for task in studio.tasks)
    order = order_of(studio_hub)
    assert order is not None
    assert 0 < len(order.table) <= 19, "of tasks that have 20 kB together"


def test_control_tasks_are_served_without_their_predictions_under_the_same_version(
    studio: StudioApi, make_hub: MakeHub
) -> None:
    studio.add_tasks(200)
    hub = make_hub(control_share=0.4)
    run(hub)
    order = order_of(hub)
    assert order is not None
    empty = {one["task"] for one in studio.predictions if one["result"] == []}
    random = [task for task in studio.tasks if held_out(task)]
    assert 0.2 < len(empty) / len(random) < 0.6
    assert empty == {task for task in studio.tasks if order.is_control(task)}
    assert all(order.arm(task) == "random" for task in empty)
    for one in studio.predictions:
        alone = single(make_hub(control_share=0.0), studio, one["task"])
        assert (alone["result"] == [], alone["score"]) == (one["result"] == [], one["score"]), "as it was kept"
    asked = single(hub, studio, min(empty), context=CLICK)
    assert asked["result"], "who asks by hand is shown it"


def test_an_endpoint_that_nothing_is_learned_for_is_left_alone(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.add_tasks(40)
    told = {"label": "cat", "score": 0.75, "scores": {"cat": 0.75, "dog": 0.25}, "kind": "single"}
    with misbehaving(answer({"predictions": [told | {"model_version": "m1"}]})) as server:
        hub = make_hub(endpoint=f"{server.address}/predict", control_share=0.5)
        run(hub, None)
        assert set(scores(studio, "m1").values()) == {0.75}
        assert order_of(hub, "m1") is None


def test_a_bootstrap_endpoint_orders_as_well(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.add_tasks(40)
    hub = make_hub(bootstrap_endpoint="fake://?classes=cat,dog&version=zs")
    run(hub, None)
    order = order_of(hub, "zs")
    assert order is not None
    assert {task for task in studio.tasks if order.arm(task) == "random"} == set(filter(held_out, studio.tasks))


def test_a_version_that_was_announced_without_a_table_is_left_as_it_is(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(40)
    pointer = ChampionPointer(studio_hub.store, studio_hub.project(7))
    fence = pointer.take_fence()
    pointer.promote("v1", fence)
    pointer.announce("v1", fence)
    run(studio_hub)
    assert order_of(studio_hub) is None
    assert all(one["score"] == pytest.approx(one["result"][0]["score"]) for one in studio.predictions)
    run(studio_hub, "v2")
    assert order_of(studio_hub, "v2") is not None


def test_a_damaged_order_leaves_the_true_scores(
    studio: StudioApi, studio_hub: Hub, make_hub: MakeHub, tmp_path: Path
) -> None:
    studio.add_tasks(30)
    run(studio_hub)
    (record,) = tmp_path.glob("store/*/7/order/v1.json")
    record.write_text("{")
    found = [single(make_hub(), studio, task) for task in studio.tasks]
    assert all(one["score"] == pytest.approx(one["result"][0]["score"]) for one in found)


class _WithoutOrders:
    """A store that cannot be reached where orders lie."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def read(self, path: str) -> Versioned:
        if "/order/" in path:
            raise StoreAway("the store is away")
        return self._store.read(path)


def test_while_the_store_is_away_predictions_go_on_with_their_true_scores(
    studio: StudioApi, studio_hub: Hub, make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    studio.add_tasks(30)
    run(studio_hub)
    hub = make_hub()
    hub.__dict__["_store"] = _WithoutOrders(hub.store)
    found = [single(hub, studio, task) for task in studio.tasks]
    assert all(one["score"] == pytest.approx(one["result"][0]["score"]) for one in found)
    assert [line for line in caplog.messages if "store is away" in line] == [
        f"project {hub.project(7)}: predictions are ordered by their true scores: the store is away"
    ]
    studio.add_tasks(5)
    with pytest.raises(StoreAway):
        run(hub)
    assert not any(studio.versions_of(task) for task in range(31, 36)), "in bulk, that can wait"


class _FailingOnce:
    """A store that cannot be reached once, when it is asked for the order a given time."""

    def __init__(self, store: Store, at: int) -> None:
        self._store, self._left = store, at

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def read(self, path: str) -> Versioned:
        self._left -= "/order/" in path
        if self._left == 0 and "/order/" in path:
            raise StoreAway("the store is away")
        return self._store.read(path)


def test_whenever_the_store_fails_nothing_is_served_that_was_not_noted(
    studio: StudioApi, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_MOST", 20)
    studio.add_tasks(50)
    failed = 0
    for at in range(2, 8):
        studio.predictions.clear()
        hub = make_hub(control_share=0.3)
        version = f"v{at}"
        hub.__dict__["_store"] = _FailingOnce(hub.store, at)
        try:
            run(hub, version)
        except StoreAway:
            failed += 1
        order = order_of(make_hub(), version)
        served = [one["task"] for one in studio.predictions]
        assert not served or (order is not None and all(order.arm(task) for task in served))
    assert failed > 3


def test_what_goes_by_reference_is_drawn_by_its_address(studio: StudioApi, make_hub: MakeHub) -> None:
    for task in range(1, 41):
        studio.tasks[task] = {"id": task, "data": {"image": f"s3://bucket/{task}.png"}, "annotations": []}
    hub = make_hub(request_format="reference", buckets=("s3://bucket",))
    run(hub)
    order = order_of(hub)
    assert order is not None
    by_address = {task: hashlib.sha256(f"s3://bucket/{task}.png".encode()).hexdigest() for task in studio.tasks}
    expected = {task for task, address in by_address.items() if side(address) != "train"}
    assert {task for task in studio.tasks if order.arm(task) == "random"} == expected


EMPTY: dict[str, Any] = {"result": [], "parent_prediction": 1}


def test_what_is_made_in_bulk_of_a_withheld_prediction_is_not_the_truth(studio: StudioApi, make_hub: MakeHub) -> None:
    """As "Create Annotations From Predictions" makes it: it says nothing, and nobody took any time for it."""
    studio.config = CONFIG.replace('toName="image"', 'toName="image" choice="multiple"')
    studio.add_tasks(80)
    hub = make_hub(control_share=0.5)
    run(hub)
    order = order_of(hub)
    assert order is not None
    control = [task for task in studio.tasks if order.is_control(task)]
    ordered = [task for task in studio.tasks if order.arm(task) == "ordered"]
    in_bulk, looked_at, confirmed = control[:3]
    studio.annotate(in_bulk, "", lead_time=None, **EMPTY)
    studio.annotate(looked_at, "", lead_time=3.2, **EMPTY)
    studio.annotate(confirmed, "", lead_time=None, ground_truth=True, **EMPTY)
    studio.annotate(ordered[0], "", lead_time=None, **EMPTY)
    labeling = labeling_of(hub, hub.project(7))
    found = list(labeling.records(find(labeling.kind).truth))
    labeled = {one.task: one.labels for one in found if isinstance(one, Record)}
    assert labeled == dict.fromkeys((looked_at, confirmed, ordered[0]), ()), "none of the labels is true of them"
    assert [one for one in found if isinstance(one, LeftOut)] == [
        LeftOut(in_bulk, "made in bulk of a prediction that was withheld")
    ]


def test_who_was_shown_nothing_has_kept_nothing(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.add_tasks(80)
    hub = make_hub(control_share=0.5)
    project = hub.project(7)
    run(hub)
    pointer = ChampionPointer(hub.store, project)
    fence = pointer.take_fence()
    pointer.promote("v1", fence)
    pointer.announce("v1", fence)
    order = order_of(hub)
    assert order is not None
    look_for_agreement(hub, project, Counters(80, 0, 0, 0))
    for number, prediction in enumerate(studio.predictions):
        prediction["id"] = number
        said = prediction["result"] or [{"value": {"choices": ["cat"]}}]
        studio.annotate(prediction["task"], said[0]["value"]["choices"][0], parent_prediction=number)
    look_for_agreement(hub, project, Counters(80, 80, 80, 0))
    agreed = hub.state(project).agreement.read()
    control = sum(order.is_control(task) for task in studio.tasks)
    assert control > 3
    assert agreed is not None
    assert (agreed.begun, agreed.kept) == (80 - control, 80 - control)
    assert agreed.arms["random"].begun == sum(order.arm(task) == "random" for task in studio.tasks) - control
    assert (agreed.shown, agreed.control) == ((), ()), "nobody took any time"
