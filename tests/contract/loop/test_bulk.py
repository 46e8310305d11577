"""The stream of bulk pre-annotation: in order, in constant memory, ended cleanly, and not stopped by one task."""

import inspect
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from labelloop.errors import EndpointError, LeaseLost, NotAllowed
from labelloop.loop.hub import Hub
from labelloop.loop.predict import Unpredicted
from labelloop.loop.prediction_stream import predict_stream
from labelloop.loop.prelabel import prelabel
from labelloop.loop.serving import PredictionPlan, prediction_plan, serving
from labelloop.types import Json
from support.label_configs import interface
from support.misbehaving import Exchange, Misbehaving, answer, misbehaving
from support.studio_api import StudioApi
from support.waiting import wait_until

from .conftest import MakeHub

CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)
LABELS = [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]


def good(exchange: Exchange) -> None:
    answer(LABELS)(exchange)


def poisoned(exchange: Exchange) -> None:
    (answer({"error": "broken"}, 500) if b"poison" in exchange.request.body else good)(exchange)


def task(number: int, text: str = "") -> Json:
    return {"id": number, "data": {"text": text or f"text {number}"}}


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving(good) as running:
        yield running


def working() -> list[threading.Thread]:
    """The threads of a stream."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("bulk")]


def plan_for(make_hub: MakeHub, server: Misbehaving, **settings: object) -> PredictionPlan:
    hub = make_hub(endpoint=f"{server.address}/predict", **settings)
    key = hub.project(7)
    by = serving(hub, key, "v")
    return prediction_plan(hub, key, by, interface(hub, CONFIG)(key, by.subject))


def test_tasks_come_back_in_order_and_are_read_as_they_are_needed(make_hub: MakeHub, server: Misbehaving) -> None:
    plan = plan_for(make_hub, server, endpoint_concurrency=4)
    read = itertools.count(1)
    with closing(predict_stream(plan, (task(number) for number in read))) as stream:
        found = [one["id"] for one, _ in itertools.islice(stream, 1100)]

    assert found == list(range(1, 1101))
    assert next(read) <= 1100 + 1024 + 1, "an endless project is not read to its end"


def test_nothing_is_asked_any_more_when_the_stream_is_closed(make_hub: MakeHub, server: Misbehaving) -> None:
    closing = threading.Event()

    def only_the_first_until_it_closes(exchange: Exchange) -> None:
        if b'"text 1"' not in exchange.request.body:
            closing.wait(30)
        good(exchange)

    server.replies = [only_the_first_until_it_closes]
    plan = plan_for(make_hub, server, endpoint_concurrency=2)
    stream = predict_stream(plan, map(task, itertools.count(1)))
    next(stream)
    closer = threading.Thread(target=stream.close)
    closer.start()
    wait_until(lambda: inspect.getgeneratorstate(stream) != inspect.GEN_SUSPENDED, "the stream closes")
    closing.set()
    closer.join(30)

    assert not closer.is_alive()
    assert not working()
    assert len(server.requests) < 100


def test_one_task_that_always_fails_stops_no_other(make_hub: MakeHub, server: Misbehaving) -> None:
    server.replies = [poisoned]
    plan = plan_for(make_hub, server, endpoint_concurrency=2, retry_seconds=1.0, cache_seconds=0.0)
    tasks = [task(number, "poison" if number == 3 else "") for number in range(1, 61)]

    found = {one["id"]: item for one, item in predict_stream(plan, tasks)}

    assert [number for number, item in found.items() if isinstance(item, Unpredicted)] == [3]
    assert len(found) == 60


def test_a_task_that_fails_a_whole_call_is_found_and_the_others_are_predicted(
    make_hub: MakeHub, server: Misbehaving
) -> None:
    def together(exchange: Exchange) -> None:
        inputs = json.loads(exchange.request.body)["inputs"]
        several = [LABELS] * len(inputs) if isinstance(inputs, list) else LABELS
        (poisoned if b"poison" in exchange.request.body else answer(several))(exchange)

    server.replies = [together]
    plan = plan_for(
        make_hub, server, endpoint_concurrency=1, endpoint_batch=4, request_format="inputs", retry_seconds=0.2
    )
    # So many that the endpoint still answers others when the call has been tried for the last time.
    tasks = [task(number, "poison" if number == 3 else "") for number in range(1, 1201)]

    found = [one["id"] for one, item in predict_stream(plan, tasks) if isinstance(item, Unpredicted)]
    assert found == [3]


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("bad", [{12}, {7, 8, 9, 10, 11, 12}, {1, 2, 12}])
def test_tasks_that_always_fail_end_nothing_wherever_they_stand(
    make_hub: MakeHub, server: Misbehaving, bad: set[int], batch: int
) -> None:
    def together(exchange: Exchange) -> None:
        inputs = json.loads(exchange.request.body)["inputs"]
        several = [LABELS] * len(inputs) if isinstance(inputs, list) else LABELS
        (poisoned if b"poison" in exchange.request.body else answer(several))(exchange)

    server.replies = [together]
    plan = plan_for(
        make_hub, server, endpoint_concurrency=1, endpoint_batch=batch, request_format="inputs", retry_seconds=0.5
    )
    tasks = [task(number, f"poison {number}" if number in bad else "") for number in range(1, 13)]

    found = {one["id"]: item for one, item in predict_stream(plan, tasks)}
    left_out = {number: item.reason for number, item in found.items() if isinstance(item, Unpredicted)}
    assert left_out == dict.fromkeys(bad, f"endpoint {server.address}/predict answered 500: broken")
    assert len(found) == 12


def test_the_only_task_that_always_fails_is_left_out_with_its_reason(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving
) -> None:
    studio.add_tasks(1)
    studio.pictures["/data/upload/7/1.png"] = b"\0\0\0\x14ftypheic\0\0\0\0mif1"
    server.replies = [answer({"error": "broken"}, 500)]
    hub = make_hub(endpoint=f"{server.address}/predict", retry_seconds=0.01)
    done = prelabel(hub, hub.project(7), "v", lambda *_: None)
    assert (done.predicted, done.left_out) == (0, 1)
    assert done.reasons == (f"endpoint {server.address}/predict answered 500: broken (it was sent as image/heic)",)
    assert len(server.requests) == 3


@pytest.mark.parametrize("down", ["nobody listens", "busy"])
def test_an_endpoint_that_cannot_be_asked_is_no_fault_of_the_only_task(
    studio: StudioApi, make_hub: MakeHub, server: Misbehaving, down: str
) -> None:
    studio.add_tasks(1)
    server.replies = [answer({"error": "busy"}, 503, "Retry-After: 0\r\n")]
    address = f"{server.address}/predict" if down == "busy" else "http://127.0.0.1:1/predict"
    hub = make_hub(endpoint=address, retry_seconds=0.01)
    with pytest.raises(EndpointError, match=r"cannot be reached|answered 503|left alone"):
        prelabel(hub, hub.project(7), "v", lambda *_: None)


def test_an_endpoint_that_is_down_for_good_ends_it_with_its_reason(make_hub: MakeHub, server: Misbehaving) -> None:
    server.replies = [answer({"error": "gone for good"}, 500)]
    plan = plan_for(make_hub, server, retry_seconds=0.01)
    with pytest.raises(EndpointError, match=r"gone for good|left alone"):
        list(predict_stream(plan, map(task, range(1, 2000))))


def test_whatever_ends_it_nothing_is_predicted_afterwards(studio: StudioApi, make_hub: MakeHub) -> None:
    """A lost lease, Ctrl-C: what waits in the stream is given up before anything else is done."""
    studio.add_tasks(400)
    asked, lost = itertools.count(1), threading.Event()

    def a_few_until_it_is_lost(exchange: Exchange) -> None:
        if next(asked) > 8:  # the third is told of when some after it have been asked for
            lost.wait(30)
        good(exchange)

    with misbehaving(a_few_until_it_is_lost) as server:
        hub = make_hub(endpoint=f"{server.address}/predict", endpoint_concurrency=1)

        def report(what: str, done: int, total: int) -> None:
            if done == 3:
                lost.set()
                raise LeaseLost("another worker")

        with pytest.raises(LeaseLost):
            prelabel(hub, hub.project(7), "v", report)
        sent = len(server.requests)
        assert sent < 100
        assert studio.predictions == []
        assert not working()
        assert len(server.requests) == sent


def test_a_page_of_label_studio_that_fails_loses_nothing(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(700)
    pages = itertools.count(1)
    usual = StudioApi._page

    def second_fails(query: Json, size: int) -> Json:
        if next(pages) == 3:  # the first one only counts
            studio.refusing = 403
        return usual(studio, query, size)

    studio._page = second_fails  # type: ignore[method-assign]
    with pytest.raises(NotAllowed):
        prelabel(studio_hub, studio_hub.project(7), "v1", lambda *_: None)
    studio.refusing, studio._page = 0, usual.__get__(studio)  # type: ignore[method-assign]

    prelabel(studio_hub, studio_hub.project(7), "v1", lambda *_: None)
    assert all(studio.versions_of(number) == ["v1"] for number in studio.tasks)
