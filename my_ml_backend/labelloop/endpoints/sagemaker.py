"""SageMaker endpoints: their addresses, InvokeEndpoint, and what its errors mean.

Names and statuses: the service's model in botocore (API version 2017-05-13), and AWS's common errors.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from labelloop.endpoints.aws import Aws
from labelloop.endpoints.base import Call, Service, Told
from labelloop.endpoints.failures import INPUT_AT_FAULT, Busy, Denied, Refused, Stumbled, Unwell, of_handler, reason_of
from labelloop.endpoints.http import Poster, merged, pause_of
from labelloop.endpoints.spec import EndpointPlan, EndpointSpec, address_options
from labelloop.errors import SettingsError

PAYLOAD_BYTES = 6_291_456
"""6 MiB, the most that InvokeEndpoint takes as Body."""


@dataclass(frozen=True, slots=True)
class SageMakerAddress:
    """``sagemaker://NAME?region=&variant=&target_model=&inference_component=&mode=async&input=s3://bucket/prefix``."""

    name: str
    region: str = ""
    variant: str = ""
    target_model: str = ""
    inference_component: str = ""
    mode: str = ""
    input: str = ""

    @property
    def shown(self) -> str:
        """Name it in errors."""
        return f"sagemaker://{self.name}"

    @property
    def headers(self) -> dict[str, str]:
        """Which part of the endpoint is meant."""
        named = {
            "X-Amzn-SageMaker-Target-Variant": self.variant,
            "X-Amzn-SageMaker-Target-Model": self.target_model,
            "X-Amzn-SageMaker-Inference-Component": self.inference_component,
        }
        return {name: value for name, value in named.items() if value}


_EXAMPLE = "sagemaker://NAME?region=eu-west-1"
_OPTIONS = ("region", "variant", "target_model", "inference_component", "mode", "input")


def sagemaker_plan(spec: EndpointSpec) -> EndpointPlan:
    """Read the address and the AWS configuration; raises SettingsError."""
    address = sagemaker_address(spec.address)
    return plan_as(Aws(address.region), address, spec)


def plan_as(aws: Aws, address: SageMakerAddress, spec: EndpointSpec) -> EndpointPlan:
    """Plan for an address, as whom ``aws`` says we are, where it says that SageMaker is."""
    if address.mode == "async":
        from labelloop.endpoints import sagemaker_async

        kind: Callable[..., Service] = sagemaker_async.SageMakerAsync
        payload = sagemaker_async.PAYLOAD_BYTES
    else:
        kind, payload = SageMaker, PAYLOAD_BYTES

    def service(connections: int) -> Service:
        return kind(address, aws, dict(spec.headers), connections)

    return EndpointPlan("sagemaker", address.name, address.shown, payload, service)


def sagemaker_address(text: str) -> SageMakerAddress:
    """Take an address apart; raises SettingsError."""
    parts = urlsplit(text)
    options = address_options(text, _OPTIONS, _EXAMPLE)
    if (
        not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,62}", parts.netloc)
        or parts.path not in ("", "/")
        or parts.fragment
    ):
        raise SettingsError(f"LABELLOOP_ENDPOINT: expected an endpoint's name after sagemaker://: {_EXAMPLE}")
    address = SageMakerAddress(parts.netloc, **options)
    _check_mode(address)
    return address


def _check_mode(address: SageMakerAddress) -> None:
    if address.mode not in ("", "async"):
        raise SettingsError(f"LABELLOOP_ENDPOINT: the mode of {address.shown} can only be async, or be left out")
    if address.input and (address.mode != "async" or not re.fullmatch(r"s3://[a-z0-9.-]{3,63}(/.*)?", address.input)):
        raise SettingsError(
            f"LABELLOOP_ENDPOINT: the input of {address.shown} is a folder in S3, and goes with mode=async: "
            "?mode=async&input=s3://bucket/prefix"
        )
    if address.mode == "async" and address.headers:
        raise SettingsError(
            f"LABELLOOP_ENDPOINT: an asynchronous call takes no variant, target_model or inference_component, "
            f"{address.shown} has both"
        )


class SageMaker:
    """Signs each call and posts it; ``headers`` go along and are never shown."""

    def __init__(self, address: SageMakerAddress, aws: Aws, headers: Mapping[str, str], connections: int) -> None:
        self._address = address
        self._aws = aws
        self._headers = merged(headers, address.headers)
        self._url = f"{aws.runtime_url}/endpoints/{quote(address.name, safe='')}/invocations"
        self._path = urlsplit(self._url).path
        self._poster = Poster(aws.runtime_url, address.shown, connections, aws.bundle)

    def call(self, call: Call) -> Told:
        """Invoke once; see Service."""
        headers = self._aws.sign(
            "POST", self._url, call.body.content, merged({"Content-Type": call.body.media_type}, self._headers)
        )
        reply = self._poster.send("POST", self._path, call.body.content, headers, call.until)
        raise_for_aws(reply, self._address.shown, self._aws.region)
        variant = reply.headers.get("x-amzn-invoked-production-variant", "")
        return replace(reply, version=f"{self._address.name}/{variant}" if variant else "")

    def check(self, until: float) -> str:
        """Look for credentials and the service; there is no call that asks for an endpoint without predicting."""
        return reached(self._poster, self._aws, self._address.shown, until)


def reached(poster: Poster, aws: Aws, shown: str, until: float) -> str:
    """Find credentials, and send the service one unsigned request, to which any answer will do."""
    method = aws.identity()
    start = time.monotonic()
    poster.send("GET", "/", None, {}, until)
    return (
        f"endpoint {shown}: credentials found ({method}), SageMaker's runtime in {aws.region} answered in "
        f"{1000 * (time.monotonic() - start):.0f} ms; whether the endpoint predicts, `labelloop probe` shows"
    )


_BUSY = (
    "ModelNotReadyException",
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalDependencyException",
)
_EXPIRED = (
    "the session's credentials have expired: get new ones and start LabelLoop again, or use a role, which renews them"
)
_REMEDIES = {
    "AccessDeniedException": "allow these credentials sagemaker:InvokeEndpoint (or sagemaker:InvokeEndpointAsync)",
    "ExpiredTokenException": _EXPIRED,
    "ExpiredToken": _EXPIRED,
    "UnrecognizedClientException": "AWS does not know these credentials: check AWS_ACCESS_KEY_ID",
    "InvalidClientTokenId": "AWS does not know these credentials: check AWS_ACCESS_KEY_ID",
    "InvalidSignatureException": "the signature is wrong: check AWS_SECRET_ACCESS_KEY and this machine's clock",
    "SignatureDoesNotMatch": "the signature is wrong: check AWS_SECRET_ACCESS_KEY and this machine's clock",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "MissingAuthenticationToken": "no credentials arrived: check what lies between here and AWS",
}


def raise_for_aws(reply: Told, shown: str, region: str, good: int = 200) -> None:
    """Raise what an answer that is not ``good`` means."""
    if reply.status == good:
        return
    error = _error(reply)
    name = _name(reply, error)
    said = reason_of(reply.content)
    message = f"endpoint {shown} in {region} answered {reply.status}" + (f" {name}" if name else "")
    message += f": {said}" if said else ""
    if name == "ModelError" or reply.status == 424:
        _judge_model(error, shown, pause_of(reply), handled=of_handler(reply.content))
    if name in _BUSY or reply.status in (429, 503, 530):
        raise Busy(message, pause_of(reply))
    if name in _REMEDIES or reply.status in (401, 403):
        raise Denied(f"{message}; {_REMEDIES.get(name, 'check credentials and permissions')}")
    if reply.status == 404 or (reply.status == 400 and re.search("not found|could not find", said, re.IGNORECASE)):
        raise Denied(
            f"there is no endpoint {shown.partition('://')[2]} in {region}, or not the part of it that is asked for: "
            f"{said or message}; check name, region and variant in its address"
        )
    if 400 <= reply.status < 500:
        raise Refused(message, reply.status, said)
    if reply.status >= 500:
        raise Stumbled(message, pause_of(reply), tries=2 if reply.status == 500 else 1)
    raise Unwell(message)


def _judge_model(error: dict[str, Any], shown: str, pause: float | None, *, handled: bool) -> None:
    """Raise what the container inside answered; ``handled``: its model's code has failed."""
    status = error.get("OriginalStatusCode")
    original = error.get("OriginalMessage")
    said = (reason_of(original) if isinstance(original, str) else "") or reason_of(json.dumps(error))
    message = f"the model of endpoint {shown} answered {status or 'an error'}" + (f": {said}" if said else "")
    if status in (429, 503) and not handled:
        raise Busy(message, pause)
    if status in INPUT_AT_FAULT:
        raise Refused(message, status, said)
    raise (Stumbled if not isinstance(status, int) or status >= 500 else Unwell)(message)


def _error(reply: Told) -> dict[str, Any]:
    try:
        error = json.loads(reply.content)
    except (ValueError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {}


def _name(reply: Told, error: dict[str, Any]) -> str:
    """``ModelError`` of ``ModelError:http://internal.amazon.com/...`` or ``namespace#ModelError``."""
    named = reply.headers.get("x-amzn-errortype") or error.get("__type") or error.get("ErrorCode") or ""
    return named.partition(":")[0].rpartition("#")[2] if isinstance(named, str) else ""
