"""Reading requests and writing answers of the inference container (docs/inference.md)."""

import binascii
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from flask import request

from labelloop.endpoints.answers.labelloop import write_item
from labelloop.front.protocol import check_json
from labelloop.serve.refusal import BadRequest
from labelloop.types import Answer, Failure, Findings, Json, ProjectKey, Target

MOST_INSTANCES = 10_000

PROJECT_HEADER = "X-LabelLoop-Project"
VERSION_HEADER = "X-LabelLoop-Version"


class Reference(NamedTuple):
    """A picture that is named by its address instead of sent."""

    uri: str


Item = bytes | Reference | Failure
"""One picture of a request: its bytes, where it is, or why it is none."""


def requested() -> Target:
    """Read which model the current Flask request asks for; raises BadRequest."""
    return read_target(request.headers.get(PROJECT_HEADER), request.headers.get(VERSION_HEADER))


def read_target(project: str | None, version: str | None) -> Target:
    """Read which model the two headers ask for; raises BadRequest."""
    if version is not None and not re.fullmatch(r"[\w.-]{1,100}", version, re.ASCII):
        raise BadRequest(f"{VERSION_HEADER} is no name of a version")
    try:
        return Target(None if project is None else ProjectKey.parse(project), version)
    except ValueError as error:
        raise BadRequest(f"{PROJECT_HEADER}: {error}") from None


def is_json(media_type: str, body: bytes) -> bool:
    """Whether a body holds instances rather than one picture; without a media type, whether it looks like JSON."""
    if not media_type:
        return body[:1] == b"{"
    return media_type == "application/json" or media_type.endswith("+json")


def read_body(body: bytes) -> list[Item] | Reference:
    """Read ``{"instances": [{"b64": ...}, {"uri": ...}, {"text": ...}]}``, or ``{"uri": ...}``: one that stands alone.

    An instance that is no input is a Failure. Raises BadRequest when the body as a whole is of another form.
    """
    try:
        check_json(body)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON") from None
    instances = content.get("instances") if isinstance(content, dict) else None
    if isinstance(instances, list):
        if len(instances) > MOST_INSTANCES:
            raise BadRequest(f"{len(instances)} instances in one request; at most {MOST_INSTANCES} are answered")
        return [_read_instance(instance) for instance in instances]
    if isinstance(content, dict) and isinstance(content.get("uri"), str):
        return Reference(content["uri"])
    raise BadRequest(
        'the body must be {"instances": [{"b64": "..."}, {"uri": "..."}, {"text": "..."}]}, {"uri": "..."}, '
        "or the bytes of one picture"
    )


def _read_instance(instance: object) -> Item:
    match instance:
        case {"b64": str(text)}:
            return _decoded(text)
        case {"uri": str(uri)}:
            return Reference(uri)
        case {"text": str(text)}:
            return text.encode(errors="surrogatepass")
    return Failure('an instance must be {"b64": "..."}, {"uri": "..."} or {"text": "..."}')


def _decoded(text: str) -> Item:
    try:
        # base64.b64decode(validate=True) is this after a regular expression over the whole text: twice the time.
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return Failure('"b64" is not base64')


def write_predictions(answers: Sequence[Answer | Failure]) -> Json:
    """Write the body of an answer."""
    return {"predictions": [_written(answer) for answer in answers]}


def _written(answer: Answer | Failure) -> Json:
    """Write one answer; regions say in answers of their own which version found them, as classes always do."""
    told = {"model_version": answer.model_version} if isinstance(answer, Findings) else {}
    return write_item(answer) | told
