"""Where features are in answers of the shapes that servers give, of which model they are, and what is none."""

import json
from typing import Any

import pytest

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.base import Told
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.failures import WrongAnswer, WrongCount
from labelloop.endpoints.features import Featured, candidates, open_features, row_of, rows_in
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import SettingsError
from labelloop.types import Failure, Input, Output, Target

ROW = [0.5, -1.0, 2.0]
OTHER = [0.25, 0.0, 1.0]


def read(value: Any, features: str, *, media_type: str = "application/json", **form: Any) -> list[Featured | Failure]:
    spec = EndpointSpec("http://host/embed", features=features, **{"response": "none"} | form)
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    asked = Asked((Input(text="one"),), spec.version, spec.classes, "host/embed", media_type)
    return open_features(spec).read(Told(content, media_type=media_type), asked, Target())


@pytest.mark.parametrize(
    ("value", "expression", "version"),
    [
        ({"predictions": [{"embedding": ROW, "model_version": "v3"}]}, "predictions[].embedding", "v3"),
        (
            {"predictions": [{"embedding": ROW}], "deployedModelId": "991", "model": "projects/1/models/2"},
            "predictions[].embedding",
            "991",
        ),
        ({"outputs": [{"embedding": ROW}]}, "outputs[0].embedding", "host/embed"),
        ({"data": [{"embedding": ROW, "index": 0}], "model": "small-3"}, "data[].embedding", "small-3"),
        ([ROW], "@", "host/embed"),
        (ROW, "@", "host/embed"),
        ([[ROW, OTHER, OTHER]], "[*][0]", "host/embed"),
        ({"model_version": "b", "vector": ROW}, "vector", "b"),
    ],
)
def test_features_are_found_and_whose_they_are(value: Any, expression: str, version: str) -> None:
    (found,) = read(value, expression)
    assert isinstance(found, Featured)
    assert (found.row.tolist(), found.row.dtype.name, found.model_version) == (ROW, "float32", version)
    assert isinstance(found.own, Failure)


def test_a_row_of_csv_is_one_inputs() -> None:
    (found,) = read(b"0.5,-1.0,2.0\n", "@", media_type="text/csv; charset=utf-8")
    assert isinstance(found, Featured)
    assert found.row.tolist() == ROW


def test_an_own_answer_comes_along_and_names_the_version() -> None:
    item = {"label": "cat", "score": 0.75, "scores": {"cat": 0.75, "dog": 0.25}, "model_version": "v3", "features": ROW}
    (found,) = read({"predictions": [item]}, "predictions[].features", response="auto")
    assert isinstance(found, Featured)
    assert isinstance(found.own, Output)
    assert (found.own.label, found.model_version) == ("cat", "v3")


def test_several_inputs_have_a_row_each_and_one_without_is_no_others_fault() -> None:
    answered = {"predictions": [{"embedding": ROW}, {"error": "no"}, {"embedding": OTHER}]}
    assert [isinstance(one, Failure) for one in rows_in({"p": [ROW, "none", OTHER]}, 3, "p")] == [False, True, False]
    with pytest.raises(WrongCount, match="3 inputs sent, features of 2 came back"):
        rows_in(answered, 3, "predictions[].embedding")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1.0, float("nan")], "not finite"),
        ([1.0, float("inf")], "not finite"),
        ([1.0, 10**400], "not finite"),
        ([1.0, 70_000], "beyond 65,504"),
        ([1.0, "2"], "no list of numbers, but a list of 2 values of several kinds"),
        ([True, False], "no list of numbers"),
        ([[1.0, 2.0], [3.0, 4.0]], "no list of numbers, but a list of 2 lists of 2 numbers"),
        ([1.0], "1 numbers: 2 to 65,536"),
        ([], "0 numbers"),
        ({"error": "a broken picture"}, "a broken picture"),
        (None, "but null"),
    ],
)
def test_what_is_no_features_is_one_inputs_failure(value: Any, reason: str) -> None:
    found = row_of(value)
    assert isinstance(found, Failure)
    assert reason in found.reason


@pytest.mark.parametrize("value", [{"other": ROW}, {"embedding": None}, [], {}])
def test_where_there_are_none_the_answer_is_wrong(value: Any) -> None:
    with pytest.raises(WrongAnswer, match="features"):
        read(value, "embedding")


@pytest.mark.parametrize(
    ("value", "expression"),
    [
        ({"outputs": [{"embedding": ROW}]}, "outputs[].embedding"),
        ({"predictions": [{"label": "a", "features": ROW, "box": [1, 2]}]}, "predictions[].features"),
        ([[ROW, OTHER]], "[0][0]"),
        ({"a-b": {"c": ROW}}, '"a-b".c'),
    ],
)
def test_a_place_is_proposed(value: Any, expression: str) -> None:
    found = list(candidates(value, 1))
    assert found[0][0] == expression
    assert found[0][1][0].tolist() == ROW


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"features": "predictions["}, "features: 'predictions\\[' is no JMESPath"),
        ({"features": "@", "request": "reference"}, "sends addresses"),
        ({"features": "@", "address": "fake://?classes=a"}, "gives no features"),
    ],
)
def test_what_cannot_be_is_refused_as_it_is_opened(form: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        open_features(EndpointSpec(**{"address": "http://host/x"} | form))


def test_none_is_for_endpoints_with_features_alone() -> None:
    with pytest.raises(SettingsError, match="let features say where"):
        open_endpoint(EndpointSpec("http://host/x", response="none"))


def test_a_fingerprint_changes_with_the_place_of_features_and_else_stays_as_it_was() -> None:
    plain = EndpointSpec("http://host/x")
    assert plain.fingerprint == "17f21817b13e88c7", "state of earlier releases is found by it"
    assert len({plain.fingerprint, EndpointSpec("http://host/x", features="@").fingerprint}) == 2
