"""Lambda functions that hold our inference server: ``lambda://FUNCTION?region=&alias=`` (docs/endpoints.md).

Each call is an Invoke (API version 2015-03-31) with the event that a function URL would send: whoever may invoke the
function may ask it, and no URL is needed.
"""

import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from labelloop.endpoints.aws import Aws
from labelloop.endpoints.base import Call, Told
from labelloop.endpoints.failures import Denied, Stumbled, TooSlow, WrongAnswer, one_line
from labelloop.endpoints.http import Poster, merged, raise_for_status
from labelloop.endpoints.sagemaker import raise_for_aws
from labelloop.endpoints.spec import EndpointPlan, EndpointSpec, address_options
from labelloop.errors import SettingsError
from labelloop.types import Json

PAYLOAD_BYTES = 4_669_440
"""Most bytes of a body: Lambda takes 6 MiB, of JSON with the body as base64 (serve/function.py)."""

_EXAMPLE = "lambda://FUNCTION?region=eu-west-1&alias=live"


@dataclass(frozen=True, slots=True)
class FunctionAddress:
    """``lambda://NAME?region=&alias=``; the alias may be a number, of a version that Lambda has published."""

    name: str
    region: str = ""
    alias: str = "live"

    @property
    def shown(self) -> str:
        """Name it in errors."""
        return f"lambda://{self.name}"


def function_plan(spec: EndpointSpec) -> EndpointPlan:
    """Read the address and the AWS configuration; raises SettingsError."""
    parts, options = urlsplit(spec.address), address_options(spec.address, ("region", "alias"), _EXAMPLE)
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", parts.netloc) or parts.path not in ("", "/"):
        raise SettingsError(f"LABELLOOP_ENDPOINT: expected a function's name after lambda://: {_EXAMPLE}")
    address = FunctionAddress(parts.netloc, **options)
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", address.alias):
        raise SettingsError(f"LABELLOOP_ENDPOINT: the alias of {address.shown} is a name such as live")
    aws = Aws(address.region, "lambda", "lambda")

    def service(connections: int) -> LambdaFunction:
        return LambdaFunction(address, aws, dict(spec.headers), connections)

    return EndpointPlan("http", address.name, address.shown, PAYLOAD_BYTES, service)


class LambdaFunction:
    """Invokes one function and waits for its answer; ``headers`` go along in its event and are never shown."""

    def __init__(self, address: FunctionAddress, aws: Aws, headers: Mapping[str, str], connections: int) -> None:
        self._address, self._aws, self._headers = address, aws, headers
        path = f"/2015-03-31/functions/{quote(address.name)}/invocations?Qualifier={quote(address.alias)}"
        self._url = f"{aws.runtime_url}{path}"
        self._path = self._url.removeprefix("{0.scheme}://{0.netloc}".format(urlsplit(self._url)))
        self._poster = Poster(aws.runtime_url, address.shown, connections, aws.bundle)

    def call(self, call: Call) -> Told:
        """Invoke once; see Service."""
        headers = merged({"Content-Type": call.body.media_type}, self._headers)
        reply = self._invoke(_event(call.body.content, headers), "RequestResponse", call.until)
        told = _answer(reply, self._address.shown)
        raise_for_status(told, self._address.shown)
        return told

    def check(self, until: float) -> str:
        """Have Lambda check whether we may invoke it, without doing so."""
        start = time.monotonic()
        self._invoke({}, "DryRun", until)
        took = 1000 * (time.monotonic() - start)
        return f"endpoint {self._address.shown} is there, and may be invoked ({took:.0f} ms)"

    def _invoke(self, event: Json, kind: str, until: float) -> Told:
        content = json.dumps(event).encode()
        headers = {"Content-Type": "application/json", "X-Amz-Invocation-Type": kind}
        signed = self._aws.sign("POST", self._url, content, headers)
        reply = self._poster.send("POST", self._path, content, signed, until)
        if reply.status not in (200, 204):
            self._refuse(reply)
        if reply.headers.get("x-amz-function-error"):
            raise _failed(reply, self._address.shown)
        return reply

    def _refuse(self, reply: Told) -> None:
        named = reply.headers.get("x-amzn-errortype", "")
        whole, where = f"function {self._address.name} ({self._address.alias})", self._aws.region
        if named.startswith("AccessDenied"):
            raise Denied(f"{whole} in {where} may not be asked: allow these credentials lambda:InvokeFunction on it")
        if reply.status == 404:
            raise Denied(f"there is no {whole} in {where}: check its address, or deploy a first version")
        raise_for_aws(reply, self._address.shown, where)


def _event(content: bytes, headers: Mapping[str, str]) -> Json:
    return {
        "version": "2.0",
        "rawPath": "/invocations",
        "rawQueryString": "",
        "headers": {name.lower(): text for name, text in headers.items()},
        "requestContext": {"http": {"method": "POST", "path": "/invocations"}, "stage": "$default"},
        "body": b64encode(content).decode(),
        "isBase64Encoded": True,
    }


def _answer(reply: Told, shown: str) -> Told:
    """Read what the function answers, as a function URL would; raises WrongAnswer."""
    try:
        told = json.loads(reply.content)
        body = b64decode(told["body"]) if told.get("isBase64Encoded") else told["body"].encode()
        headers = {name.lower(): str(text) for name, text in told.get("headers", {}).items()}
        return Told(body, int(told["statusCode"]), headers, headers.get("content-type", ""))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise WrongAnswer(
            f"endpoint {shown} gave no answer of an HTTP function ({error!r}): it is to run labelloop.serve.function"
        ) from None


def _failed(reply: Told, shown: str) -> Stumbled | TooSlow:
    """Read the error of a function that gave no answer: ``{"errorMessage", "errorType"}``."""
    try:
        said = one_line(json.loads(reply.content).get("errorMessage"))
    except (ValueError, AttributeError, RecursionError):
        said = ""
    message = f"the function of endpoint {shown} failed: {said or 'its log says why'}"
    return TooSlow(message) if "timed out" in said else Stumbled(message)
