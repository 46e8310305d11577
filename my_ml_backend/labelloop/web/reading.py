"""Reading what Label Studio sends: a body that is a JSON object, and the ways it names a project."""

import json
import re
from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest

from labelloop.front.gate import check_json
from labelloop.types import Identity, Json

_PROJECT = re.compile(r"(\d{1,18})(?:\.\d+)?", re.ASCII)


def project_identity(value: object, name: str = "project") -> Identity:
    """Read a project from ``7``, ``"7"`` or ``"7.1795187589"``; raises BadRequest naming it otherwise."""
    match = _PROJECT.fullmatch(str(value)) if type(value) in (int, str) else None
    if match is None or int(match[1]) == 0:
        raise BadRequest(f'{name} must be "<id>.<created>", "<id>" or a number, for example "7.1795187589"')
    return Identity.parse(str(value))


def json_body() -> Json:
    """Read the request's body; raises BadRequest with the reason when it is not a JSON object."""
    content = request.get_data(cache=False)
    request.stream.read(1)  # a chunked body is cut at the limit without a word; asking for more raises the 413
    try:
        check_json(content)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    try:
        body = json.loads(content)
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is no JSON: {error.msg} at character {error.pos}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, an endless number, thousands of brackets
        raise BadRequest("the body is no JSON that can be read") from error
    if not isinstance(body, dict):
        raise BadRequest(f"the body must be a JSON object, not {_shape(body)}")
    return body


def text(body: Json, name: str) -> str:
    """Take a text from a body; raises BadRequest naming it when it is missing or something else."""
    value = body.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be text, not {_shape(value)}")
    return value


def items(body: Json, name: str) -> list[Any]:
    """Take a list from a body; raises BadRequest naming it when it is missing or something else."""
    value = body.get(name)
    if not isinstance(value, list):
        raise BadRequest(f"{name} must be a list, not {_shape(value)}")
    return value


def _shape(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null or missing"}
    return names.get(type(value), "a number")
