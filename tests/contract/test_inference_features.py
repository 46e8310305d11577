"""Features on request from an inference container: as each cloud is asked, of one pass with the answer, and refused."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.base import Told
from labelloop.endpoints.features import Featured, open_features
from labelloop.endpoints.spec import EndpointSpec
from labelloop.types import Input, Output, Target
from support.bundles import make_bundle, make_head_bundle, picture
from support.pinned_app import app_of

RED = picture("red")
INSTANCES = {"instances": [{"b64": b64encode(RED).decode()}, {"b64": "broken"}]}
WANTED = {"parameters": {"features": True}}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    folder = tmp_path_factory.mktemp("head")
    make_head_bundle(folder)
    return app_of(folder, "v3").test_client()


def items(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json["predictions"]
    return found


@pytest.mark.parametrize(
    ("route", "body", "headers"),
    [
        ("/invocations", RED, {"X-LabelLoop-Features": "true", "Content-Type": "image/png"}),
        ("/invocations", json.dumps(INSTANCES | WANTED), JSON),
        ("/endpoints/any/invocations", RED, {"X-Amzn-SageMaker-Custom-Attributes": "trace=1, features=true"}),
        ("/v1/projects/p/locations/l/endpoints/1:predict", json.dumps(INSTANCES | WANTED), JSON),
        ("/v1/projects/p/locations/l/endpoints/1:rawPredict", RED, {"X-LabelLoop-Features": "true"}),
    ],
)
def test_features_come_with_the_answer(client: FlaskClient, route: str, body: Any, headers: dict[str, str]) -> None:
    first, *others = items(client.post(route, data=body, headers=headers))
    assert (first["label"], first["model_version"], first["features_of"]) == ("red", "v3", "f" * 64)
    assert len(first["features"]) == 6
    assert first["features"][:2] == [pytest.approx(first["features"][0])] * 2, "the left and the right of one colour"
    assert all("features" not in one and "error" in one for one in others)


def test_nobody_gets_features_who_does_not_ask_and_the_answers_are_the_same(client: FlaskClient) -> None:
    plain = items(client.post("/invocations", data=json.dumps(INSTANCES), headers=JSON))
    asked = items(client.post("/invocations", data=json.dumps(INSTANCES | WANTED), headers=JSON))
    assert "features" not in plain[0]
    assert plain[0] == {name: value for name, value in asked[0].items() if name in plain[0]}


def test_the_loop_reads_them_as_an_endpoints(client: FlaskClient) -> None:
    answer = client.post("/invocations", data=json.dumps(INSTANCES | WANTED), headers=JSON)
    subject = open_features(EndpointSpec("http://host:9091", features="predictions[*].[features || error][]"))
    asked = Asked((Input(RED), Input(b"broken")), media_type="application/json")
    found = subject.read(Told(answer.data, media_type="application/json"), asked, Target(features=True))
    (one,) = [each for each in found if isinstance(each, Featured)]
    assert isinstance(one.own, Output)
    assert (one.own.label, one.own.model_version, one.model_version) == ("red", "v3", "f" * 64)


def test_a_version_without_a_backbone_of_its_own_gives_none(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    answer = (
        app_of(tmp_path, "v1")
        .test_client()
        .post("/invocations", data=RED, headers={"X-LabelLoop-Features": "true", "Content-Type": "image/png"})
    )
    assert answer.status_code == 400
    assert "v1 gives no features" in answer.text
