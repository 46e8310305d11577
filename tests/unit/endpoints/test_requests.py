"""Writing requests in every format."""

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from labelloop.endpoints.requests.format import Body, Unwritable
from labelloop.endpoints.requests.registry import REQUESTS, EndpointKind, request_format
from labelloop.errors import SettingsError
from labelloop.types import Box, Input, Point, Prompted

PICTURE = Input(b"a picture", "image/png")
RECORDING = Input(b"a sound", "audio/wav")
WORDS = Input(text="caf\u00e9 \U0001f600")
AWAY = Input(uri="s3://bucket/a.png")
POINTED = Input(b"a picture", prompt=(Prompted(Point(0.25, 0.5), "cat", positive=False),))
HALF = Input(text="\ud800")


def write(name: str, *inputs: Input, kind: EndpointKind = "http", **parameters: Any) -> Body:
    return request_format(name, kind=kind).write(inputs, parameters)


def sent(name: str, *inputs: Input, kind: EndpointKind = "http", **parameters: Any) -> Any:
    body = write(name, *inputs, kind=kind, **parameters)
    assert body.media_type == "application/json"
    return json.loads(body.content)


def b64(item: Input) -> str:
    return b64encode(item.content).decode()


def test_raw_is_the_file_or_the_text() -> None:
    assert write("raw", PICTURE) == Body(b"a picture", "image/png")
    assert write("raw", RECORDING) == Body(b"a sound", "audio/wav")
    assert write("raw", WORDS) == Body("caf\u00e9 \U0001f600".encode(), "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    "media_type", ["application/json", "text/html", "image/png\r\nX-Evil: 1", "image/png; a=b", ""]
)
@pytest.mark.parametrize("name", ["raw", "auto"])
def test_only_the_type_of_a_picture_or_recording_is_passed_on(name: str, media_type: str) -> None:
    assert write(name, Input(b"x", media_type)).media_type == "application/octet-stream"


def test_instances_carry_everything() -> None:
    assert sent("instances", PICTURE, WORDS, AWAY, top_k=3) == {
        "instances": [{"b64": b64(PICTURE)}, {"text": WORDS.text}, {"uri": AWAY.uri}],
        "parameters": {"top_k": 3},
    }


def test_a_file_is_sent_rather_than_its_address() -> None:
    assert sent("instances", Input(b"x", uri="s3://b/x")) == {"instances": [{"b64": b64encode(b"x").decode()}]}


def test_prompts_go_in_fractions_beside_what_they_are_drawn_on() -> None:
    box = Prompted(Box(0.1, 0.2, 0.3, 0.4), "dog")
    asked = Input(b"x", prompt=(*POINTED.prompt, box))
    (instance,) = sent("instances", asked)["instances"]
    assert instance["prompt"] == {
        "points": [{"x": 0.25, "y": 0.5, "label": "cat", "positive": False}],
        "boxes": [{"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4, "rotation": 0.0, "label": "dog", "positive": True}],
    }
    (away,) = sent("reference", Input(uri="s3://b/x", prompt=(box,)))["instances"]
    assert away["uri"] == "s3://b/x"
    assert len(away["prompt"]["boxes"]) == 1


def test_references_are_addresses_and_nothing_else() -> None:
    assert sent("reference", AWAY, Input(b"x", uri="s3://b/x")) == {
        "instances": [{"uri": "s3://bucket/a.png"}, {"uri": "s3://b/x"}]
    }


def test_automl_takes_pictures_and_texts() -> None:
    assert sent("automl", PICTURE, WORDS, confidenceThreshold=0.5) == {
        "instances": [
            {"content": b64(PICTURE), "mimeType": "image/png"},
            {"content": WORDS.text, "mimeType": "text/plain"},
        ],
        "parameters": {"confidenceThreshold": 0.5},
    }


def test_inputs_are_one_value_or_a_list() -> None:
    assert sent("inputs", WORDS) == {"inputs": WORDS.text}
    assert sent("inputs", WORDS, Input(text="b"), top_k=2) == {"inputs": [WORDS.text, "b"], "parameters": {"top_k": 2}}
    assert b64decode(sent("inputs", PICTURE)["inputs"]) == b"a picture"


AUTO: list[tuple[EndpointKind, tuple[Input, ...], str]] = [
    ("loop", (PICTURE,), "raw"),
    ("http", (PICTURE,), "raw"),
    ("sagemaker", (RECORDING,), "raw"),
    ("vertex", (PICTURE,), "instances"),
    ("http", (PICTURE, PICTURE), "instances"),
    ("sagemaker", (PICTURE, PICTURE), "instances"),
    ("sagemaker", (POINTED,), "instances"),
    ("http", (WORDS,), "instances"),
    ("vertex", (WORDS,), "instances"),
    ("sagemaker", (WORDS,), "inputs"),
    ("sagemaker", (WORDS, WORDS), "inputs"),
    ("sagemaker", (AWAY,), "reference"),
    ("loop", (AWAY, AWAY), "reference"),
    ("http", (Input(),), "raw"),
]


@pytest.mark.parametrize(("kind", "inputs", "name"), AUTO)
def test_auto_writes_what_such_an_endpoint_reads(kind: EndpointKind, inputs: tuple[Input, ...], name: str) -> None:
    assert write("auto", *inputs, kind=kind) == write(name, *inputs)


def test_parameters_make_auto_write_json() -> None:
    assert sent("auto", PICTURE, top_k=1)["parameters"] == {"top_k": 1}


REFUSED: list[tuple[str, Input, str]] = [
    ("raw", POINTED, "format raw cannot carry a prompt; instances can"),
    ("raw", AWAY, "not a URI; reference does"),
    ("raw", HALF, "not valid Unicode"),
    ("instances", HALF, "not valid Unicode"),
    ("automl", POINTED, "format automl cannot carry a prompt; instances can"),
    ("automl", AWAY, "format automl cannot carry a URI; reference does"),
    ("automl", HALF, "not valid Unicode"),
    ("inputs", POINTED, "format inputs cannot carry a prompt; instances can"),
    ("inputs", AWAY, "format inputs cannot carry a URI; reference does"),
    ("inputs", HALF, "not valid Unicode"),
    ("reference", PICTURE, "needs the file's address"),
    ("reference", WORDS, "needs the file's address"),
    ("auto", HALF, "not valid Unicode"),
]


@pytest.mark.parametrize(("name", "item", "reason"), REFUSED)
def test_what_a_format_cannot_carry_is_refused_with_a_way_out(name: str, item: Input, reason: str) -> None:
    form = request_format(name, kind="http")
    assert reason in form.refusal(item)
    with pytest.raises(Unwritable, match=reason):
        form.write([item])


def test_raw_carries_one_input_and_no_parameters() -> None:
    with pytest.raises(Unwritable, match="one input, not 2; instances carries several"):
        write("raw", PICTURE, PICTURE)
    with pytest.raises(Unwritable, match="cannot carry parameters; instances can"):
        write("raw", PICTURE, top_k=1)


def test_formats_say_whether_one_call_takes_several() -> None:
    together = {name: request_format(name, kind="http").together for name in REQUESTS}
    assert together == dict.fromkeys(REQUESTS, True) | {"raw": False}
    assert all(request_format(name, kind="http").name == name for name in REQUESTS)


def test_an_unknown_format_is_a_setting_to_mend() -> None:
    with pytest.raises(SettingsError, match=r"'grpc' is not known\. Possible are auto, raw, instances, automl, inputs"):
        request_format("grpc", kind="http")
