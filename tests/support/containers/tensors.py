"""Servers of tensors: TensorFlow Serving, KServe v1 and v2, Triton, MLServer.

TensorFlow Serving's "RESTful API", "Predict API"; KServe's "Open Inference Protocol", HTTP/REST; Triton's
"Classification Extension"; MLServer's Hugging Face runtime. Scores, labels and boxes are made up.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any

from labelloop.types import Box, Findings, Output, Region
from support.containers.base import PICTURE, TEXT, Container, NotAccepted, Received, picture_size

CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "")
CLASSES = "dog,cat"


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, binascii.Error) as error:
        raise NotAccepted(f"no base64: {error}") from error


def _served(request: Received, *keys: str) -> list[Any]:
    """Take the instances of a row-format request; other keys than these are unknown."""
    body = request.json()
    if unknown := body.keys() - {"instances", *keys}:
        raise NotAccepted(f"unknown keys {sorted(unknown)}")
    if not isinstance(body.get("instances"), list) or not body["instances"]:
        raise NotAccepted("Missing 'inputs' or 'instances' key")
    return list(body["instances"])


def _bytes_of(value: Any) -> bytes:
    """Read a string tensor's element as TensorFlow Serving does: an object of one key, b64, holds bytes."""
    if not isinstance(value, dict) or value.keys() != {"b64"}:
        raise NotAccepted("JSON Value is not of the expected type: string")
    return _decoded(value["b64"])


def _tensorflow(request: Received) -> Any:
    instances = _served(request, "signature_name")
    for one in instances:
        picture_size(_bytes_of(one))
    return {"predictions": [[0.25, 0.75] for _ in instances]}


def _tensorflow_named(request: Received) -> Any:
    instances = _served(request, "signature_name")
    if request.json().get("signature_name") != "serving_bytes":
        raise NotAccepted('Serving signature key "serving_default" not found.')
    for one in instances:
        if not isinstance(one, dict) or one.keys() != {"image_bytes"}:
            raise NotAccepted("JSON object: does not have named input: image_bytes")
        picture_size(_bytes_of(one["image_bytes"]))
    return {"predictions": [{"scores": [0.25, 0.75], "classes": ["dog", "cat"]} for _ in instances]}


def _tensorflow_columns(request: Received) -> Any:
    pictures = request.json()["inputs"]["image_bytes"]
    for one in pictures:
        picture_size(_bytes_of(one))
    return {"outputs": [[0.25, 0.75] for _ in pictures]}


def _kserve_text(request: Received) -> Any:
    instances = _served(request)
    if set(map(str, instances)) != {TEXT.text}:
        raise NotAccepted("expected a list of texts")
    return {"predictions": [{"label": "cat", "score": 0.75} for _ in instances]}


def _infer(request: Received, name: str, read: Callable[[str], None], *, wide: bool = False) -> tuple[int, Any]:
    """Read an input tensor of BYTES, of shape [n], or [n, 1] where it is ``wide``; gives n and the whole request."""
    if not re.fullmatch(r"/v2/models/\w+(/versions/\d+)?/infer", request.path):
        raise NotAccepted(f"no such path {request.path}")
    body = request.json()
    (tensor,) = body["inputs"]
    if tensor["name"] != name:
        raise NotAccepted(f"unexpected inference input {tensor['name']!r} for model")
    if tensor["datatype"] != "BYTES":
        raise NotAccepted(f"inference input data-type is {tensor['datatype']!r}, but model expects BYTES")
    count, *inner = tensor["shape"]
    if inner != [1] * wide or len(tensor["data"]) != count:
        raise NotAccepted(f"unexpected shape for input {name!r}: {tensor['shape']} of {len(tensor['data'])} elements")
    for element in tensor["data"]:
        read(element)
    return count, body


def _picture(element: str) -> None:
    picture_size(_decoded(element))


def _text(element: str) -> None:
    if element != TEXT.text:
        raise NotAccepted("the text is another")


def _tensor(name: str, datatype: str, shape: list[int], *data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": list(data)}


def _answer(*outputs: dict[str, Any], version: str = "1") -> dict[str, Any]:
    return {"model_name": "cats", "model_version": version, "outputs": list(outputs)}


def _triton(request: Received) -> Any:
    count, _ = _infer(request, "image", _picture)
    return _answer(_tensor("probabilities", "FP32", [count, 2], *[0.25, 0.75] * count))


def _triton_classified(request: Received) -> Any:
    count, body = _infer(request, "raw_image", _picture, wide=True)
    if body.get("outputs") != [{"name": "probabilities", "parameters": {"classification": 2}}]:
        raise NotAccepted("no classification was asked for")
    return _answer(_tensor("probabilities", "BYTES", [count, 2], *["0.750000:1:cat", "0.250000:0:dog"] * count))


def _triton_detector(request: Received) -> Any:
    count, _ = _infer(request, "image", _picture)
    return _answer(
        _tensor("boxes", "FP32", [count, 2, 4], *[50, 25, 150, 75, 0, 0, 100, 50] * count),
        _tensor("labels", "BYTES", [count, 2], *["cat", "dog"] * count),
        _tensor("scores", "FP32", [count, 2], *[0.75, 0.5] * count),
    )


def _kserve_labels(request: Received) -> Any:
    count, _ = _infer(request, "text", _text)
    return _answer(
        _tensor("labels", "BYTES", [count, 2], *["cat", "dog"] * count),
        _tensor("scores", "FP32", [count, 2], *[0.75, 0.25] * count),
    )


def _mlserver(request: Received) -> Any:
    count, _ = _infer(request, "args", _text)
    said = json.dumps({"label": "cat", "score": 0.75})
    output = _tensor("output", "BYTES", [count, 1], *[said] * count) | {"parameters": {"content_type": "hg_jsonlist"}}
    return _answer(output) | {"id": "9c1e", "parameters": {}}


TENSORS = (
    Container(
        "TensorFlow Serving",
        PICTURE,
        _tensorflow,
        CAT,
        path="/v1/models/cats:predict",
        options={"classes": CLASSES},
    ),
    Container(
        "TensorFlow Serving, named inputs and a signature",
        PICTURE,
        _tensorflow_named,
        CAT,
        path="/v1/models/cats/versions/2:predict",
        options={"request": "json:instances[].image_bytes.b64", "parameters": {"signature_name": "serving_bytes"}},
    ),
    Container(
        "TensorFlow Serving, inputs by columns",
        PICTURE,
        _tensorflow_columns,
        CAT,
        path="/v1/models/cats:predict",
        options={"request": "json:inputs.image_bytes[].b64", "classes": CLASSES},
    ),
    Container(
        "KServe v1, texts",
        TEXT,
        _kserve_text,
        Output("cat", 0.75, {"cat": 0.75}, "", "multiple"),
        path="/v1/models/cats:predict",
    ),
    Container("Triton, scores", PICTURE, _triton, CAT, path="/v2/models/cats/infer", options={"classes": CLASSES}),
    Container(
        "Triton, classification extension",
        PICTURE,
        _triton_classified,
        CAT,
        path="/v2/models/cats/versions/1/infer",
        options={
            "request": "tensors:raw_image[1]",
            "parameters": {"outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]},
        },
    ),
    Container(
        "Triton, a detector of boxes, labels and scores",
        PICTURE,
        _triton_detector,
        Findings(
            (Region("cat", Box(0.25, 0.25, 0.5, 0.5), 0.75), Region("dog", Box(0, 0, 0.5, 0.5), 0.5)),
            "",
            (200, 100),
        ),
        path="/v2/models/cats/infer",
    ),
    Container("KServe v2, labels and scores", TEXT, _kserve_labels, CAT, path="/v2/models/cats/infer"),
    Container(
        "MLServer, Hugging Face runtime",
        TEXT,
        _mlserver,
        Output("cat", 0.75, {"cat": 0.75}, "", "multiple"),
        path="/v2/models/cats/infer",
        options={"request": "tensors:args"},
    ),
)
