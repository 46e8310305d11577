"""What an annotator's page gets while an endpoint misbehaves on the wire, how soon, and that all is well afterwards.

Each server stands behind one of the three kinds of address. Texts are asked for, so that nothing else takes time.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from flask.testing import FlaskClient

from support.aws_wire import aws_account, aws_error, model_error
from support.google_wire import google_error
from support.misbehaving import Exchange, Misbehaving, Reply, answer, dribble, misbehaving, raw, reset, stall
from support.web import MakeHub, client_of

CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)
TASKS = [{"id": number, "data": {"text": f"text {number}"}} for number in range(1, 5)]
LABELS = [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]
TIMEOUT = 0.25
"""Seconds one call may take here; `LABELLOOP_ENDPOINT_TIMEOUT`."""
AT_ONCE = "Retry-After: 0\r\n"
"""Leaves out the pause before another try."""
PATIENCE = 10.0
"""Seconds a page may take here when every call fails in its slowest way, on a machine that does much else."""


def good(exchange: Exchange) -> None:
    """Answer as Hugging Face's containers do; Vertex AI asks for instances and wants predictions."""
    vertex = b'"instances"' in exchange.request.body and ":predict" in exchange.request.line
    answer({"predictions": [LABELS], "deployedModelId": "77"} if vertex else LABELS)(exchange)


def half(exchange: Exchange) -> None:
    """Promise more than is sent, then hang up."""
    raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[{")(exchange)
    exchange.connection.close()


ANYWHERE: dict[str, Reply] = {
    "429": answer({"error": "busy"}, 429, AT_ONCE),
    "500": answer({"error": "broken"}, 500),
    "503": answer({"error": "overloaded"}, 503, AT_ONCE),
    "no JSON": answer(b'{"predictions": [', headers="Content-Type: application/json\r\n"),
    "not a number": answer(b'[{"label": "cat", "score": NaN}, {"label": "dog", "score": NaN}]'),
    "wrong count": answer({"predictions": [LABELS, LABELS, LABELS]}),
    "unknown labels": answer([{"label": "eel", "score": 0.75}, {"label": "owl", "score": 0.25}]),
    "unknown shape": answer({"what": {"is": "this"}}),
    "connection reset": reset,
    "half an answer": half,
    "a stall": stall,
    "dribbling": dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
    "404": answer({"error": "no such model"}, 404),
    "403": answer({"error": "not you"}, 403),
}
SAGEMAKER: dict[str, Reply] = {
    **{f"424 with {status}": model_error(status) for status in (400, 429, 500, 503)},
    "429 not ready": aws_error("ModelNotReadyException", 429),
    "400 throttled": aws_error("ThrottlingException", 400),
    "500 internal": aws_error("InternalFailure", 500),
    "503 unavailable": aws_error("ServiceUnavailable", 503),
    "530": aws_error("InternalDependencyException", 530),
    "no such endpoint": aws_error("ValidationError", 400),
}
VERTEX: dict[str, Reply] = {
    "429 exhausted": google_error(429, "RESOURCE_EXHAUSTED"),
    "503 unavailable": google_error(503, "UNAVAILABLE"),
    "404 not found": google_error(404, "NOT_FOUND"),
    "400 bad input": google_error(400, "INVALID_ARGUMENT"),
}
CASES = [
    *(("http", name, reply) for name, reply in ANYWHERE.items()),
    *(("sagemaker", name, reply) for name, reply in (ANYWHERE | SAGEMAKER).items()),
    *(("vertex", name, reply) for name, reply in (ANYWHERE | VERTEX).items()),
]

Page = Callable[..., tuple[list[Any], float]]
"""Asks for the predictions of all tasks, or those of other texts; gives them and the seconds that took."""


@pytest.fixture
def pages(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    @contextmanager
    def open_page(kind: str, *replies: Reply, **settings: Any) -> Iterator[tuple[Page, Misbehaving]]:
        with misbehaving(*replies) as server:
            aws_account(monkeypatch, sagemaker_runtime=server.address)
            addresses = {
                "http": f"{server.address}/predict",
                "sagemaker": "sagemaker://scenes",
                "vertex": "vertex://project/europe-west4/123",
            }
            usual = {"endpoint_timeout": TIMEOUT, "vertex_base_url": server.address, "cache_seconds": 0.0}
            client = client_of(make_hub(**usual | {"endpoint": addresses[kind]} | settings))
            yield lambda texts=(): predict(client, texts), server

    return open_page


def predict(client: FlaskClient, texts: Sequence[str] = ()) -> tuple[list[Any], float]:
    tasks = [{"id": number, "data": {"text": text}} for number, text in enumerate(texts, 1)] or TASKS
    body = {"tasks": tasks, "project": "7.1", "label_config": CONFIG, "params": {"context": None}}
    begun = time.monotonic()
    reply = client.post("/predict", json=body)
    took = time.monotonic() - begun
    assert reply.status_code == 200
    assert reply.json is not None
    results: list[Any] = reply.json["results"]
    assert len(results) == len(tasks)
    return results, took


def is_cat(item: Any) -> bool:
    return bool(item) and item["result"][0]["value"]["choices"] == ["cat"] and item["score"] == 0.75


@pytest.mark.parametrize(("kind", "name", "reply"), CASES, ids=[f"{kind}: {name}" for kind, name, _ in CASES])
def test_every_task_is_skipped_and_the_page_is_answered_in_time(pages: Any, kind: str, name: str, reply: Reply) -> None:
    with pages(kind, reply) as (page, server):
        results, took = page()
        assert results == [[]] * len(TASKS)
        assert took < PATIENCE
        assert server.requests


@pytest.mark.parametrize("kind", ["http", "sagemaker", "vertex"])
def test_an_endpoint_that_is_well_again_predicts_again(pages: Any, kind: str) -> None:
    with pages(kind, ANYWHERE["404"], endpoint_timeout=5.0) as (page, server):
        assert page()[0] == [[]] * len(TASKS)
        server.replies = [good]
        assert all(is_cat(item) for item in page()[0])


@pytest.mark.parametrize("kind", ["http", "sagemaker", "vertex"])
@pytest.mark.parametrize("trouble", ["503", "connection reset"])
def test_one_failure_in_between_is_not_noticed(pages: Any, kind: str, trouble: str) -> None:
    with pages(kind, ANYWHERE[trouble], good, endpoint_timeout=5.0) as (page, server):
        assert all(is_cat(item) for item in page()[0])
        assert len(server.requests) == len(TASKS) + 1


@pytest.mark.parametrize("kind", ["http", "sagemaker", "vertex"])
def test_while_the_circuit_is_open_the_page_is_answered_at_once_and_nothing_is_sent(pages: Any, kind: str) -> None:
    with pages(kind, ANYWHERE["no JSON"], endpoint_timeout=5.0) as (page, server):
        for _ in range(3):
            page()
        sent = len(server.requests)
        took = []
        for _ in range(5):
            results, seconds = page()
            assert results == [[]] * len(TASKS)
            took.append(seconds)
        assert len(server.requests) == sent
        assert min(took) < 0.1


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        ("http", answer({"error": "cannot identify image file"}, 500)),
        ("sagemaker", model_error(500)),
        ("sagemaker", model_error(503, '{"code": 503, "type": "InternalServerException"}')),
        ("sagemaker", aws_error("InternalFailure", 500)),
        ("vertex", google_error(500, "INTERNAL")),
        ("vertex", google_error(503, "UNAVAILABLE", '{"code": 503, "type": "InternalServerException"}')),
    ],
)
def test_tasks_that_a_model_cannot_bear_cost_no_other_its_prediction(pages: Any, kind: str, failing: Reply) -> None:
    def bearing(exchange: Exchange) -> None:
        (failing if b"broken" in exchange.request.body else good)(exchange)

    texts = ["text", *[f"broken {number}" for number in range(6)], *[f"text {number}" for number in range(3)]]
    with pages(kind, bearing, endpoint_timeout=5.0, endpoint_concurrency=1) as (page, _):
        for _ in range(2):
            results, _ = page(texts)
            assert [is_cat(item) for item in results] == [text.startswith("text") for text in texts]


def test_what_is_ready_at_the_deadline_is_given_and_the_rest_is_skipped(pages: Any) -> None:
    def stall_for_some(exchange: Exchange) -> None:
        (stall if b"text 2" in exchange.request.body else good)(exchange)

    with pages("http", good, predict_deadline=1.0, endpoint_timeout=30.0) as (page, server):
        page(["before"])  # what a process loads for its first page takes longer on a busy machine
        server.replies = [stall_for_some]
        results, took = page()
        assert [is_cat(item) for item in results] == [True, False, True, True]
        assert 1.0 <= took < 5.0


def test_an_annotator_who_draws_waits_for_a_shorter_time(pages: Any, make_hub: MakeHub) -> None:
    with misbehaving(stall) as server:
        client = client_of(
            make_hub(endpoint=f"{server.address}/predict", interactive_deadline=0.3, endpoint_timeout=30.0)
        )
        context = {"result": [{"id": "q", "type": "choices"}]}
        body = {"tasks": TASKS[:1], "project": "7.1", "label_config": CONFIG, "params": {"context": context}}
        begun = time.monotonic()
        assert client.post("/predict", data=json.dumps(body)).json == {"results": [[]]}
        assert time.monotonic() - begun < 5.0
