"""The inference server as a Lambda function: events of function URLs, and the very process that Lambda would start."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, request

from labelloop.deployers.opening import open_deployer
from labelloop.occlusion import CELLS
from labelloop.serve.function import BODY_BYTES, LIMIT_BYTES, answer
from labelloop.types import Json
from support.bundles import COLOURS, make_bundle, picture
from support.pinned_app import app_of

from .test_function_deployer import ADDRESS, PROJECT, SETTINGS, Place, ask, place, well

__all__ = ["place"]


def event(path: str, method: str = "POST", body: str | None = None, encoded: bool = False, **more: Any) -> Json:
    """Make the event of a function URL (payload format 2.0)."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": more.pop("query", ""),
        "headers": more.pop("headers", {}),
        "requestContext": {"http": {"method": method, "path": path}, "stage": more.pop("stage", "$default")},
        "body": body,
        "isBase64Encoded": encoded,
    }


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    make_bundle(folder := tmp_path_factory.mktemp("bundle"))
    return app_of(folder, "v7")


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def predicted(told: Json) -> list[str]:
    return [one["label"] for one in json.loads(told["body"])["predictions"]]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_picture_as_the_body_is_predicted(app: Flask, colour: str) -> None:
    told = answer(event("/invocations", body=encoded(picture(colour)), encoded=True), app)
    assert (told["statusCode"], told["isBase64Encoded"]) == (200, False)
    assert predicted(told) == [colour]
    assert json.loads(told["body"])["predictions"][0]["model_version"] == "v7"


def test_json_comes_as_text(app: Flask) -> None:
    body = json.dumps({"instances": [{"b64": encoded(picture("red"))}, {"b64": encoded(picture("blue"))}]})
    headers = {"content-type": "application/json"}
    assert predicted(answer(event("/invocations", body=body, headers=headers), app)) == ["red", "blue"]


def test_a_stage_of_an_http_api_is_no_part_of_the_path(app: Flask) -> None:
    told = answer(event("/prod/ping", "GET", stage="prod"), app)
    assert (told["statusCode"], json.loads(told["body"])["version"]) == (200, "v7")
    assert answer(event("/prod/ping", "GET"), app)["statusCode"] == 404
    assert answer(event("/ping", "GET", stage="pi"), app)["statusCode"] == 200, "under a domain it is not there"


def test_the_page_is_shown_and_answers(app: Flask) -> None:
    shown = answer(event("/try", "GET"), app)
    assert (shown["statusCode"], shown["headers"]["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'sha256-" in shown["headers"]["Content-Security-Policy"]
    headers = {"content-type": "image/jpeg"}
    asked = event("/try", body=encoded(picture("red")), encoded=True, headers=headers, query="explain=1")
    told = answer(asked, app)
    found = json.loads(told["body"])
    assert (told["statusCode"], told["headers"]["Content-Type"]) == (200, "application/json")
    assert (found["version"], found["found"][0]["label"], len(found["drops"])) == ("v7", "red", CELLS)
    refused = answer(event("/try", body=encoded(b"no picture"), encoded=True), app)
    assert (refused["statusCode"], "picture" in json.loads(refused["body"])["error"]) == (400, True)


@pytest.mark.parametrize("path", ["", "/", "//ping", "/a?b", "/%", "/\x00", "http://elsewhere/ping", "/ä"])
def test_every_path_gets_an_answer(app: Flask, path: str) -> None:
    assert "error" in json.loads(answer(event(path), app)["body"])


def test_what_the_server_refuses_is_refused_with_its_status(app: Flask) -> None:
    assert answer(event("/invocations", body=encoded(b"no picture"), encoded=True), app)["statusCode"] == 400
    assert answer(event("/elsewhere"), app)["statusCode"] == 404
    headers = {"x-labelloop-project": "1/1", "x-labelloop-version": "v8"}
    told = answer(event("/invocations", body=encoded(picture("red")), encoded=True, headers=headers), app)
    assert (told["statusCode"], "has no version v8" in told["body"]) == (404, True)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"Records": []}, {"rawPath": "/ping"}, event("/invocations", body="*", encoded=True) | {"headers": "none"}],
)
def test_other_events_are_told_apart(app: Flask, wrong: Json) -> None:
    with pytest.raises(ValueError, match="this event is no request of a function URL or an HTTP API"):
        answer(wrong, app)


def test_bytes_and_query_go_through_and_what_is_too_large_says_so() -> None:
    shown = Flask(__name__)

    @shown.route("/echo", methods=["POST"])
    def echo() -> tuple[bytes, int, dict[str, str]]:
        return request.get_data(), 201, {"Content-Type": "image/png", "X-Asked": request.query_string.decode()}

    content = bytes(range(256))
    told = answer(event("/echo", body=encoded(content), encoded=True, query="a=1&b=%20"), shown)
    assert (told["statusCode"], told["isBase64Encoded"], told["headers"]["X-Asked"]) == (201, True, "a=1&b=%20")
    assert base64.b64decode(told["body"]) == content

    whole = answer(event("/echo", body=encoded(bytes(BODY_BYTES)), encoded=True), shown)
    assert whole["statusCode"] == 201
    assert len(json.dumps(whole)) <= LIMIT_BYTES
    large = answer(event("/echo", body=encoded(bytes(BODY_BYTES + 3)), encoded=True), shown)
    assert large["statusCode"] == 413
    assert f"a Lambda function may give {LIMIT_BYTES}" in json.loads(large["body"])["error"]


@pytest.mark.process
def test_what_is_deployed_runs_as_lambda_runs_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    place.aws.use(monkeypatch)
    assert place.bring("v1").version == "v1"

    def invoke(told: Json) -> Json:
        given: Json = json.loads(
            place.aws.functions.invoke("eu-west-1", "cats", "live", json.dumps(told).encode()).payload
        )
        return given

    told = invoke(event("/invocations", body=encoded(picture("green")), encoded=True))
    assert predicted(told) == ["green"]
    assert json.loads(told["body"])["predictions"][0]["model_version"] == "v1"
    assert json.loads(invoke(event("/ping", "GET"))["body"]) == {"mode": "pinned", "version": "v1"}
    page = invoke(event("/try", "GET"))
    assert (page["statusCode"], page["isBase64Encoded"]) == (200, False)
    assert page["body"].lower().startswith("<!doctype html>")
    shown = json.loads(invoke(event("/try", body=encoded(picture("red")), encoded=True, query="explain=1"))["body"])
    assert (shown["version"], shown["found"][0]["label"], len(shown["drops"])) == ("v1", "red", CELLS)
    assert "this event is no request" in invoke({"Records": []})["errorMessage"]
    assert ask() == "v1", "also by the endpoint lambda://cats"


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.process
def test_torchscript_runs_as_lambda_runs_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    place.aws.use(monkeypatch)
    make_bundle(place.folder / "v1", torchscript=True)
    settings = replace(SETTINGS, engine="torchscript")
    deployer = open_deployer(f"{ADDRESS}&timeout=60", PROJECT, settings, well)
    assert deployer.deploy(place.version("v1")).version == "v1"
    kept = place.aws.client("s3").list_objects_v2(Bucket="labelloop", Prefix="team/deployed/")["Contents"]
    assert sorted(one["Key"].rpartition("/")[2] for one in kept) == ["model.json", "model.ts.pt", "version.json"]
    assert ask() == "v1"
