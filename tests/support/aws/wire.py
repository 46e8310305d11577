"""A request of AWS's as it comes over the wire: which operation of which service it asks, and answers in its words."""

import gzip
import json
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from botocore.exceptions import UnknownServiceError
from botocore.loaders import create_loader
from botocore.model import ServiceModel
from moto.core.models import DEFAULT_ACCOUNT_ID
from werkzeug import Request, Response

from labelloop.types import Json

_NAMES = {
    "monitoring": "cloudwatch",
    "runtime.sagemaker": "sagemaker",
    "eventbridge": "events",
    "states": "stepfunctions",
    "apigateway": "apigatewayv2",
}
"""Names in signatures that are not those of boto3's clients."""


class Refused(Exception):
    """AWS says no: by this code, with this HTTP status; ``more`` stands in the answer of a REST service."""

    def __init__(self, code: str, message: str, status: int = 400, more: Json | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.more = code, message, status, more or {}


def invalid(message: str) -> Refused:
    """Say no as SageMaker mostly does."""
    return Refused("ValidationException", message)


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its service as boto3 names it, operation, and, where its body is JSON, what is asked for."""

    request: Request
    service: str
    operation: str
    region: str
    protocol: str
    parameters: Json = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The operation as IAM writes actions, such as ``sagemaker:CreateEndpoint``."""
        return f"{self.service}:{self.operation}"

    def arn(self, kind: str, name: str) -> str:
        """Name a thing of the service in the caller's region."""
        return f"arn:aws:{self.service}:{self.region}:{DEFAULT_ACCOUNT_ID}:{kind}/{name}"

    def answer(self, content: Json, status: int = 200) -> Response:
        """Answer in JSON."""
        kind = "application/json" if self.protocol == "rest-json" else "application/x-amz-json-1.1"
        return Response(json.dumps(content), status, content_type=kind)

    def refusal(self, refused: Refused) -> Response:
        """Answer an error as the service's protocol writes it."""
        return _REFUSALS[self.protocol](refused)


def read_call(request: Request) -> Call:
    """Find out what a request asks; what cannot be told has an empty operation."""
    service, region = _signed(request)
    target = request.headers.get("X-Amz-Target")
    if request.headers.get("Smithy-Protocol") == "rpc-v2-cbor":
        return Call(request, service, request.path.rpartition("/")[2], region, "cbor")
    if target:
        parameters = json.loads(_content(request) or b"{}")
        return Call(request, service, target.rpartition(".")[2], region, "json", parameters)
    if request.mimetype == "application/x-www-form-urlencoded":
        form = parse_qs(_content(request).decode())
        if "Action" in form:
            return Call(request, service, form["Action"][0], region, "query")
    protocol = "rest-xml" if service == "s3" else "rest-json"
    return Call(request, service, _rest_operation(service, request), region, protocol)


def _content(request: Request) -> bytes:
    """Give the body, which botocore packs where it is large and the service takes that, as CloudWatch does."""
    content = request.get_data()
    return gzip.decompress(content) if request.headers.get("Content-Encoding") == "gzip" else content


def _signed(request: Request) -> tuple[str, str]:
    """Read service and region from the signature; a request without one goes to S3, or is a service's own URL."""
    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", request.headers.get("Authorization", "")) or re.search(
        r"[^/]+/\d+/([^/]+)/([^/]+)/", request.args.get("X-Amz-Credential", "")
    )
    if scope is None:
        return "s3", "us-east-1"
    return _NAMES.get(scope[2], scope[2]), scope[1]


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    path: re.Pattern[str]
    query: frozenset[str]
    headers: frozenset[str]
    operation: str

    def fits(self, request: Request) -> bool:
        return (
            request.method == self.method
            and self.query <= request.args.keys()
            and all(name in request.headers for name in self.headers)
            and self.path.fullmatch(request.path) is not None
        )


def _rest_operation(service: str, request: Request) -> str:
    name = "sagemaker-runtime" if service == "sagemaker" else service
    return next((one.operation for one in _routes(name) if one.fits(request)), "")


@cache
def _routes(service: str) -> list[_Route]:
    """List a REST service's operations, those that ask for most first."""
    try:
        # Read anew: the clients of S3 change the paths in what their session has read.
        model = ServiceModel(create_loader().load_service_model(service, "service-2"), service)
    except UnknownServiceError:  # moto may know it
        return []
    operations = [model.operation_model(name) for name in model.operation_names]
    routes = [_route(one) for one in operations if not one.deprecated]  # they share the addresses of what replaced them
    return sorted(routes, key=lambda one: (-len(one.query) - len(one.headers), -len(one.path.pattern)))


def _route(model: Any) -> _Route:
    path, _, query = model.http["requestUri"].partition("?")
    pattern = re.sub(r"\\\{[^}]*?\\\}", "[^/]+", re.sub(r"\\\{[^}]*?\\\+\\\}", ".+", re.escape(path)))
    shape = model.input_shape
    needed = (
        [] if shape is None else [shape.members[name].serialization | {"": name} for name in shape.required_members]
    )
    return _Route(
        model.http["method"],
        re.compile(pattern + "/?"),
        frozenset(one.partition("=")[0] for one in query.split("&") if one)
        | {one["name"] for one in needed if one.get("location") == "querystring"},
        frozenset(one["name"] for one in needed if one.get("location") == "header"),
        model.name,
    )


def page(call: Call, found: Sequence[Json], name: str, most: int = 100) -> Json:
    """Give one page of a list, and the token of the next one."""
    begin = int(call.parameters.get("NextToken") or 0)
    end = begin + int(call.parameters.get("MaxResults") or most)
    more = {"NextToken": str(end)} if end < len(found) else {}
    return {name: list(found[begin:end]), **more}


def without_nothing(pairs: Iterable[tuple[str, Any]]) -> Json:
    """Leave out what has no value, as AWS does."""
    return {name: value for name, value in pairs if value is not None}


# An error, as each protocol writes it.
def _json(refused: Refused) -> Response:
    content = json.dumps({"__type": refused.code, "message": refused.message})
    return Response(content, refused.status, content_type="application/x-amz-json-1.1")


def _rest_json(refused: Refused) -> Response:
    content = json.dumps({"message": refused.message, "Message": refused.message, **refused.more})
    return Response(
        content, refused.status, {"x-amzn-ErrorType": refused.code, "Retry-After": "0"}, content_type="application/json"
    )


def _query(refused: Refused) -> Response:
    said = f"<Type>Sender</Type><Code>{escape(refused.code)}</Code><Message>{escape(refused.message)}</Message>"
    content = f"<ErrorResponse><Error>{said}</Error><RequestId>1</RequestId></ErrorResponse>"
    return Response(content, refused.status, content_type="text/xml")


def _rest_xml(refused: Refused) -> Response:
    said = f"<Code>{escape(refused.code)}</Code><Message>{escape(refused.message)}</Message>"
    content = f'<?xml version="1.0" encoding="UTF-8"?><Error>{said}<RequestId>1</RequestId></Error>'
    return Response(content, refused.status, content_type="application/xml")


def _cbor(refused: Refused) -> Response:
    texts = [_cbor_text(text) for text in ("__type", refused.code, "message", refused.message)]
    return Response(
        b"\xa2" + b"".join(texts),
        refused.status,
        {"smithy-protocol": "rpc-v2-cbor"},
        content_type="application/cbor",
    )


def _cbor_text(text: str) -> bytes:
    """Encode one text (RFC 8949, section 3.1, major type 3)."""
    content = text.encode()
    return b"\x79" + struct.pack(">H", len(content)) + content


_REFUSALS = {"json": _json, "rest-json": _rest_json, "query": _query, "rest-xml": _rest_xml, "cbor": _cbor}
