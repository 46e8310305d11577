"""Writing requests in every format."""

import json
import re
from base64 import b64decode, b64encode
from email import message_from_bytes
from email.policy import HTTP
from typing import Any

import pytest

from labelloop.endpoints.requests.format import Body, Unwritable
from labelloop.endpoints.requests.registry import REQUESTS, EndpointKind, request_format
from labelloop.errors import SettingsError
from labelloop.types import Assignment, Box, Input, Point, Prompted, Wanted, WantedLabel

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


def asked(*wanted: Wanted) -> Input:
    return Input(text="a text", assignment=Assignment(wanted))


CHOICES = Wanted("kind", "labels", (WantedLabel("c", "cat"), WantedLabel("dog", "dog")))
SEVERAL = Wanted("kinds", "labels", (WantedLabel("red", "red"),), "multiple")


def test_labels_of_the_label_config_are_candidates() -> None:
    assert sent("inputs:labels", asked(CHOICES), hypothesis_template="a {}") == {
        "inputs": "a text",
        "parameters": {"candidate_labels": ["cat", "dog"], "multi_label": False, "hypothesis_template": "a {}"},
    }
    spans, words = Wanted("part", "spans", CHOICES.labels), Wanted("note", "text")
    body = sent("inputs:labels", *[asked(spans, SEVERAL, words)] * 2, candidate_labels=["a"])
    assert body["inputs"] == ["a text", "a text"]
    assert body["parameters"] == {"candidate_labels": ["a"], "multi_label": True}
    assert sent("inputs", asked(CHOICES)) == {"inputs": "a text"}


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


ADDRESSES = [
    ("http://host/v1/models/cats:predict", PICTURE, "instances"),
    ("http://host/v1/models/cats/versions/3:predict", PICTURE, "instances"),
    ("http://host/v1/models/cats:predict", WORDS, "json:instances[]"),
    ("https://host/v2/models/cats/infer", PICTURE, "tensors"),
    ("https://host/kserve/v2/models/cats/versions/2/infer?x=1", WORDS, "tensors"),
    ("http://host/predictions/cats", PICTURE, "raw"),
    ("http://host/predictions/cats/2.0", WORDS, "raw"),
    ("http://host/invocations", PICTURE, "raw"),
    ("http://host/invocations", WORDS, "inputs"),
    ("https://a.eu-west-1.aws.endpoints.huggingface.cloud/x", WORDS, "inputs"),
    ("https://router.huggingface.co/hf-inference/models/x/y", WORDS, "inputs"),
    ("https://router.huggingface.co/hf-inference/models/x/y", PICTURE, "raw"),
    (
        "https://a.cognitiveservices.azure.com/customvision/v3.0/Prediction/1-2/classify/iterations/one/image",
        PICTURE,
        "raw:application/octet-stream",
    ),
    ("https://Detect.Roboflow.com/cats/3?api_key=k", PICTURE, "base64"),
    ("http://host/predict", WORDS, "instances"),
    ("http://host/predictions", WORDS, "instances"),
    ("http://host/v2/models/cats", PICTURE, "raw"),
    ("http://host/v1/models/cats:classify", PICTURE, "raw"),
    ("http://detect.roboflow.com.example.com/cats/3", PICTURE, "raw"),
]


@pytest.mark.parametrize(("address", "item", "name"), ADDRESSES)
def test_auto_writes_what_an_address_tells(address: str, item: Input, name: str) -> None:
    auto = request_format("auto", kind="http", address=address)
    assert auto.refusal(item) == ""
    assert auto.write([item]) == write(name, item)


def test_an_address_of_another_kind_tells_nothing() -> None:
    auto = request_format("auto", kind="vertex", address="vertex://p/europe-west4/predictions/cats")
    assert auto.write([WORDS]) == write("instances", WORDS)


def test_what_an_address_tells_does_not_become_instances_where_it_cannot_carry() -> None:
    told = request_format("auto", kind="http", address="http://host/v2/models/cats/infer")
    assert "tensors cannot carry a prompt" in told.refusal(POINTED)
    form = request_format("auto", kind="http", address="https://detect.roboflow.com/cats/3")
    assert not form.together
    assert not form.takes_parameters
    served = request_format("auto", kind="http", address="http://host/predictions/cats")
    assert served.together
    assert served.takes_parameters
    assert served.write([PICTURE, PICTURE]) == write("instances", PICTURE, PICTURE)


def test_a_type_is_sent_as_it_is_set() -> None:
    assert write("raw:application/x-image", PICTURE) == Body(b"a picture", "application/x-image")
    assert write("raw:text/csv", Input(text="5.1,3.5")) == Body(b"5.1,3.5", "text/csv")
    assert write("raw:application/octet-stream", WORDS).media_type == "application/octet-stream"
    assert write("base64", PICTURE) == Body(b64(PICTURE).encode(), "application/x-www-form-urlencoded")
    assert write("base64:text/plain", PICTURE).media_type == "text/plain"


JSON_PATHS: list[tuple[str, tuple[Input, ...], Any]] = [
    ("json", (PICTURE,), {"image": b64(PICTURE)}),
    ("json", (RECORDING,), {"audio": b64(RECORDING)}),
    ("json", (Input(b"x", "application/pdf"),), {"file": "eA=="}),
    ("json", (WORDS,), {"text": WORDS.text}),
    ("json:input.image", (PICTURE,), {"input": {"image": b64(PICTURE)}}),
    ("json:instances[]", (WORDS, Input(text="b")), {"instances": [WORDS.text, "b"]}),
    ("json:instances[].data.b64", (PICTURE,), {"instances": [{"data": {"b64": b64(PICTURE)}}]}),
    ("json:instances[].b64", (Input(text="b"),), {"instances": [{"b64": "Yg=="}]}),
    ("json:inputs.image-bytes[].b64", (PICTURE,), {"inputs": {"image-bytes": [{"b64": b64(PICTURE)}]}}),
    ("json:input.image:data", (PICTURE,), {"input": {"image": f"data:image/png;base64,{b64(PICTURE)}"}}),
    ("json:input[]:data", (WORDS, PICTURE), {"input": [WORDS.text, f"data:image/png;base64,{b64(PICTURE)}"]}),
    ("json:data.ndarray[][]", (WORDS, Input(text="b")), {"data": {"ndarray": [[WORDS.text], ["b"]]}}),
]


@pytest.mark.parametrize(("name", "inputs", "body"), JSON_PATHS)
def test_a_path_puts_inputs_at_their_place(name: str, inputs: tuple[Input, ...], body: Any) -> None:
    assert sent(name, *inputs) == body


def test_parameters_stand_beside_a_path_and_reach_into_it() -> None:
    assert sent("json:instances[]", WORDS, configuration={"k": 3}) == {
        "instances": [WORDS.text],
        "configuration": {"k": 3},
    }
    assert sent("json:input_data.data[]", PICTURE, input_data={"columns": ["image"], "index": [0]}, params={}) == {
        "input_data": {"data": [b64(PICTURE)], "columns": ["image"], "index": [0]},
        "params": {},
    }


@pytest.mark.parametrize("name", ["json:image", "json:image[]", "json:image.b64"])
def test_parameters_never_take_the_place_of_an_input(name: str) -> None:
    with pytest.raises(Unwritable, match=f"hold 'image', where request format {re.escape(name)} puts the input"):
        write(name, PICTURE, image="x")


def test_a_path_to_one_place_carries_one_input() -> None:
    with pytest.raises(Unwritable, match="one input, not 2; instances carries several"):
        write("json:image", PICTURE, PICTURE)


def test_tensors_are_of_bytes() -> None:
    assert sent("tensors", PICTURE, id="7", outputs=[{"name": "p", "parameters": {"classification": 2}}]) == {
        "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [b64(PICTURE)]}],
        "id": "7",
        "outputs": [{"name": "p", "parameters": {"classification": 2}}],
    }
    assert sent("tensors:args", WORDS, Input(text="b"))["inputs"] == [
        {"name": "args", "shape": [2], "datatype": "BYTES", "data": [WORDS.text, "b"]}
    ]
    assert sent("tensors:INPUT__0[1]", WORDS, WORDS)["inputs"][0]["shape"] == [2, 1]
    with pytest.raises(Unwritable, match="hold 'inputs'"):
        write("tensors", PICTURE, inputs=[])


def fields_of(body: Body) -> list[tuple[str, str | None, str | None, bytes]]:
    """Read a form as a mail parser does: name, file name, media type and content of each field."""
    head = f"MIME-Version: 1.0\r\nContent-Type: {body.media_type}\r\n\r\n".encode()
    parts = message_from_bytes(head + body.content, policy=HTTP).iter_parts()
    fields = []
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        assert isinstance(name, str)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        fields.append((name, part.get_filename(), part["Content-Type"], content))
    return fields


def test_a_form_holds_a_file_and_parameters() -> None:
    form = write("multipart", PICTURE, model="yolo", conf=0.25, augment=True, classes=[1, 2])
    assert fields_of(form) == [
        ("model", None, None, b"yolo"),
        ("conf", None, None, b"0.25"),
        ("augment", None, None, b"true"),
        ("classes", None, None, b"1"),
        ("classes", None, None, b"2"),
        ("file", "image.png", "image/png", b"a picture"),
    ]
    assert fields_of(write("multipart:image", Input(b"x", "text/html"))) == [
        ("image", "file.bin", "application/octet-stream", b"x")
    ]
    assert fields_of(write("multipart", WORDS)) == [("text", None, None, (WORDS.text or "").encode())]


def test_no_content_ends_a_form() -> None:
    first = write("multipart", PICTURE)
    boundary = first.media_type.partition("boundary=")[2]
    evil = f"\r\n--{boundary}--\r\n".encode()
    assert fields_of(write("multipart", Input(evil, "image/png")))[0][3] == evil


def test_the_same_input_is_the_same_form_each_time() -> None:
    assert write("multipart", PICTURE) == write("multipart", PICTURE)
    assert write("multipart", PICTURE).media_type != write("multipart", WORDS).media_type


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
    ("raw:application/x-image", WORDS, "format raw:application/x-image carries files; raw carries a text"),
    ("raw:text/csv", PICTURE, "format raw:text/csv carries texts; raw carries a file"),
    ("base64", WORDS, "format base64 carries files; raw carries a text"),
    ("base64", POINTED, "format base64 cannot carry a prompt; instances can"),
    ("multipart", POINTED, "format multipart cannot carry a prompt; instances can"),
    ("multipart", AWAY, "format multipart cannot carry a URI; reference does"),
    ("json:image", POINTED, "format json:image cannot carry a prompt; instances can"),
    ("json", AWAY, "format json cannot carry a URI; reference does"),
    ("json:x.b64", HALF, "not valid Unicode"),
    ("tensors", AWAY, "format tensors cannot carry a URI; reference does"),
    ("tensors", POINTED, "format tensors cannot carry a prompt; instances can"),
    ("tensors", HALF, "not valid Unicode"),
    ("inputs:labels", WORDS, "the labels of one tag of choices, and the label config has none; inputs with candidate"),
    ("inputs:labels", asked(CHOICES, SEVERAL), "the label config has 2; inputs with candidate_labels"),
    ("inputs:labels", POINTED, "format inputs:labels cannot carry a prompt; instances can"),
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
    alone = ("raw", "json", "multipart", "base64", "chat")
    assert together == dict.fromkeys(REQUESTS, True) | dict.fromkeys(alone, False)
    assert request_format("json:instances[].data", kind="http").together
    assert all(request_format(name, kind="http").name == name for name in REQUESTS)


def test_an_unknown_format_is_a_setting_to_mend() -> None:
    with pytest.raises(SettingsError, match=r"'grpc' is not known\. Possible are auto, raw, instances, automl, inputs"):
        request_format("grpc", kind="http")


WRONG_OPTIONS = [
    ("instances:data", "an option behind a colon, as in .* is for raw, json, multipart, base64, tensors"),
    ("auto:x", "an option behind a colon"),
    ("inputs:x", "possible are inputs, inputs:labels"),
    ("json:", "an option behind a colon"),
    ("raw:jpeg", "needs a media type"),
    ("raw:application/json", "a media type that is not JSON's"),
    ("raw:text/csv\r\nX-Evil: 1", "needs a media type"),
    ("base64:application/vnd.api+json", "a media type that is not JSON's"),
    ("json:[].image", "needs names with dots between"),
    ("json::data", "needs names with dots between"),
    ("json:a:url", "perhaps with :data behind it"),
    ("json:a..b", "needs names with dots between"),
    ("json:instances[0].b64", "needs names with dots between"),
    ('multipart:a"; filename="x', "needs a form field's name"),
    ("tensors:a b", "needs the name of the model's input"),
    ("tensors:a[2]", "needs the name of the model's input"),
    ("tensors:[1]", "needs the name of the model's input"),
]


@pytest.mark.parametrize(("name", "reason"), WRONG_OPTIONS)
def test_a_wrong_option_is_a_setting_to_mend(name: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        request_format(name, kind="http")
