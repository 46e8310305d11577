"""Calls of an asynchronous SageMaker endpoint: InvokeEndpointAsync, then its result in S3, polled for."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from labelloop.endpoints.aws import Aws
from labelloop.endpoints.base import Call, Told
from labelloop.endpoints.failures import Busy, Denied, Refused, TooSlow, Unwell, WrongAnswer, one_line, reason_of
from labelloop.endpoints.http import MAX_ANSWER_BYTES, Poster, merged
from labelloop.endpoints.sagemaker import SageMakerAddress, raise_for_aws, reached
from labelloop.sources.s3 import S3Failure, bucket_and_key, s3_exceptions, s3_failure

INLINE_BYTES = 128_000
"""The most that InvokeEndpointAsync takes as Body; more goes through S3."""
PAYLOAD_BYTES = 1_000_000_000
FIRST_LOOK = 0.25
LONGEST_PAUSE = 5.0
"""Seconds between two looks at S3; the pauses grow by half."""


class SageMakerAsync:
    """Sends a request inline or through S3, and waits for its result until the call's time is over."""

    def __init__(self, address: SageMakerAddress, aws: Aws, headers: Mapping[str, str], connections: int) -> None:
        self._address = address
        self._aws = aws
        self._headers = headers
        self._url = f"{aws.runtime_url}/endpoints/{quote(address.name, safe='')}/async-invocations"
        self._path = urlsplit(self._url).path
        self._poster = Poster(aws.runtime_url, address.shown, connections, aws.bundle)
        self._s3 = aws.s3(connections)

    def call(self, call: Call) -> Told:
        """Invoke once and wait for the result; see Service."""
        body, headers = self._input(call)
        signed = self._aws.sign("POST", self._url, body, headers)
        reply = self._poster.send("POST", self._path, body, signed, call.until)
        raise_for_aws(reply, self._address.shown, self._aws.region, good=202)
        output = reply.headers.get("x-amzn-sagemaker-outputlocation", "")
        failure = reply.headers.get("x-amzn-sagemaker-failurelocation", "")
        if not output.startswith("s3://"):
            raise WrongAnswer(f"endpoint {self._address.shown} did not say where in S3 its result will be")
        return self._result(output, failure, call.until)

    def check(self, until: float) -> str:
        """Look for credentials and the service."""
        return reached(self._poster, self._aws, self._address.shown, until)

    def _input(self, call: Call) -> tuple[bytes, dict[str, str]]:
        """Choose what goes as body and headers: the request itself, or where in S3 it is."""
        if (location := _referred(call)) is not None:
            return b"", merged(self._headers, {"X-Amzn-SageMaker-InputLocation": location})
        headers = merged({"X-Amzn-SageMaker-Content-Type": call.body.media_type}, self._headers)
        if len(call.body.content) <= INLINE_BYTES:
            return call.body.content, headers
        return b"", headers | {"X-Amzn-SageMaker-InputLocation": self._uploaded(call)}

    def _uploaded(self, call: Call) -> str:
        if not self._address.input:
            reason = (
                f"it is {len(call.body.content)} bytes as sent, more than goes inline ({INLINE_BYTES}): add "
                "&input=s3://bucket/prefix to the endpoint's address"
            )
            raise Refused(f"endpoint {self._address.shown}: {reason}", 413, reason)
        location = f"{self._address.input.rstrip('/')}/{hashlib.sha256(call.body.content).hexdigest()}"
        bucket, key = bucket_and_key(location)
        try:
            self._s3.put_object(Bucket=bucket, Key=key, Body=call.body.content, ContentType=call.body.media_type)
        except s3_exceptions() as error:
            raise self._no_s3("the request could not be written to", self._address.input, s3_failure(error)) from None
        return location

    def _result(self, output: str, failure: str, until: float) -> Told:
        pause = FIRST_LOOK
        while True:
            if (told := self._read(output)) is not None:
                return told
            if failure and (told := self._read(failure)) is not None:
                raise _failed(self._address.shown, told.content)
            left = until - time.monotonic()
            if left <= 0:
                raise TooSlow(
                    f"the result of endpoint {self._address.shown} was not in S3 in time: raise "
                    "LABELLOOP_ENDPOINT_TIMEOUT if it takes longer, and allow s3:GetObject, s3:ListBucket there"
                )
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _read(self, location: str) -> Told | None:
        """Read an object; None while it is not there, or S3 is not.

        Without s3:ListBucket, S3 says 403 for what is not there.
        """
        bucket, key = bucket_and_key(location)
        try:
            found: Any = self._s3.get_object(Bucket=bucket, Key=key)
            content = found["Body"].read(MAX_ANSWER_BYTES + 1)
            found["Body"].close()
        except s3_exceptions() as error:
            failure = s3_failure(error)
            if failure.code in ("NoSuchKey", "404", "AccessDenied") or failure.passing:
                return None
            raise self._no_s3("its result could not be read from", f"s3://{bucket}", failure) from None
        return Told(content, media_type=str(found.get("ContentType", "")))

    def _no_s3(self, what: str, where: str, failure: S3Failure) -> Unwell:
        message = f"endpoint {self._address.shown}: {what} {where}: {one_line(failure.code)}"
        if failure.code in ("AccessDenied", "NoSuchBucket", "NoCredentialsError", "InvalidAccessKeyId", "ExpiredToken"):
            return Denied(f"{message}; it needs s3:PutObject there and s3:GetObject on the endpoint's output path")
        return Busy(message) if failure.passing else Unwell(message)


def _referred(call: Call) -> str | None:
    """The object that an input by reference is: SageMaker hands it to the container by itself."""
    if len(call.inputs) != 1 or call.inputs[0].content or call.inputs[0].prompt:
        return None
    uri = call.inputs[0].uri
    return uri if uri is not None and uri.startswith("s3://") else None


def _failed(shown: str, content: bytes) -> Refused | Unwell:
    """Read a failure object: JSON of the container, or a text."""
    said = reason_of(content) or one_line(content[:1000].decode(errors="replace"))
    return Refused(f"the model of endpoint {shown} failed: {said}", 422, said or "the model failed without a reason")
