"""The inference container under both clouds' URLs: boto3 and google-auth talk to it as they talk to the cloud."""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession

from labelloop.models.file_store import FileStore
from labelloop.types import ProjectKey
from support.bundles import make_bundle, picture, publish_bundle
from support.inference import SECONDS, Inference, inference

pytestmark = pytest.mark.process

RED = picture("red")
ENDPOINT = "/v1/projects/mine/locations/europe-west4/endpoints/123"
LIMIT = 20_000
"""Bytes; LABELLOOP_BODY_MAX_BYTES of the pinned server."""


def instances(*colours: str) -> bytes:
    contents = [b64encode(picture(colour)).decode() for colour in colours]
    return json.dumps({"instances": [{"b64": content} for content in contents], "parameters": {"top": 1}}).encode()


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inference]:
    workdir = tmp_path_factory.mktemp("pinned")
    make_bundle(workdir / "bundle")
    limit = str(LIMIT)
    with inference(workdir, bundle=workdir / "bundle", version="v3", LABELLOOP_BODY_MAX_BYTES=limit) as server:
        yield server


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inference]:
    workdir = tmp_path_factory.mktemp("many")
    store = FileStore(workdir / "store")
    publish_bundle(store, ProjectKey("ls", 7), workdir, run="one")
    publish_bundle(store, ProjectKey("ls", 7), workdir, run="two", champion=False)
    with inference(workdir, LABELLOOP_STORE=(workdir / "store").as_uri()) as server:
        yield server


# SageMaker


def runtime(server: Inference) -> Any:
    """A client as every user of SageMaker makes it, but for the address."""
    return Session("key", "hush", region_name="eu-west-1").client(
        "sagemaker-runtime",
        endpoint_url=server.address,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=SECONDS),
    )


def test_boto3_sends_a_picture(pinned: Inference) -> None:
    answer = runtime(pinned).invoke_endpoint(EndpointName="scenes", ContentType="image/png", Body=RED)
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("application/json", "AllTraffic")
    (one,) = json.load(answer["Body"])["predictions"]
    assert (one["label"], one["model_version"]) == ("red", "v3")


def test_boto3_finds_the_container_by_the_environment(pinned: Inference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", pinned.address)
    client = Session("key", "hush", region_name="eu-west-1").client("sagemaker-runtime")
    answer = client.invoke_endpoint(EndpointName="scenes", ContentType="application/x-image", Body=RED)
    assert json.load(answer["Body"])["predictions"][0]["label"] == "red"


def test_boto3_sends_instances_and_every_header_it_knows(pinned: Inference) -> None:
    answer = runtime(pinned).invoke_endpoint(
        EndpointName="scenes",
        ContentType="application/json",
        Accept="application/json",
        Body=instances("blue", "red"),
        TargetVariant="canary",
        TargetModel="ls/7/v3",
        InferenceComponentName="scenes-1",
        InferenceId="task-1",
        CustomAttributes="trace=1",
    )
    assert answer["InvokedProductionVariant"] == "canary"
    assert [one["label"] for one in json.load(answer["Body"])["predictions"]] == ["blue", "red"]


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        ({"Body": b"no picture"}, 400, "not a readable picture"),
        ({"Body": b"{", "ContentType": "application/json"}, 400, "not valid JSON"),
        ({"Body": bytes(LIMIT + 1)}, 413, "LABELLOOP_BODY_MAX_BYTES"),
        ({"Body": RED, "TargetModel": "ls/7/v4"}, 404, "pinned to version v3"),
        ({"Body": RED, "TargetModel": "model.tar.gz"}, 400, "expected instance/id or instance/id/version"),
        ({"Body": RED, "TargetModel": "ls/seven"}, 400, "expected instance/id"),
    ],
)
def test_what_the_container_refuses_is_a_model_error(
    pinned: Inference, asked: dict[str, Any], status: int, reason: str
) -> None:
    client = runtime(pinned)
    with pytest.raises(client.exceptions.ModelError) as raised:
        client.invoke_endpoint(EndpointName="scenes", **asked)
    said = raised.value.response
    assert said["Error"]["Code"] == "ModelError"
    assert reason in said["Error"]["Message"]
    assert (said["ResponseMetadata"]["HTTPStatusCode"], said["OriginalStatusCode"]) == (424, status)
    assert reason in json.loads(said["OriginalMessage"])["error"]


def test_boto3_names_a_project_and_a_version_by_target_model(many: Inference) -> None:
    client = runtime(many)
    for model, version in [("ls/7", "v1"), ("ls/7/v2", "v2")]:
        answer = client.invoke_endpoint(EndpointName="all", TargetModel=model, Body=RED)
        assert json.load(answer["Body"])["predictions"][0]["model_version"] == version
    with pytest.raises(ClientError, match=r"\(ModelError\).*404: project ls/8 has no champion yet"):
        client.invoke_endpoint(EndpointName="all", TargetModel="ls/8", Body=RED)
    with pytest.raises(ClientError, match=r"\(ModelError\).*400: name a project"):
        client.invoke_endpoint(EndpointName="all", Body=RED)


# Vertex AI


@pytest.fixture
def vertex() -> Iterator[AuthorizedSession]:
    with AuthorizedSession(AnonymousCredentials()) as session:  # type: ignore[no-untyped-call]
        yield session


def post(session: AuthorizedSession, url: str, body: bytes, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer: requests.Response = session.request(  # type: ignore[no-untyped-call]
        "POST", url, data=body, headers=named, timeout=SECONDS
    )
    return answer


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", ""])
def test_vertex_predicts(pinned: Inference, vertex: AuthorizedSession, content_type: str) -> None:
    url = f"{pinned.address}{ENDPOINT}:predict"
    answer = post(vertex, url, instances("green", "blue"), Content_Type=content_type)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert [one["label"] for one in said.pop("predictions")] == ["green", "blue"]
    assert said == {
        "deployedModelId": "v3",
        "model": "projects/mine/locations/europe-west4/models/labelloop",
        "modelDisplayName": "labelloop",
        "modelVersionId": "v3",
    }


def test_vertex_hands_a_raw_request_to_the_container(pinned: Inference, vertex: AuthorizedSession) -> None:
    answer = post(vertex, f"{pinned.address}{ENDPOINT}:rawPredict", RED, Content_Type="image/png")
    assert answer.headers["X-Vertex-AI-Deployed-Model-Id"] == "v3"
    assert answer.json() == pinned.post(RED, content_type="image/png").json()


@pytest.mark.parametrize(
    ("method", "body", "status", "name", "reason"),
    [
        ("predict", RED, 400, "INVALID_ARGUMENT", "not valid JSON"),
        ("predict", b'{"inputs": []}', 400, "INVALID_ARGUMENT", "the body must be"),
        ("rawPredict", b"no picture", 400, "INVALID_ARGUMENT", "not a readable picture"),
        ("rawPredict", bytes(LIMIT + 1), 413, "INVALID_ARGUMENT", "LABELLOOP_BODY_MAX_BYTES"),
    ],
)
def test_vertex_errors_are_googles(
    pinned: Inference, vertex: AuthorizedSession, method: str, body: bytes, status: int, name: str, reason: str
) -> None:
    answer = post(vertex, f"{pinned.address}{ENDPOINT}:{method}", body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (status, name)
    assert reason in error["message"]


def test_vertex_follows_a_projects_champion(many: Inference, vertex: AuthorizedSession) -> None:
    url = f"{many.address}{ENDPOINT}:predict"
    assert post(vertex, url, instances("red"), X_LabelLoop_Project="ls/7").json()["deployedModelId"] == "v1"
    named = post(vertex, url, instances("red"), X_LabelLoop_Project="ls/7", X_LabelLoop_Version="v2").json()
    assert (named["deployedModelId"], named["predictions"][0]["model_version"]) == ("v2", "v2")
    missing = post(vertex, url, instances("red"), X_LabelLoop_Project="ls/8")
    assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")
