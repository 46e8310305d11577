"""The fake endpoint is deterministic, keeps to the interface, and fails as its script says."""

import math
from typing import Any

import pytest

from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.fake import FakeEndpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import CircuitOpen, EndpointError, SettingsError
from labelloop.types import Choice, Failure, Input, Output, ProjectKey, Target

PICTURES = [Input(bytes([number])) for number in range(64)]


def outputs(endpoint: Endpoint, target: Target | None = None) -> list[Output]:
    answers = endpoint.invoke(PICTURES, target or Target())
    assert all(isinstance(answer, Output) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Output)]


@pytest.mark.parametrize("choice", ["single", "multiple"])
@pytest.mark.parametrize("classes", [("cat",), ("cat", "dog"), ("cat", "dog", "owl")])
def test_answers_are_whole_outputs(choice: Choice, classes: tuple[str, ...]) -> None:
    for output in outputs(FakeEndpoint(classes, choice=choice)):
        assert set(output.scores) == set(classes)
        assert all(0 <= score <= 1 for score in output.scores.values())
        assert output.score == output.scores[output.label] == max(output.scores.values())
        assert output.choice == choice
        assert choice == "multiple" or math.isclose(sum(output.scores.values()), 1)


def test_the_same_bytes_get_the_same_class_from_every_version() -> None:
    first = outputs(FakeEndpoint(["cat", "dog"]), Target(version="v1"))
    second = outputs(FakeEndpoint(["cat", "dog"]), Target(version="v2"))
    assert [one.label for one in first] == [two.label for two in second]
    assert {one.label for one in first} == {"cat", "dog"}
    assert {one.model_version for one in first} == {"v1"}
    assert {two.model_version for two in second} == {"v2"}


def test_the_script_is_played_once_and_then_all_is_well() -> None:
    endpoint = FakeEndpoint(["cat"], script=["down", "open", "half", "none", "late"])
    with pytest.raises(EndpointError) as down:
        endpoint.invoke(PICTURES, Target())
    assert not isinstance(down.value, CircuitOpen)
    with pytest.raises(CircuitOpen):
        endpoint.invoke(PICTURES, Target())
    half = endpoint.invoke(PICTURES[:3], Target())
    assert [isinstance(answer, Failure) for answer in half] == [False, True, False]
    assert all(isinstance(answer, Failure) for answer in endpoint.invoke(PICTURES, Target()))
    assert endpoint.invoke(PICTURES[:2], Target()) == [Failure("deadline")] * 2
    outputs(endpoint)


def test_a_star_lasts_for_ever_and_check_sees_it() -> None:
    endpoint = FakeEndpoint(["cat"], script=["ok", "down*"])
    assert endpoint.check() == "fake endpoint with 1 classes"
    outputs(endpoint)
    for _ in range(3):
        with pytest.raises(EndpointError):
            endpoint.invoke(PICTURES, Target())
    with pytest.raises(EndpointError):
        endpoint.check()


def test_it_remembers_what_was_asked() -> None:
    endpoint = FakeEndpoint(["cat"])
    target = Target(ProjectKey("ls", 7), "v3")
    endpoint.invoke(PICTURES, target)
    assert endpoint.asked == [(target, 64)]


def test_it_is_opened_by_its_address() -> None:
    endpoint = open_endpoint(EndpointSpec("fake://?classes=red%20fox,owl&kind=multiple&version=v9&script=half,ok"))
    first, second = endpoint.invoke(PICTURES[:2], Target())
    assert isinstance(first, Output)
    assert (set(first.scores), first.choice, first.model_version) == ({"red fox", "owl"}, "multiple", "v9")
    assert isinstance(second, Failure)


def test_it_follows_the_loop() -> None:
    endpoint: Endpoint = FakeEndpoint(["cat"])
    assert (endpoint.name, endpoint.follows, endpoint.batch, endpoint.concurrency) == ("fake", True, 16, 4)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"request": "row"}, "Possible are auto, raw"),
        ({"request": "raw", "batch": 2}, "carries one input, not 2"),
        ({"parameters": "top_k=2"}, "not a JSON object"),
        ({"parameters": "[1]"}, "not a JSON object"),
        ({"parameters": "{}", "request": "raw"}, "raw carries no parameters"),
        ({"parameters": "{}", "request": "raw:text/csv"}, "raw:text/csv carries no parameters"),
        ({"parameters": "{}", "request": "base64"}, "base64 carries no parameters"),
        ({"request": "json:"}, "an option behind a colon"),
        ({"request": "json:image", "batch": 2}, "json:image carries one input, not 2"),
        ({"response": "guess"}, "guess"),
        ({"mapping": "[["}, "mapping"),
    ],
)
def test_impossible_formats_are_refused_when_it_is_opened(form: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        open_endpoint(EndpointSpec("http://host/path", **form))


@pytest.mark.parametrize(
    "address",
    [
        "fake://",
        "fake://cat,dog",
        "fake://?classes=",
        "fake://?classes=cat&kind=both",
        "fake://?classes=cat&script=explode",
        "fake://?classes=cat&klasses=dog",
        "fake://?classes=cat&classes=dog",
        "ftp://host",
        "localhost:9091",
        "http://",
        "http://host:port",
        "http://host:99999",
        "https://host?key=hunter2",
        "https://me:hunter2@host:port/path",
        "https://me:hunter2@/path",
        "https://me:hunter2@two words/path",
        "https://%zz/path",
        "http://host/path#part",
        "sagemaker",
        "",
    ],
)
def test_impossible_addresses_are_refused_with_a_remedy(address: str) -> None:
    with pytest.raises(SettingsError, match="://") as refused:
        open_endpoint(EndpointSpec(address))
    assert "hunter2" not in str(refused.value)
