"""Reading requests and writing answers of the inference container (docs/inference.md)."""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Sequence

from labelloop.serve.errors import BadRequest
from labelloop.types import Failure, Json, Output, ProjectKey, Target

MOST_INSTANCES = 10_000

PROJECT_HEADER = "X-LabelLoop-Project"
VERSION_HEADER = "X-LabelLoop-Version"


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


def read_instances(body: bytes) -> list[bytes | Failure]:
    """Read ``{"instances": [{"b64": ...}]}``: the pictures, an instance that is none as a Failure.

    Raises BadRequest when the body as a whole is of another form.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON") from None
    instances = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(instances, list):
        raise BadRequest('the body must be {"instances": [{"b64": "..."}]}, or the bytes of one picture')
    if len(instances) > MOST_INSTANCES:
        raise BadRequest(f"{len(instances)} instances in one request; at most {MOST_INSTANCES} are answered")
    return [_read_instance(instance) for instance in instances]


def _read_instance(instance: object) -> bytes | Failure:
    text = instance.get("b64") if isinstance(instance, dict) else None
    if not isinstance(text, str):
        return Failure('an instance must be {"b64": "..."}')
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return Failure('"b64" is not base64')


def write_predictions(answers: Sequence[Output | Failure]) -> Json:
    """Write the body of an answer."""
    return {"predictions": [_write_prediction(answer) for answer in answers]}


def _write_prediction(answer: Output | Failure) -> Json:
    if isinstance(answer, Failure):
        return {"error": answer.reason}
    return {
        "label": answer.label,
        "score": answer.score,
        "scores": dict(answer.scores),
        "model_version": answer.model_version,
        "kind": answer.kind,
    }
