"""Reading requests and writing answers of the inference container (docs/inference.md)."""

import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from flask import request

from labelloop.endpoints.answers.labelloop import write_item
from labelloop.front.protocol import check_json
from labelloop.serve.engines.head import Seen
from labelloop.serve.refusal import BadRequest
from labelloop.types import Answer, Failure, Findings, Json, ProjectKey, Target

MOST_INSTANCES = 10_000

_DIGITS = 6
"""Decimals of a feature: more than half precision has, in half the bytes."""

PROJECT_HEADER = "X-LabelLoop-Project"
VERSION_HEADER = "X-LabelLoop-Version"
FEATURES_HEADER = "X-LabelLoop-Features"
ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"
"""The one header of a caller's own that SageMaker hands on."""


class Reference(NamedTuple):
    """A picture that is named by its address instead of sent."""

    uri: str


Item = bytes | Reference | Failure
"""One picture of a request: its bytes, where it is, or why it is none."""


def requested() -> Target:
    """Read which model the current Flask request asks for; raises BadRequest."""
    target = read_target(request.headers.get(PROJECT_HEADER), request.headers.get(VERSION_HEADER))
    attributes = request.headers.get(ATTRIBUTES_HEADER, "").split(",")
    wanted = request.headers.get(FEATURES_HEADER) == "true" or "features=true" in map(str.strip, attributes)
    return replace(target, features=wanted)


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


class Body(NamedTuple):
    """What a request holds: instances, or one that stands alone; ``features``: their features are asked for, too."""

    items: list[Item] | Reference
    features: bool = False


def read_body(body: bytes) -> Body:
    """Read ``{"instances": [{"b64": ...}, {"uri": ...}, {"text": ...}]}``, or ``{"uri": ...}``: one that stands alone.

    ``"parameters": {"features": true}`` beside them asks for features. An instance that is no input is a Failure.
    Raises BadRequest when the body as a whole is of another form.
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
        return Body([_read_instance(instance) for instance in instances], _features_wanted(content))
    if isinstance(content, dict) and isinstance(content.get("uri"), str):
        return Body(Reference(content["uri"]), _features_wanted(content))
    raise BadRequest(
        'the body must be {"instances": [{"b64": "..."}, {"uri": "..."}, {"text": "..."}]}, {"uri": "..."}, '
        "or the bytes of one picture"
    )


def _features_wanted(content: Json) -> bool:
    parameters = content.get("parameters")
    return isinstance(parameters, dict) and parameters.get("features") is True


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


def write_predictions(answers: Sequence[Answer | Failure | Seen], features_of: str = "") -> Json:
    """Write the body of an answer; ``features_of`` names the features of those that were seen with theirs."""
    return {"predictions": [_written(answer, features_of) for answer in answers]}


def _written(answer: Answer | Failure | Seen, features_of: str) -> Json:
    """Write one answer; regions say in answers of their own which version found them, as classes always do."""
    if isinstance(answer, Seen):
        row = np.round(answer.row.astype(np.float64), _DIGITS).tolist()
        return _written(answer.answer, "") | {"features": row, "features_of": features_of}
    told = {"model_version": answer.model_version} if isinstance(answer, Findings) else {}
    return write_item(answer) | told
