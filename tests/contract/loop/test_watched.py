"""What is watched of predictions: without a word to Redis on their way, bounded, and lost without harm."""

import hashlib
import threading
import time

import pytest

from benchmarks.trace import round_trips
from labelloop.loop.hub import Hub
from labelloop.loop.predict import predict_tasks
from labelloop.loop.watched import keep_predicted, keep_watching, watching
from labelloop.models.champion import ChampionPointer
from labelloop.types import ProjectKey
from labelloop.watch.sample import SIZE, Predicted
from support.studio_api import StudioApi

from .conftest import MakeHub


def announce(hub: Hub, project: ProjectKey, version: str = "v1") -> None:
    pointer = ChampionPointer(hub.store, project)
    fence = pointer.take_fence()
    pointer.promote(version, fence)
    pointer.announce(version, fence)
    hub.state(project).announce(version)


def predict(hub: Hub, studio: StudioApi, *tasks: int) -> None:
    project = hub.project(7)
    site = hub.tool.site(7, hub.media, lambda: None)
    asked = [studio.tasks[number] for number in tasks]
    answered = predict_tasks(hub, 7, lambda _, subject: site.interface(subject), asked)
    assert all(answered), project


def predicted(number: int, version: str = "v1", at: float = 1.0) -> Predicted:
    key = hashlib.sha256(str(number).encode()).digest()
    return Predicted(ProjectKey("localhost-8080", 7), version, key, number, {"cat": 0.25, "dog": 0.75}, at)


def test_what_predict_answers_is_watched_with_its_scores(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(3)
    project = studio_hub.project(7)
    announce(studio_hub, project)
    before = time.time()

    predict(studio_hub, studio, 1, 2, 3)
    assert studio_hub.state(project).window.count() == 0
    keep_predicted(studio_hub)

    found = studio_hub.state(project).window.read()
    assert sorted(one.task or 0 for one in found) == [1, 2, 3]
    assert {one.version for one in found} == {"v1"}
    assert all(set(one.scores) == {"cat", "dog"} and sum(one.scores.values()) == pytest.approx(1) for one in found)
    assert all(before - 1 < one.at < time.time() + 1 for one in found)


def test_a_prediction_says_nothing_to_redis_but_what_it_asks(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(2)
    announce(studio_hub, studio_hub.project(7))
    predict(studio_hub, studio, 1)
    sent = round_trips(studio_hub.redis)

    predict(studio_hub, studio, 2)
    assert len(sent) == 1
    keep_predicted(studio_hub)
    assert sent[1:] == [["EVAL"]]


def test_the_same_picture_is_watched_once(studio: StudioApi, make_hub: MakeHub) -> None:
    hub = make_hub(cache_max_bytes=0)
    studio.add_tasks(1)
    announce(hub, hub.project(7))
    for _ in range(3):
        predict(hub, studio, 1)
    keep_predicted(hub)
    assert hub.state(hub.project(7)).window.count() == 1


def test_a_queue_that_nobody_empties_drops_the_oldest(hub: Hub) -> None:
    for number in range(6_000):
        hub.predicted.append(predicted(number))
    assert len(hub.predicted) == 5_000
    assert hub.predicted[0].task == 1_000


def test_of_many_predictions_a_sample_is_kept_and_it_is_the_same_in_any_parts(hub: Hub) -> None:
    all_of_them = [predicted(number) for number in range(1_500)]
    window = hub.state(all_of_them[0].project).window
    for start in range(0, 1_500, 300):
        window.add(all_of_them[start : start + 300])
    lowest = sorted(all_of_them, key=lambda one: one.rank)[:SIZE]
    assert window.count() == SIZE
    assert [one.task for one in window.read()] == [one.task for one in lowest]
    window.clear()
    assert window.read() == []


def test_what_is_off_is_not_watched(studio: StudioApi, make_hub: MakeHub) -> None:
    hub = make_hub(drift="off")
    studio.add_tasks(1)
    announce(hub, hub.project(7))
    with watching(hub):
        predict(hub, studio, 1)
    assert hub.state(hub.project(7)).window.count() == 0


def test_what_a_bootstrap_endpoint_says_is_not_watched(studio: StudioApi, make_hub: MakeHub) -> None:
    hub = make_hub(bootstrap_endpoint="fake://?classes=cat,dog&version=zs")
    studio.add_tasks(1)
    predict(hub, studio, 1)
    assert not hub.predicted


def test_without_redis_predictions_are_made_and_watching_says_what_it_lost(
    studio: StudioApi, make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub = make_hub(redis_url="redis://127.0.0.1:1/0")
    studio.add_tasks(2)
    announce(hub, hub.project(7))
    with watching(hub):
        predict(hub, studio, 1, 2)
    assert "2 predictions are not watched: Redis cannot be reached" in caplog.text
    assert not hub.predicted


def test_the_thread_empties_the_queue_by_itself(hub: Hub) -> None:
    hub.predicted.append(predicted(1))
    window, stop = hub.state(predicted(1).project).window, threading.Event()
    thread = threading.Thread(target=keep_watching, args=(hub, stop, 0.01))
    thread.start()
    try:
        until = time.monotonic() + 10
        while not window.count() and time.monotonic() < until:
            stop.wait(0.01)
        assert window.count() == 1
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_a_project_that_is_forgotten_has_no_sample(hub: Hub) -> None:
    state = hub.state(predicted(1).project)
    state.window.add([predicted(1)])
    assert state.judge(60)
    assert not state.judge(60)
    state.forget()
    assert state.window.read() == []
    assert state.judge(60)
