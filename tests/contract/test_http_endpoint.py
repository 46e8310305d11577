"""The HTTP endpoint against a real server that misbehaves in every way a server can."""

import gc
import io
import json
import multiprocessing
import socket
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from labelloop.endpoints import http
from labelloop.endpoints.breaker import Breaker
from labelloop.endpoints.caller import Caller
from labelloop.endpoints.failures import Refused, TooSlow, Unwell, WrongAnswer
from labelloop.endpoints.http import http_plan
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import CircuitOpen, EndpointError
from labelloop.pictures import upright_size
from labelloop.tracing import DOING, Doing
from labelloop.types import Answer, Failure, Input, Output, ProjectKey, Target
from support.misbehaving import (
    Exchange,
    Misbehaving,
    Reply,
    answer,
    cat,
    dribble,
    good,
    misbehaving,
    raw,
    reset,
    stall,
    then_close,
)

CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "v1")
ONE = [Input(b"a picture", "image/png")]
TARGET = Target(ProjectKey("ls", 7), "v1")
QUICK = 0.15
"""Seconds an endpoint gets where the test is about its not answering."""


def pictures(count: int) -> list[Input]:
    return [Input(f"picture {number}".encode()) for number in range(count)]


def opened(address: str, *, breaker: Breaker | None = None, **form: Any) -> Caller:
    spec = EndpointSpec(address, **{"timeout": 10.0} | form)
    return Caller(http_plan(spec), spec, breaker=breaker)


def endpoint(server: Misbehaving, **form: Any) -> Caller:
    return opened(server.address, **form)


def ask(*replies: Reply, inputs: Sequence[Input] = ONE, **form: Any) -> list[Answer | Failure]:
    with misbehaving(*replies) as server:
        return endpoint(server, **form).invoke(inputs, Target())


def reasons(answers: Sequence[Answer | Failure]) -> list[str]:
    return [item.reason if isinstance(item, Failure) else "" for item in answers]


# What is sent


def test_one_picture_goes_as_it_is_and_names_its_model() -> None:
    with misbehaving(good) as server:
        assert endpoint(server).invoke(ONE, TARGET) == [CAT]
        (request,) = server.requests
    assert request.line == "POST /invocations HTTP/1.1"
    assert request.body == b"a picture"
    assert request.headers["content-type"] == "image/png"
    assert request.headers["x-labelloop-project"] == "ls/7"
    assert request.headers["x-labelloop-version"] == "v1"
    assert "authorization" not in request.headers


@pytest.mark.parametrize("batch", [1, 16])
def test_our_own_server_is_told_to_what_a_call_belongs_and_no_other(batch: int) -> None:
    token = DOING.set(Doing(trace="trace-of-today"))
    try:
        with misbehaving(good) as server:
            endpoint(server, batch=batch).invoke([*ONE, *ONE], Target())
            assert {one.headers["x-request-id"] for one in server.requests} == {"trace-of-today"}
        with misbehaving(good) as other:
            opened(f"{other.address}/detect").invoke(ONE, Target())
            assert "x-request-id" not in other.requests[0].headers
    finally:
        DOING.reset(token)


@pytest.mark.parametrize("media_type", ["application/json", "text/html", "image/png\r\nX-Evil: 1", ""])
def test_only_a_pictures_type_is_passed_on(media_type: str) -> None:
    with misbehaving(good) as server:
        endpoint(server).invoke([Input(b"x", media_type)], Target())
        assert server.requests[0].headers["content-type"] == "application/octet-stream"
        assert "x-labelloop-project" not in server.requests[0].headers


def test_many_pictures_go_in_batches_over_few_connections() -> None:
    with misbehaving(good) as server:
        subject = endpoint(server, batch=4, concurrency=2)
        inputs = pictures(18)
        assert subject.invoke(inputs, Target()) == [CAT] * 18
        assert subject.invoke(inputs, Target()) == [CAT] * 18
        sent = [json.loads(r.body)["instances"] for r in server.requests]
        assert sorted(len(instances) for instances in sent) == [2] * 2 + [4] * 8
        contents = {b64decode(instance["b64"]) for instances in sent for instance in instances}
        assert contents == {item.content for item in inputs}
        assert {request.connection for request in server.requests} <= {1, 2}


def test_a_call_is_bounded_by_bytes_too() -> None:
    inputs = [Input(bytes(size)) for size in (100, 100, 2000, 100, 100, 100)]
    with misbehaving(good) as server:
        answers = endpoint(server, payload_bytes=400, concurrency=1).invoke(inputs, Target())
        sizes = [int(request.headers["content-length"]) for request in server.requests]
    assert len(sizes) == 3
    assert all(size <= 400 for size in sizes)
    assert [isinstance(item, Failure) for item in answers] == [False, False, True, False, False, False]
    assert "2000 bytes as sent, endpoint http://" in reasons(answers)[2]
    assert "takes at most 400: raise payload_bytes" in reasons(answers)[2]


def test_answers_come_in_order_whatever_batch_is_first() -> None:
    def named(exchange: Exchange) -> None:
        instances = json.loads(exchange.request.body)["instances"]
        answer({"predictions": [cat(b64decode(item["b64"]).decode()) for item in instances]})(exchange)

    answers = ask(named, inputs=pictures(20), batch=2, concurrency=4)
    assert [item.model_version for item in answers if isinstance(item, Output)] == [f"picture {n}" for n in range(20)]


def test_nothing_is_asked_for_nothing() -> None:
    with misbehaving(good) as server:
        assert endpoint(server).invoke([], Target()) == []
        assert server.requests == []


def test_user_and_password_are_sent_and_never_shown() -> None:
    with misbehaving(good, answer({"error": "no"}, 401)) as server:
        address = server.address.replace("http://", "http://me%40work:hunter2€@")
        subject = opened(address)
        subject.invoke(ONE, Target())
        assert server.requests[0].headers["authorization"] == "Basic " + b64encode("me@work:hunter2€".encode()).decode()
        with pytest.raises(EndpointError) as refused:
            subject.invoke(ONE, Target())
    assert str(refused.value) == f"endpoint {server.address} answered 401: no"
    assert "hunter2" not in repr(EndpointSpec(address))


def test_a_path_in_the_address_goes_before_the_routes() -> None:
    with misbehaving(good) as server:
        opened(server.address + "/models/x/").invoke(ONE, Target())
        assert server.requests[0].line == "POST /models/x/invocations HTTP/1.1"


def test_check_asks_ping() -> None:
    with misbehaving(answer({}), answer({"error": "v3 is being loaded"}, 503)) as server:
        subject = endpoint(server)
        assert subject.check().startswith(f"endpoint {server.address} answered in ")
        assert server.requests[0].line == "GET /ping HTTP/1.1"
        with pytest.raises(EndpointError, match="answered 503: v3 is being loaded"):
            subject.check()


# Servers that stand alone


def standing(server: Misbehaving, **form: Any) -> Caller:
    return opened(f"{server.address}/models/pets:score?key=hunter2", **form)


def test_a_complete_url_is_posted_to_as_it_is() -> None:
    with misbehaving(answer({"predictions": [cat("theirs")]})) as server:
        subject = standing(server)
        (found,) = subject.invoke(ONE, TARGET)
        assert server.requests[0].line == "POST /models/pets:score?key=hunter2 HTTP/1.1"
        assert "x-labelloop-version" not in server.requests[0].headers
    assert isinstance(found, Output)
    assert found.model_version == "theirs", "the version asked for is the loop's, not its"
    assert (subject.follows, subject.batch, subject.concurrency) == (False, 1, 32)
    assert subject.name == server.address.removeprefix("http://") + "/models/pets:score"


def test_a_container_follows_the_loop() -> None:
    subject = opened("http://host:9091")
    assert (subject.follows, subject.batch, subject.concurrency, subject.name) == (True, 16, 4, "host:9091")
    assert opened("http://host:9091/models/x/").follows


def test_headers_and_query_are_sent_and_never_shown() -> None:
    headers = (("X-Api-Key", "open sesame"), ("Authorization", "Bearer abc"))
    with misbehaving(answer({"error": "no"}, 401)) as server:
        subject = standing(server, headers=headers)
        with pytest.raises(EndpointError) as refused:
            subject.invoke(ONE, Target())
        assert server.requests[0].headers["x-api-key"] == "open sesame"
        assert server.requests[0].headers["authorization"] == "Bearer abc"
    assert str(refused.value) == f"endpoint {server.address}/models/pets:score answered 401: no"


def test_a_header_of_the_settings_takes_the_place_of_ours() -> None:
    with misbehaving(good) as server:
        address = server.address.replace("http://", "http://me:hunter2@") + "/score"
        headers = (("Authorization", "Bearer abc"), ("content-type", "application/x-image"))
        opened(address, headers=headers).invoke(ONE, Target())
        sent = server.requests[0].headers
    assert (sent["authorization"], sent["content-type"]) == ("Bearer abc", "application/x-image")


def test_a_version_is_the_models_else_the_settings_else_the_name() -> None:
    scores = [0.75, 0.25]
    with misbehaving(answer({"predictions": [scores]})) as server:
        classes = ("cat", "dog")
        for subject, version in (
            (standing(server, classes=classes, response="probabilities", version="2026-11"), "2026-11"),
            (standing(server, classes=classes, response="probabilities"), standing(server).name),
        ):
            (found,) = subject.invoke(ONE, Target())
            assert found == Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, version)


def test_several_inputs_go_together_when_the_batch_allows() -> None:
    with misbehaving(good) as server:
        assert standing(server, batch=8).invoke(pictures(20), Target()) == [CAT] * 20
        assert sorted(len(json.loads(r.body)["instances"]) for r in server.requests) == [4, 8, 8]


def test_what_the_request_format_cannot_carry_fails_alone() -> None:
    inputs = [Input(b"a"), Input(uri="s3://bucket/key"), Input(b"b")]
    with misbehaving(good) as server:
        answers = standing(server, request="automl", batch=3).invoke(inputs, Target())
    assert answers[0] == answers[2] == CAT
    assert "reference" in reasons(answers)[1]


def test_check_of_another_server_says_how_far_it_looked() -> None:
    with misbehaving(answer({}, 405), answer({}, 403), answer({}, 502)) as server:
        subject = standing(server)
        said = subject.check()
        assert f"a server answers at endpoint {server.address}/models/pets:score (405 to a GET" in said
        with pytest.raises(EndpointError, match="answered 403"):
            subject.check()
        with pytest.raises(EndpointError, match="answered 502"):
            subject.check()


# Pictures that are too large


def picture(width: int, height: int, orientation: int = 1) -> bytes:
    """A noisy JPEG: it stays large."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize("batch", [1, 2])
def test_a_picture_over_the_limit_is_scaled_down(batch: int) -> None:
    large = picture(640, 320, orientation=6)
    with misbehaving(good) as server:
        subject = standing(server, payload_bytes=60_000, batch=batch, request="instances")
        assert subject.invoke([Input(large, "image/jpeg"), Input(b"small")], Target()) == [CAT] * 2
        bodies = [request.body for request in server.requests]
    assert all(len(body) <= 60_000 for body in bodies)
    sent = max((b64decode(json.loads(body)["instances"][0]["b64"]) for body in bodies), key=len)
    assert len(sent) > 25_000, "no smaller than it must be"
    width, height = upright_size(sent)
    assert height / width == pytest.approx(2, rel=0.02)


def test_what_is_no_picture_is_refused_over_the_limit() -> None:
    with misbehaving(good) as server:
        for item in (Input(bytes(2000)), Input(text="long " * 400)):
            (failure,) = standing(server, payload_bytes=1000).invoke([item], Target())
            assert isinstance(failure, Failure)
            assert f"endpoint {server.address}/models/pets:score takes at most 1000" in failure.reason
        assert server.requests == []


# Answers that are wrong


def prediction(**changes: object) -> dict[str, object]:
    return cat() | changes


def test_a_wrong_prediction_fails_alone() -> None:
    first, second = ask(answer({"predictions": [prediction(score=-1), cat()]}), inputs=pictures(2))
    assert isinstance(first, Failure)
    assert first.reason
    assert second == CAT


def test_an_answer_of_another_version_is_refused() -> None:
    with misbehaving(answer({"predictions": [cat("v9")]})) as server:
        answers = endpoint(server).invoke(ONE, TARGET)
    assert reasons(answers) == ["asked for version v1, the endpoint answered with v9"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>", "not valid JSON"),
        ([cat()], "expected a JSON object"),
        ({"predictions": [cat(), cat()]}, "1 input sent, 2 predictions came back"),
    ],
)
def test_an_answer_of_the_wrong_shape_is_an_error(content: object, reason: str) -> None:
    with pytest.raises(WrongAnswer, match=rf"the answer of endpoint http://.* is wrong: .*{reason}"):
        ask(answer(content))


# Connections that fail


def head(rest: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\n{rest}\r\n".encode()


BROKEN: list[tuple[Reply, type[EndpointError]]] = [
    (reset, Unwell),
    (then_close(raw(b"")), Unwell),
    (then_close(raw(b"HTTP/1.1 200")), Unwell),
    (then_close(raw(b"no HTTP at all\r\n\r\n")), Unwell),
    (then_close(raw(b"\x00" * 1000)), Unwell),
    (then_close(raw(b"HTTP/1.1 999999 OK\r\n\r\n")), Unwell),
    (then_close(raw(head("Content-Length: 100\r\n") + b'{"predictions": [')), Unwell),
    (then_close(raw(head("Transfer-Encoding: chunked\r\n") + b"zz\r\n{}")), Unwell),
    (then_close(raw(head("Transfer-Encoding: chunked\r\n") + b"ff\r\n{}")), Unwell),
    (then_close(raw(head("Content-Length: -5\r\n") + b"{}")), Unwell),
    (then_close(raw(head("X: " + "y" * 70_000 + "\r\n"))), Unwell),
    (then_close(raw(head("Content-Length: 2\r\nContent-Encoding: gzip\r\n") + b"{}")), WrongAnswer),
    (answer({"error": "no such project"}, 404), Refused),
    (answer(b"\xff", 400 + 3), Refused),
    (answer({"error": "broken"}, 500), Unwell),
    (answer({}, 302, "Location: http://127.0.0.1:1/\r\n"), Unwell),
    (answer({"predictions": [cat()]}, 201), Unwell),
]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("reply", "kind"), BROKEN)
def test_broken_answers_are_endpoint_errors_and_nothing_else(
    reply: Reply, kind: type[EndpointError], count: int
) -> None:
    with pytest.raises(kind, match=r"endpoint http://127\.0\.0\.1"):
        ask(reply, inputs=pictures(count))


def test_an_address_where_nobody_listens() -> None:
    with misbehaving(good) as server:
        address = server.address
    with pytest.raises(Unwell, match=f"{address} cannot be reached: Connection refused"):
        opened(address).invoke(ONE, Target())
    with pytest.raises(Unwell, match=r"nowhere\.invalid:80 cannot be reached: "):
        opened("http://nowhere.invalid:80").invoke(ONE, Target())


def test_a_kept_alive_connection_that_was_reset_is_replaced() -> None:
    with misbehaving(good, reset, good) as server:
        subject = endpoint(server)
        assert subject.invoke(ONE, Target()) == [CAT]
        assert subject.invoke(ONE, Target()) == [CAT]
        assert [request.connection for request in server.requests] == [1, 1, 2]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_endpoint_is_asked_three_times_and_not_again(status: int) -> None:
    busy = answer({"error": "busy"}, status, "Retry-After: 0\r\n")
    with misbehaving(busy, busy, good, busy) as server:
        subject = endpoint(server)
        assert subject.invoke(ONE, Target()) == [CAT]
        with pytest.raises(Unwell, match=f"answered {status}: busy"):
            subject.invoke(ONE, Target())
        assert len(server.requests) == 6


def test_a_pause_longer_than_the_time_left_is_not_waited_for() -> None:
    with misbehaving(answer({}, 503, "Retry-After: 9999\r\n")) as server:
        start = time.monotonic()
        with pytest.raises(Unwell, match="answered 503"):
            endpoint(server, timeout=1.5).invoke(ONE, Target())
        assert time.monotonic() - start < 1


def test_other_failures_are_not_repeated() -> None:
    with misbehaving(answer({}, 500)) as server:
        with pytest.raises(Unwell):
            endpoint(server).invoke(ONE, Target())
        assert len(server.requests) == 1


UNFINISHED = [
    stall,
    dribble(b"HTTP/1.1 2"),
    dribble(b"HTTP/1.1 200 OK\r\nX: "),
    dribble(head("Content-Length: 9999\r\n") + b"{"),
]
WAYS = ["silent", "dribbles a status line", "dribbles a header", "dribbles a body"]


@pytest.mark.parametrize("reply", UNFINISHED, ids=WAYS)
def test_an_endpoint_that_never_finishes_is_given_up(reply: Reply) -> None:
    start = time.monotonic()
    with misbehaving(reply) as server:
        answers = endpoint(server).invoke(pictures(2), Target(), time.monotonic() + QUICK)
        assert time.monotonic() - start < QUICK + 1
    assert answers == [Failure("deadline")] * 2


@pytest.mark.parametrize("reply", UNFINISHED, ids=WAYS)
@pytest.mark.parametrize("count", [1, 2])
def test_without_a_deadline_the_timeout_holds(reply: Reply, count: int) -> None:
    start = time.monotonic()
    with misbehaving(reply) as server, pytest.raises(TooSlow, match="in time"):
        endpoint(server, timeout=QUICK, batch=1).invoke(pictures(count), Target())
    assert time.monotonic() - start < QUICK + 1


def test_a_large_request_that_is_not_read_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        subject = opened(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=QUICK)
        with pytest.raises(TooSlow, match="in time"):
            subject.invoke([Input(bytes(30_000_000))], Target())


def test_a_host_that_takes_no_connection_is_at_fault_not_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECT_SECONDS", QUICK)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        with suppress(TimeoutError):
            while True:
                waiting.enter_context(socket.create_connection(full.getsockname(), timeout=QUICK))
        subject = opened(f"http://127.0.0.1:{full.getsockname()[1]}", breaker=Breaker("x", limit=1))
        with pytest.raises(TooSlow, match="in time"):
            subject.invoke(ONE, Target(), time.monotonic() + 9)
        with pytest.raises(CircuitOpen):
            subject.invoke(ONE, Target(), time.monotonic() + 9)


# Failures of a part


def test_what_is_ready_at_the_deadline_is_kept() -> None:
    with misbehaving(good, good, stall) as server:
        subject = endpoint(server, batch=2, concurrency=1)
        answers = subject.invoke(pictures(8), Target(), time.monotonic() + 1)
    assert answers == [CAT] * 4 + [Failure("deadline")] * 4


def test_a_deadline_that_has_passed_asks_nothing() -> None:
    with misbehaving(good) as server:
        for inputs in (ONE, [Input(bytes(900))]):  # for the second, a picture would have to be scaled down
            subject = endpoint(server, payload_bytes=500)
            assert subject.invoke(inputs, Target(), time.monotonic() - 1) == [Failure("deadline")]
        assert server.requests == []


def test_one_batch_may_fail_alone() -> None:
    def on_fire(exchange: Exchange) -> None:
        burns = any(b64encode(item.content) in exchange.request.body for item in pictures(4)[2:])
        burns = burns or exchange.request.body in (b"picture 2", b"picture 3")
        (answer({"error": "on fire"}, 500) if burns else good)(exchange)

    with misbehaving(on_fire) as server:
        answers = endpoint(server, batch=2, concurrency=1).invoke(pictures(6), Target())
        failed = f"endpoint {server.address} answered 500: on fire"
    assert answers[:2] + answers[4:] == [CAT] * 4
    assert reasons(answers)[2:4] == [failed] * 2


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_picture_that_is_refused_by_itself_is_a_failure(status: int) -> None:
    assert reasons(ask(answer({"error": "not a picture"}, status))) == ["not a picture"]


def test_a_batch_that_is_too_large_is_halved() -> None:
    def limited(exchange: Exchange) -> None:
        fits = int(exchange.request.headers["content-length"]) < 150
        (good if fits else answer({"error": "too large"}, 413))(exchange)

    inputs = [*pictures(8), Input(bytes(500))]
    answers = ask(limited, inputs=inputs, batch=9)
    assert answers == [CAT] * 8 + [Failure("too large")]


# Who makes the call


def test_one_call_is_made_by_the_calling_thread() -> None:
    with misbehaving(good) as server:
        subject = endpoint(server)
        before = set(threading.enumerate())
        subject.invoke(pictures(16), Target())
        assert len(server.requests) == 1
        assert not [thread for thread in threading.enumerate() if thread not in before and "endpoint" in thread.name]
        subject.invoke(pictures(17), Target())
        assert [thread for thread in threading.enumerate() if thread not in before and "endpoint" in thread.name]


def test_threads_share_the_bound_on_calls_and_the_connections() -> None:
    at_once = 0
    most = 0
    counting, three = threading.Lock(), threading.Event()

    def count(exchange: Exchange) -> None:
        nonlocal at_once, most
        with counting:
            at_once += 1
            most = max(most, at_once)
            if most == 3:
                three.set()
        three.wait(10)
        exchange.ending.wait(0.005)
        with counting:
            at_once -= 1
        good(exchange)

    with misbehaving(count) as server:
        subject = endpoint(server, concurrency=3, batch=1)
        with ThreadPoolExecutor(8) as threads:
            asked = [threads.submit(subject.invoke, pictures(size), Target()) for size in (1, 4, 1, 1, 5, 1, 1, 1) * 3]
            assert all(answers == [CAT] * len(answers) for answers in (call.result() for call in asked))
        assert most == 3
        assert {request.connection for request in server.requests} == {1, 2, 3}


def test_a_turn_that_does_not_come_before_the_deadline_is_a_failure() -> None:
    arrived, given_up = threading.Event(), threading.Event()

    def until_the_other_gives_up(exchange: Exchange) -> None:
        arrived.set()
        given_up.wait(5)
        good(exchange)

    with misbehaving(until_the_other_gives_up) as server:
        subject = endpoint(server, concurrency=1)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(subject.invoke, ONE, Target(), time.monotonic() + 10)
            assert arrived.wait(5)
            assert subject.invoke(ONE, Target(), time.monotonic() + QUICK / 3) == [Failure("deadline")]
            assert len(server.requests) == 1
            given_up.set()
            assert waiting.result() == [CAT]


# The circuit breaker


def test_a_probe_is_one_call() -> None:
    now = [0.0]
    busy = answer({}, 503, "Retry-After: 0\r\n")
    with misbehaving(answer({}, 500), busy) as server:
        subject = endpoint(server, breaker=Breaker("x", limit=1, rest=10, clock=lambda: now[0]))
        for expected in (1, 2):
            with pytest.raises(Unwell):
                subject.invoke(ONE, Target())
            with pytest.raises(CircuitOpen):
                subject.invoke(ONE, Target())
            assert len(server.requests) == expected
            now[0] += 10


def test_a_dead_endpoint_is_left_alone_and_found_again() -> None:
    now = [0.0]
    with misbehaving(answer({}, 500), answer({}, 500), answer({}, 500), good) as server:
        subject = endpoint(server, breaker=Breaker("x", limit=3, rest=10, clock=lambda: now[0]))
        for _ in range(3):
            with pytest.raises(Unwell):
                subject.invoke(ONE, Target())
        start = time.monotonic()
        for _ in range(100):
            with pytest.raises(CircuitOpen):
                subject.invoke(pictures(100), Target(), time.monotonic() + 90)
        assert time.monotonic() - start < 1
        assert len(server.requests) == 3
        now[0] += 10
        assert subject.invoke(ONE, Target()) == [CAT]
        assert subject.invoke(ONE, Target()) == [CAT]


def test_an_endpoint_that_dies_in_the_middle_fails_the_rest_at_once() -> None:
    with misbehaving(good, answer({"error": "dead"}, 500)) as server:
        answers = endpoint(server, batch=1, concurrency=1, breaker=Breaker("x", limit=3)).invoke(pictures(50), Target())
        assert len(server.requests) == 4
    assert answers[0] == CAT
    assert all("left alone" in reason for reason in reasons(answers)[4:])


def bearing(failing: Reply) -> Reply:
    """Be a server whose model cannot bear what says ``broken``."""

    def choose(exchange: Exchange) -> None:
        sent = exchange.request.body
        if exchange.request.headers["content-type"] == "application/json":
            sent = b"".join(b64decode(instance["b64"]) for instance in json.loads(sent)["instances"])
        (failing if b"broken" in sent else good)(exchange)

    return choose


FINE, BROKEN_ONE = "fine", "broken"
BY_INPUT = [
    answer({"error": "cannot identify image file"}, 500),
    answer(b"<html>Bad Gateway</html>", 502),
    answer({"code": 503, "type": "InternalServerException", "message": "Prediction failed"}, 503),
    reset,
    answer(b'{"predictions": [{"score": NaN}]}'),
]


def called(*names: str) -> list[Input]:
    return [Input(f"{name} {number}".encode()) for number, name in enumerate(names)]


@pytest.mark.parametrize("failing", BY_INPUT, ids=["500", "502", "TorchServe", "reset", "no JSON"])
def test_inputs_that_the_model_cannot_bear_are_no_outage(failing: Reply) -> None:
    names = [FINE, *[BROKEN_ONE] * 12, *[FINE] * 3]
    with misbehaving(bearing(failing)) as server:
        subject = endpoint(server, batch=1, concurrency=1)
        answers = subject.invoke(called(*names), Target())
        for item in called(BROKEN_ONE, *names):
            with suppress(Unwell):  # also one after the other, each a call of its own
                subject.invoke([item], Target())
        assert subject.invoke(ONE, Target()) == [CAT]
    assert [name == FINE for name in names] == [one == CAT for one in answers]
    assert not any("left alone" in reason for reason in reasons(answers))
    assert not any(one.endpoint for one in answers if isinstance(one, Failure))


@pytest.mark.parametrize("failing", BY_INPUT, ids=["500", "502", "TorchServe", "reset", "no JSON"])
@pytest.mark.parametrize(
    "names",
    [
        [*[BROKEN_ONE] * 6, *[FINE] * 3],
        [BROKEN_ONE, *[FINE] * 15],
        [FINE, FINE, *[BROKEN_ONE] * 6, FINE],
        [FINE, *[BROKEN_ONE, FINE] * 4],
    ],
    ids=["first", "one", "middle", "every second"],
)
def test_a_call_of_several_costs_the_good_ones_nothing(names: list[str], failing: Reply) -> None:
    with misbehaving(bearing(failing)) as server:
        answers = endpoint(server).invoke(called(*names), Target())
        assert len(server.requests) < 3 * len(names)
    assert [name == FINE for name in names] == [one == CAT for one in answers]


def test_of_an_endpoint_that_has_answered_nothing_another_one_is_tried_each_time() -> None:
    with misbehaving(bearing(answer({"error": "on fire"}, 500))) as server:
        subject = endpoint(server)
        names = called(FINE, FINE, BROKEN_ONE)
        with pytest.raises(Unwell, match="answered 500: on fire"):
            subject.invoke(names, Target())
        assert len(server.requests) == 2, "a dead endpoint is not asked for each"
        answers = subject.invoke(names, Target())
    assert [one == CAT for one in answers] == [True, True, False]


def test_several_that_all_are_at_fault_are_told_from_an_outage() -> None:
    on_fire = answer({"error": "on fire"}, 500)
    with misbehaving(bearing(on_fire)) as server:
        subject = endpoint(server)
        assert subject.invoke(ONE, Target()) == [CAT]
        answers = subject.invoke(called(BROKEN_ONE, BROKEN_ONE), Target())
        failed = Failure(f"endpoint {server.address} answered 500: on fire")
        assert answers == [failed] * 2
        server.replies = [on_fire]
        with pytest.raises(Unwell, match="on fire"):
            subject.invoke(called(BROKEN_ONE, BROKEN_ONE), Target())


def test_what_fails_with_an_endpoint_that_dies_meanwhile_is_told_apart() -> None:
    dead = answer({"error": "dead"}, 503, "Retry-After: 0\r\n")
    with misbehaving(answer({}, 500), good, answer({}, 500), dead) as server:
        first, second, third = endpoint(server, concurrency=1).invoke(pictures(3), Target())
    assert third == CAT
    assert isinstance(first, Failure)
    assert isinstance(second, Failure)
    assert {first.endpoint, second.endpoint} == {False, True}


@pytest.mark.parametrize(
    "reply", [answer({"error": "no such version"}, 404), answer({"predictions": [{"error": "no picture"}]})]
)
def test_refused_requests_do_not_open_the_breaker(reply: Reply) -> None:
    with misbehaving(*[reply] * 10, good) as server:
        subject = endpoint(server, breaker=Breaker("x", limit=2))
        for _ in range(10):
            try:
                subject.invoke(ONE, Target())
            except EndpointError as error:
                assert isinstance(error, Refused)  # noqa: PT017 - every one of the ten matters
        assert subject.invoke(ONE, Target()) == [CAT]


def test_a_refused_request_shows_that_the_endpoint_is_alive() -> None:
    with misbehaving(answer({}, 500), answer({}, 404), answer({}, 500), good) as server:
        subject = endpoint(server, breaker=Breaker("x", limit=2))
        for kind in (Unwell, Refused, Unwell):
            with pytest.raises(kind):
                subject.invoke(ONE, Target())
        assert subject.invoke(ONE, Target()) == [CAT]


def test_an_open_breaker_answers_at_once_even_when_every_thread_is_stuck() -> None:
    breaker = Breaker("x", limit=1)
    arrived = threading.Event()

    def stuck(exchange: Exchange) -> None:
        arrived.set()
        stall(exchange)

    with misbehaving(stuck) as server:
        subject = endpoint(server, concurrency=1, breaker=breaker)

        def wait_for_it() -> None:
            with suppress(EndpointError):  # the server's end
                subject.invoke(ONE, Target())

        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        assert arrived.wait(5)
        breaker.failed("it is on fire")
        start = time.monotonic()
        with pytest.raises(CircuitOpen):
            subject.invoke(ONE, Target(), start + 5)
        assert time.monotonic() - start < 1
    waiting.join(10)


def test_an_impatient_caller_does_not_open_the_breaker() -> None:
    with misbehaving(stall) as server:
        subject = endpoint(server, breaker=Breaker("x", limit=2))
        for _ in range(3):
            assert subject.invoke(ONE, Target(), time.monotonic() + QUICK) == [Failure("deadline")]
        server.replies = [good]
        assert subject.invoke(ONE, Target()) == [CAT]


# Processes


def _ask_in_child(subject: Caller, answers: Any) -> None:
    answers.put(subject.invoke(ONE, Target()))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_an_endpoint_in_use_survives_a_fork() -> None:
    gc.collect()
    context = multiprocessing.get_context("fork")
    with misbehaving(good) as server:
        subject = endpoint(server)
        assert subject.invoke(ONE, Target()) == [CAT]
        answers = context.SimpleQueue()
        child = context.Process(target=_ask_in_child, args=(subject, answers))
        child.start()
        child.join(10)
        assert child.exitcode == 0
        assert answers.get() == [CAT]
        assert subject.invoke(ONE, Target()) == [CAT]
        assert [request.connection for request in server.requests] == [1, 2, 1]
