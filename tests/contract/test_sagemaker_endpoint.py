"""A SageMaker endpoint on the wire: what boto3 would send, and what becomes of every error of the runtime."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import pytest
from boto3.session import Session

from labelloop.endpoints.aws import Aws
from labelloop.endpoints.breaker import Breaker
from labelloop.endpoints.caller import Caller, open_endpoint
from labelloop.endpoints.failures import Denied, Refused, TooSlow, Unwell, WrongAnswer
from labelloop.endpoints.features import FeatureCaller, Featured
from labelloop.endpoints.sagemaker import plan_as, sagemaker_address, sagemaker_plan
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import CircuitOpen, EndpointError, SettingsError
from labelloop.types import Failure, Input, Output, Target
from support.aws_wire import aws_account, aws_error, model_error, signature_is_right
from support.misbehaving import (
    Misbehaving,
    Reply,
    Request,
    answer,
    cat,
    good,
    misbehaving,
    raw,
    reset,
    stall,
    then_close,
)

CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "v1")
ONE = [Input(b"a picture", "image/png")]
Open = Callable[..., Caller]


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    aws_account(monkeypatch)


def opened_anew(options: str = "", **form: Any) -> Caller:
    """Open an endpoint as the environment says: that reads botocore's data, which takes a while."""
    spec = EndpointSpec(f"sagemaker://scenes{options}", **form)
    return Caller(sagemaker_plan(spec), spec)


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with pytest.MonkeyPatch.context() as environment:
        aws_account(environment)
        found = Aws("")
        found.identity()
        yield found


@pytest.fixture
def opened(aws: Aws) -> Open:
    """Open an endpoint of the runtime of the moment."""

    def open_one(options: str = "", *, breaker: Breaker | None = None, **form: Any) -> Caller:
        here = copy(aws)
        here.runtime_url = os.environ["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"]
        spec = EndpointSpec(f"sagemaker://scenes{options}", **{"timeout": 10.0} | form)
        return Caller(plan_as(here, sagemaker_address(spec.address), spec), spec, breaker=breaker)

    return open_one


@contextmanager
def runtime(monkeypatch: pytest.MonkeyPatch, *replies: Reply) -> Iterator[Misbehaving]:
    with misbehaving(*replies) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.address)
        yield server


def scored(variant: str = "") -> Reply:
    """Answer as SageMaker's own image classification does; the transport tells the variant."""
    header = f"x-Amzn-Invoked-Production-Variant: {variant}\r\n" if variant else ""
    return answer([0.75, 0.25], 200, header)


def test_features_come_with_the_variant_as_their_version(monkeypatch: pytest.MonkeyPatch, aws: Aws) -> None:
    embedded = {"embedding": [0.5, -1.0]}
    reply = answer(embedded, 200, "x-Amzn-Invoked-Production-Variant: blue\r\n")
    with runtime(monkeypatch, reply) as server:
        here = copy(aws)
        here.runtime_url = server.address
        spec = EndpointSpec("sagemaker://scenes", features="embedding", response="none")
        subject = FeatureCaller(plan_as(here, sagemaker_address(spec.address), spec), spec)
        (found,) = subject.invoke(ONE, Target(features=True))
    assert isinstance(found, Featured)
    assert (found.row.tolist(), found.model_version) == ([0.5, -1.0], "scenes/blue")


def test_an_invocation_is_signed_and_arrives_as_boto3s_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with runtime(monkeypatch, good) as server:
        options = "?variant=blue&target_model=a/b.tar.gz&inference_component=part"
        assert opened_anew(options).invoke(ONE, Target()) == [CAT]
        client: Any = Session().client("sagemaker-runtime")
        client.invoke_endpoint(
            EndpointName="scenes",
            Body=b"a picture",
            ContentType="image/png",
            TargetVariant="blue",
            TargetModel="a/b.tar.gz",
            InferenceComponentName="part",
        )["Body"].read()
        client.close()
        ours, theirs = server.requests
    assert signature_is_right(ours)
    assert signature_is_right(theirs)
    assert _told(ours) == _told(theirs)
    assert ours.line == "POST /endpoints/scenes/invocations HTTP/1.1"


def _told(request: Request) -> object:
    """All that a service may look at, but for the time and who asks."""
    others = {"authorization", "x-amz-date", "user-agent", "x-amz-user-agent", "accept-encoding", "connection"}
    others |= {"amz-sdk-invocation-id", "amz-sdk-request"}
    return request.line, request.body, {name: text for name, text in request.headers.items() if name not in others}


def test_a_signature_covers_the_body_and_the_sessions_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token of a role")
    with runtime(monkeypatch, good) as server:
        opened_anew(headers=(("X-Amzn-SageMaker-Custom-Attributes", "a=1"),)).invoke(ONE, Target())
        (request,) = server.requests
    assert request.headers["x-amzn-sagemaker-custom-attributes"] == "a=1"
    assert request.headers["x-amz-security-token"] == "token of a role"
    assert signature_is_right(request)
    request.body = b"another picture"
    assert not signature_is_right(request)


def test_calls_go_over_connections_that_stay_open(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with runtime(monkeypatch, good) as server:
        subject = opened(concurrency=4)
        for _ in range(3):
            assert subject.invoke(ONE * 20, Target()) == [CAT] * 20
        assert len(server.requests) == 60
        assert {request.connection for request in server.requests} <= {1, 2, 3, 4}


def test_the_variant_that_answered_is_the_version(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    form: dict[str, Any] = {"classes": ("cat", "dog")}
    with runtime(monkeypatch, scored("blue"), scored(), scored("blue"), good) as server:
        versions = [
            _version(opened(**form)),
            _version(opened(**form)),
            _version(opened(**form, version="2026-11")),
            _version(opened()),
        ]
        assert len(server.requests) == 4
    assert versions == ["scenes/blue", "scenes", "2026-11", "v1"]


def _version(subject: Caller) -> str:
    (found,) = subject.invoke(ONE, Target(version="v77"))
    assert isinstance(found, Output)
    return found.model_version


def test_text_goes_as_hugging_face_containers_read_it(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = answer([{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}])
    with runtime(monkeypatch, reply) as server:
        (found,) = opened().invoke([Input(text="a purring")], Target())
        assert json.loads(server.requests[0].body) == {"inputs": "a purring"}
        assert server.requests[0].headers["content-type"] == "application/json"
    assert isinstance(found, Output)
    assert (found.label, found.model_version) == ("cat", "scenes")


BUSY = [
    aws_error("ModelNotReadyException", 429),
    aws_error("ThrottlingException", 400, "Rate exceeded"),
    aws_error("ThrottlingException", 429, "Rate exceeded"),
    aws_error("ServiceUnavailable", 503),
    aws_error("InternalDependencyException", 530),
    answer(b"<html>", 530, "Retry-After: 0\r\n"),
    model_error(429),
    model_error(503),
]


@pytest.mark.parametrize("reply", BUSY, ids=range(len(BUSY)))
def test_what_may_pass_is_tried_three_times(opened: Open, monkeypatch: pytest.MonkeyPatch, reply: Reply) -> None:
    with runtime(monkeypatch, reply, reply, good, reply) as server:
        subject = opened()
        assert subject.invoke(ONE, Target()) == [CAT]
        with pytest.raises(Unwell, match="sagemaker://scenes"):
            subject.invoke(ONE, Target())
        assert len(server.requests) == 6
        assert all(signature_is_right(request) for request in server.requests)


def test_an_internal_failure_is_tried_once_more(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = aws_error("InternalFailure", 500, "oh")
    with runtime(monkeypatch, failure, good, failure) as server:
        subject = opened()
        assert subject.invoke(ONE, Target()) == [CAT]
        with pytest.raises(Unwell, match="sagemaker://scenes in eu-west-1 answered 500 InternalFailure: oh"):
            subject.invoke(ONE, Target())
        assert len(server.requests) == 4


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_an_input_that_the_model_refuses_fails_alone(
    opened: Open, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with runtime(monkeypatch, model_error(status), good) as server:
        answers = opened(concurrency=1).invoke(ONE * 2, Target())
        assert len(server.requests) == 2
    assert answers == [Failure("not a picture"), CAT]


@pytest.mark.parametrize("status", [404, 500, 502])
def test_a_model_that_fails_is_not_asked_again(opened: Open, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with runtime(monkeypatch, model_error(status, "it\nbroke")) as server:
        with pytest.raises(Unwell, match=f"the model of endpoint sagemaker://scenes answered {status}: "):
            opened().invoke(ONE, Target())
        assert len(server.requests) == 1


DENIED = [
    (aws_error("ValidationError", 400, "Endpoint scenes of account 1 not found."), "no endpoint scenes in eu-west-1"),
    (aws_error("ValidationError", 400, "Could not find variant x"), "check name, region and variant"),
    (aws_error("AccessDeniedException", 403, "User is not authorized"), "allow these credentials sagemaker:Invoke"),
    (aws_error("ExpiredTokenException", 403, "The security token is expired"), "credentials have expired"),
    (aws_error("UnrecognizedClientException", 403), "AWS does not know these credentials"),
    (aws_error("InvalidSignatureException", 403), "check AWS_SECRET_ACCESS_KEY and this machine's clock"),
    (answer(b"", 403), "check credentials and permissions"),
]


@pytest.mark.parametrize(("reply", "remedy"), DENIED, ids=[remedy[:20] for _, remedy in DENIED])
def test_what_a_person_must_mend_says_how_and_is_left_alone(
    opened: Open, monkeypatch: pytest.MonkeyPatch, reply: Reply, remedy: str
) -> None:
    with runtime(monkeypatch, reply) as server:
        subject = opened(breaker=Breaker("x", limit=2))
        for _ in range(2):
            with pytest.raises(Denied, match=remedy):
                subject.invoke(ONE, Target())
        with pytest.raises(CircuitOpen, match=remedy):
            subject.invoke(ONE, Target())
        assert len(server.requests) == 2


def test_a_failure_that_speaks_of_not_finding_is_still_a_failure(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with runtime(monkeypatch, aws_error("InternalFailure", 500, "shard not found"), good):
        assert opened().invoke(ONE, Target()) == [CAT]


def test_another_validation_error_is_this_requests(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with runtime(monkeypatch, aws_error("ValidationError", 400, "the body is empty")):
        assert opened().invoke(ONE, Target()) == [Failure("the body is empty")]


BROKEN: list[tuple[Reply, type[EndpointError]]] = [
    (reset, Unwell),
    (then_close(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")), Unwell),
    (answer(b"{nonsense"), WrongAnswer),
    (answer(b'{"predictions": [[NaN, 1]]}'), WrongAnswer),
    (answer({"strange": True}), WrongAnswer),
    (answer(b"", 301), Unwell),
    (answer(b"{}", 418), Refused),
]


@pytest.mark.parametrize(("reply", "kind"), BROKEN, ids=range(len(BROKEN)))
def test_broken_answers_are_endpoint_errors_and_it_recovers(
    opened: Open, monkeypatch: pytest.MonkeyPatch, reply: Reply, kind: type[EndpointError]
) -> None:
    broken = [reply] * (2 if reply in (BROKEN[0][0], BROKEN[1][0]) else 1)
    with runtime(monkeypatch, *broken, good):
        subject = opened()
        with pytest.raises(kind, match="sagemaker://scenes"):
            subject.invoke(ONE, Target())
        assert subject.invoke(ONE, Target()) == [CAT]


def test_a_wrong_count_is_an_error(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    three = answer({"predictions": [cat()] * 3})
    with runtime(monkeypatch, three), pytest.raises(WrongAnswer, match="2 inputs sent, 3 predictions came back"):
        opened(batch=2).invoke(ONE * 2, Target())


def test_a_stall_ends_by_the_timeout_or_the_deadline(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    start = time.monotonic()
    with runtime(monkeypatch, stall):
        with pytest.raises(TooSlow, match="sagemaker://scenes did not answer in time"):
            opened(timeout=0.15).invoke(ONE, Target())
        assert opened().invoke(ONE * 2, Target(), time.monotonic() + 0.15) == [Failure("deadline")] * 2
    assert time.monotonic() - start < 10


def test_without_credentials_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with runtime(monkeypatch, good) as server:
        with pytest.raises(Denied, match=r"no AWS credentials were found: .*AWS_ACCESS_KEY_ID"):
            opened_anew().invoke(ONE, Target())
        with pytest.raises(Denied, match="no AWS credentials were found"):
            opened_anew().check()
        assert server.requests == []


def test_check_says_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with runtime(monkeypatch, answer({}, 404)) as server:
        said = opened_anew().check()
        assert "authorization" not in server.requests[0].headers
    assert "credentials found (env), SageMaker's runtime in eu-west-1 answered" in said


def test_the_region_is_the_addresss_else_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    with runtime(monkeypatch, good) as server:
        opened_anew("?region=us-west-2").invoke(ONE, Target())
        assert "/us-west-2/sagemaker/aws4_request" in server.requests[0].headers["authorization"]
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SettingsError, match=r"needs a region: add \?region=eu-west-1, or set AWS_DEFAULT_REGION"):
        opened_anew()


def test_more_than_six_mebibytes_are_not_sent(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with runtime(monkeypatch, good) as server:
        first, second = opened().invoke([Input(bytes(6_291_456)), Input(bytes(6_291_457))], Target())
        assert len(server.requests) == 1
    assert first == CAT
    assert isinstance(second, Failure)
    assert "takes at most 6291456" in second.reason


WRONG_ADDRESSES = [
    "sagemaker://",
    "sagemaker://?region=x",
    "sagemaker://two words",
    "sagemaker://key:hunter2@scenes",
    "sagemaker://scenes/path",
    "sagemaker://scenes?zone=a",
    "sagemaker://scenes?region=",
    "sagemaker://scenes?variant=a&variant=b",
    "sagemaker://scenes?mode=fast",
    "sagemaker://scenes?input=s3://bucket/prefix",
    "sagemaker://scenes?mode=async&input=/folder",
    "sagemaker://scenes?mode=async&variant=a",
]


@pytest.mark.parametrize("address", WRONG_ADDRESSES)
def test_wrong_addresses_are_refused_with_a_remedy(address: str) -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_ENDPOINT") as refused:
        open_endpoint(EndpointSpec(address))
    assert "hunter2" not in str(refused.value)
