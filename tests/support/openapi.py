"""docs/openapi.yaml, and whether an answer of the web process is one that it describes."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from werkzeug.test import TestResponse

PATH = Path(__file__).parents[2] / "docs/openapi.yaml"
METHODS = ("get", "post", "put", "patch", "delete")

OF_ANY_REQUEST = frozenset({405, 413, 500})
"""What ``default`` stands for that the app answers itself; the rest of it is the front's."""

Operation = tuple[str, str]
"""Method and path, as in ``("GET", "/health")``."""


@cache
def description() -> dict[str, Any]:
    """Read the file."""
    found: dict[str, Any] = yaml.load(PATH.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


def operations() -> dict[Operation, dict[str, Any]]:
    """Give what is described of each operation."""
    paths: Mapping[str, dict[str, Any]] = description()["paths"]
    return {(name.upper(), path): said[name] for path, said in paths.items() for name in METHODS if name in said}


def statuses() -> set[tuple[str, str, int]]:
    """Name each status that is described: method, path, status."""
    return {
        (*one, int(status)) for one, said in operations().items() for status in said["responses"] if status != "default"
    }


def problem(method: str, path: str, answer: TestResponse) -> str:
    """Say how an answer differs from what is described for its status; empty where it does not, or for other paths."""
    found = next((one for one in operations() if one[0] == method and _form(one[1]).fullmatch(path)), None)
    if found is None:
        return ""
    said, path = operations()[found], found[1]
    described = said["responses"].get(str(answer.status_code))
    if described is None:
        if answer.status_code not in OF_ANY_REQUEST:
            return f"{method} {path} answers {answer.status_code}, which docs/openapi.yaml does not have"
        described = said["responses"]["default"]
    response = _resolved(described)
    if missing := [name for name in response.get("headers", {}) if name not in answer.headers]:
        return f"{method} {path} answers {answer.status_code} without {missing[0]}"
    if answer.mimetype not in response["content"]:
        return f"{method} {path} answers {answer.status_code} as {answer.mimetype}"
    if answer.mimetype != "application/json":
        return ""
    wrong = next(_validator(method, path, answer.status_code).iter_errors(answer.get_json()), None)
    return f"{method} {path} answers {answer.status_code}: {wrong.json_path}: {wrong.message}" if wrong else ""


@cache
def _form(path: str) -> re.Pattern[str]:
    """Turn a described path into what paths of its form match."""
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


class DescribedClient(FlaskClient):
    """A client of the web app that fails on each answer that docs/openapi.yaml does not describe."""

    def open(self, *args: Any, **given: Any) -> TestResponse:
        """Ask, and hold the answer to what is described."""
        answer = super().open(*args, **given)
        if answer.request.method in ("GET", "POST"):
            wrong = problem(answer.request.method, answer.request.path, answer)
            assert not wrong, wrong
        return answer


def _resolved(said: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in said:
        found = description()
        for name in said["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        said = found
    return said


@cache
def _validator(method: str, path: str, status: int) -> Any:
    responses = operations()[method, path]["responses"]
    response = _resolved(responses.get(str(status)) or responses["default"])
    schema = response["content"]["application/json"]["schema"]
    return Draft202012Validator({"components": description()["components"], "allOf": [schema]})
