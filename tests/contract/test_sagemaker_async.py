"""Asynchronous SageMaker endpoints: a runtime that takes requests, and a real S3 where inputs and results lie."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from boto3.session import Session

from labelloop.endpoints import breaker, sagemaker_async
from labelloop.endpoints.caller import Caller
from labelloop.endpoints.failures import Busy, Denied, TooSlow, Unwell, WrongAnswer
from labelloop.endpoints.sagemaker import sagemaker_plan
from labelloop.endpoints.spec import EndpointSpec
from labelloop.types import Answer, Failure, Input, Output, Target
from support.aws_wire import KEY, REGION, SECRET, aws_account, aws_error, signature_is_right
from support.misbehaving import Exchange, Misbehaving, Reply, answer, cat, misbehaving, reset
from support.moto_server import moto_server

CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "v1")
ONE = [Input(b"a picture", "image/png")]
GOOD = json.dumps({"predictions": [cat()]}).encode()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture(autouse=True)
def account(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    aws_account(monkeypatch, s3=moto)


@pytest.fixture(scope="module")
def s3(moto: str) -> Iterator[Any]:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    client: Any = Session(region_name=REGION, **keys).client("s3", endpoint_url=moto)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return name


def accepted(bucket: str) -> Reply:
    """Take the request: result and failure will be in the bucket."""
    output = f"X-Amzn-SageMaker-OutputLocation: s3://{bucket}/out/one.out\r\n"
    failure = f"X-Amzn-SageMaker-FailureLocation: s3://{bucket}/failed/one.out\r\n"
    return answer({"InferenceId": "one"}, 202, output + failure)


def then_writes(s3: Any, bucket: str, key: str, content: bytes) -> Reply:
    """Take the request and have the result at once."""

    def reply(exchange: Exchange) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/json")
        accepted(bucket)(exchange)

    return reply


def ask(
    monkeypatch: pytest.MonkeyPatch, server: Misbehaving, item: Input = ONE[0], options: str = "", **form: Any
) -> Answer | Failure:
    (found,) = opened(monkeypatch, server, options, **form).invoke([item], Target())
    return found


def opened(monkeypatch: pytest.MonkeyPatch, server: Misbehaving, options: str = "", **form: Any) -> Caller:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.address)
    spec = EndpointSpec(f"sagemaker://slow?mode=async{options}", **{"timeout": 20.0} | form)
    return Caller(sagemaker_plan(spec), spec)


def test_a_small_request_goes_inline_as_boto3_sends_it(monkeypatch: pytest.MonkeyPatch, s3: Any, bucket: str) -> None:
    with misbehaving(then_writes(s3, bucket, "out/one.out", GOOD)) as server:
        assert ask(monkeypatch, server) == CAT
        client: Any = Session().client("sagemaker-runtime")
        client.invoke_endpoint_async(EndpointName="slow", Body=b"a picture", ContentType="image/png")
        client.close()
        ours, theirs = server.requests
    assert ours.line == theirs.line == "POST /endpoints/slow/async-invocations HTTP/1.1"
    assert ours.body == theirs.body == b"a picture"
    kind = "x-amzn-sagemaker-content-type"
    assert ours.headers[kind] == theirs.headers[kind] == "image/png"
    assert signature_is_right(ours)


def test_a_large_request_goes_through_s3(monkeypatch: pytest.MonkeyPatch, s3: Any, bucket: str) -> None:
    large = Input(bytes(128_001), "image/png")
    with misbehaving(then_writes(s3, bucket, "out/one.out", GOOD)) as server:
        assert ask(monkeypatch, server, large, f"&input=s3://{bucket}/in") == CAT
        (request,) = server.requests
    assert request.body == b""
    location = request.headers["x-amzn-sagemaker-inputlocation"]
    assert location.startswith(f"s3://{bucket}/in/")
    stored = s3.get_object(Bucket=bucket, Key=location.removeprefix(f"s3://{bucket}/"))
    assert (stored["Body"].read(), stored["ContentType"]) == (large.content, "image/png")
    assert signature_is_right(request)


def test_a_large_request_without_a_place_says_what_to_do(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    with misbehaving(accepted(bucket)) as server:
        found = ask(monkeypatch, server, Input(bytes(128_001)))
        assert server.requests == []
    assert isinstance(found, Failure)
    assert "128001 bytes as sent" in found.reason
    assert "add &input=s3://bucket/prefix" in found.reason


def test_an_object_in_s3_is_referred_to(monkeypatch: pytest.MonkeyPatch, s3: Any, bucket: str) -> None:
    with misbehaving(then_writes(s3, bucket, "out/one.out", GOOD)) as server:
        found = ask(monkeypatch, server, Input(uri=f"s3://{bucket}/pictures/a b.png"), request="reference")
        assert found == CAT
        assert server.requests[0].headers["x-amzn-sagemaker-inputlocation"] == f"s3://{bucket}/pictures/a b.png"
        assert server.requests[0].body == b""


def test_a_result_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch, s3: Any, bucket: str) -> None:
    writing = threading.Timer(0.3, s3.put_object, kwargs={"Bucket": bucket, "Key": "out/one.out", "Body": GOOD})

    def soon(exchange: Exchange) -> None:
        writing.start()
        accepted(bucket)(exchange)

    with misbehaving(soon) as server:
        assert ask(monkeypatch, server) == CAT
    writing.join()


def test_a_result_is_looked_for_again_when_s3_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sagemaker_async, "FIRST_LOOK", 0.01)

    def found(exchange: Exchange) -> None:
        (answer(GOOD) if "/out/" in exchange.request.line else answer(b"", 404))(exchange)

    with misbehaving(accepted("bucket")) as server, misbehaving(*[answer(b"", 503)] * 7, reset, found) as storage:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", storage.address)
        assert ask(monkeypatch, server) == CAT
        assert len(server.requests) == 1, "the model is not asked again"


def test_an_input_that_cannot_be_written_for_now_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 0.01)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with misbehaving(accepted("bucket")) as server:
        with pytest.raises(Busy, match="could not be written to s3://bucket/in: EndpointConnectionError"):
            ask(monkeypatch, server, Input(bytes(128_001)), "&input=s3://bucket/in")
        assert server.requests == []


def test_a_failure_in_s3_is_the_inputs_reason(monkeypatch: pytest.MonkeyPatch, s3: Any, bucket: str) -> None:
    failure = b"Received client error (400) from primary: not a picture\nwith message"
    with misbehaving(then_writes(s3, bucket, "failed/one.out", failure)) as server:
        found = ask(monkeypatch, server)
    assert found == Failure("Received client error (400) from primary: not a picture with message")


def test_a_result_that_never_comes_ends_by_timeout_or_deadline(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    start = time.monotonic()
    with misbehaving(accepted(bucket)) as server:
        with pytest.raises(TooSlow, match="sagemaker://slow was not in S3 in time: raise LABELLOOP_ENDPOINT_TIMEOUT"):
            ask(monkeypatch, server, timeout=0.3)
        subject = opened(monkeypatch, server)
        assert subject.invoke(ONE, Target(), time.monotonic() + 0.3) == [Failure("deadline")]
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("content", [b"{nonsense", b'{"predictions": [[NaN, 1]]}', b'{"strange": 1}'])
def test_a_wrong_result_is_an_error(monkeypatch: pytest.MonkeyPatch, s3: Any, bucket: str, content: bytes) -> None:
    with misbehaving(then_writes(s3, bucket, "out/one.out", content)) as server, pytest.raises(WrongAnswer):
        ask(monkeypatch, server)


def test_an_answer_without_a_place_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    placeless = answer({"InferenceId": "one"}, 202)
    with misbehaving(placeless) as server, pytest.raises(WrongAnswer, match="did not say where in S3"):
        ask(monkeypatch, server)


def test_a_bucket_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    with misbehaving(accepted("no-such-bucket")) as server:
        with pytest.raises(
            Denied, match="could not be read from s3://no-such-bucket: NoSuchBucket; it needs s3:PutObj"
        ):
            ask(monkeypatch, server)
        with pytest.raises(Denied, match="could not be written to s3://no-such-bucket/in: NoSuchBucket"):
            ask(monkeypatch, server, Input(bytes(200_000)), "&input=s3://no-such-bucket/in")


def test_errors_of_the_runtime_are_those_of_the_other_calls(
    monkeypatch: pytest.MonkeyPatch, s3: Any, bucket: str
) -> None:
    busy = aws_error("ServiceUnavailable", 503)
    refused = aws_error("ValidationError", 400, "Endpoint slow of account 1 not found.")
    with misbehaving(busy, then_writes(s3, bucket, "out/one.out", GOOD), refused, aws_error("X", 502)) as server:
        subject = opened(monkeypatch, server)
        assert subject.invoke(ONE, Target()) == [CAT]
        with pytest.raises(Denied, match="there is no endpoint slow in eu-west-1"):
            subject.invoke(ONE, Target())
        with pytest.raises(Unwell, match="answered 502"):
            subject.invoke(ONE, Target())


def test_check_looks_for_credentials_and_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(answer({}, 404)) as server:
        assert "credentials found (env)" in opened(monkeypatch, server).check()
