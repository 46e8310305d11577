"""Servers around a model that read forms and JSON of their own shape.

FastAPI ("Request Files"; python-multipart), BentoML ("Input and output types"), MLflow ("Accepted Input Formats"),
Azure ML (AutoML's "Data schema for online scoring"), KServe's TorchServe runtime, SageMaker BlazingText,
Cog ("HTTP API").
"""

import base64
from email import message_from_bytes
from email.policy import HTTP
from typing import Any

from labelloop.types import Output
from support.containers.base import PICTURE, TEXT, Container, NotAccepted, Received, picture_size

CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "")
BOTH = [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]


def _form(request: Received) -> dict[str, tuple[str | None, bytes]]:
    """Read a form: the file's name, where a field has one, and the content, by the field's name."""
    if request.media_type != "multipart/form-data":
        raise NotAccepted(f"unsupported content type {request.media_type!r}")
    head = f"MIME-Version: 1.0\r\nContent-Type: {request.headers['content-type']}\r\n\r\n".encode()
    fields = {}
    for part in message_from_bytes(head + request.body, policy=HTTP).iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        fields[str(part.get_param("name", header="content-disposition"))] = (part.get_filename(), content)
    return fields


def _uploaded(request: Received, field: str, *others: str) -> None:
    """Take a picture that is uploaded as a file, as FastAPI's UploadFile does."""
    form = _form(request)
    if form.keys() != {field, *others}:
        raise NotAccepted(f"the fields are {sorted(form)}")
    name, content = form[field]
    if not name or "." not in name:
        raise NotAccepted(f"{field} is no file")
    picture_size(content)


def _fastapi(request: Received) -> Any:
    _uploaded(request, "file", "conf")
    if _form(request)["conf"] != (None, b"0.25"):
        raise NotAccepted("conf is no number")
    return {"predictions": BOTH}


def _fastapi_text(request: Received) -> Any:
    if _form(request) != {"text": (None, (TEXT.text or "").encode())}:
        raise NotAccepted("field required: text")
    return {"label": "cat", "confidence": 0.75}


def _bentoml(request: Received) -> Any:
    _uploaded(request, "image")
    return BOTH


def _json_image(request: Received) -> Any:
    body = request.json()
    if body.keys() != {"image", "top_k"}:
        raise NotAccepted(f"the fields are {sorted(body)}")
    picture_size(base64.b64decode(body["image"], validate=True))
    return {"results": BOTH}


def _json_text(request: Received) -> Any:
    if request.json() != {"text": TEXT.text}:
        raise NotAccepted("field required: text")
    return BOTH


def _frame(said: Any, key: str, column: str) -> list[Any]:
    """Read pandas' split orientation of one column, whose rows may be lists or plain values."""
    if not isinstance(said, dict) or said.keys() - {"columns", "index", "data"} or said.get("columns") != [column]:
        raise NotAccepted(f"{key} needs columns and data")
    return [row[0] if isinstance(row, list) else row for row in said["data"]]


def _azure_frame(request: Received) -> Any:
    pictures = _frame(request.json()["input_data"], "input_data", "image")
    for one in pictures:
        picture_size(base64.b64decode(one, validate=True))
    return [{"probs": [0.25, 0.75], "labels": ["dog", "cat"]} for _ in pictures]


def _mlflow_frame(request: Received) -> Any:
    texts = _frame(request.json()["dataframe_split"], "dataframe_split", "text")
    if texts != [TEXT.text]:
        raise NotAccepted("the text is another")
    return {"predictions": [{"label": "cat", "score": 0.75}]}


def _mlflow_pictures(request: Received) -> Any:
    pictures = request.json()["inputs"]
    for one in pictures:
        picture_size(base64.b64decode(one, validate=True))
    return {"predictions": [[0.25, 0.75] for _ in pictures]}


def _torchserve_envelope(request: Received) -> Any:
    instances = request.json()["instances"]
    for one in instances:
        picture_size(base64.b64decode(one["data"], validate=True))
    return {"predictions": [{"cat": 0.75, "dog": 0.25} for _ in instances]}


def _blazing_text(request: Received) -> Any:
    body = request.json()
    if body != {"instances": [TEXT.text], "configuration": {"k": 2}}:
        raise NotAccepted("expected instances and a configuration")
    return [{"label": ["__label__cat", "__label__dog"], "prob": [0.75, 0.25]}]


def _cog(request: Received) -> Any:
    sent = request.json()["input"]
    if sent.keys() != {"image", "threshold"}:
        raise NotAccepted(f"the inputs are {sorted(sent)}")
    head, _, data = sent["image"].partition(";base64,")
    if head != "data:image/png":
        raise NotAccepted("image is no data: URL")
    picture_size(base64.b64decode(data, validate=True))
    return {"status": "succeeded", "output": BOTH, "error": None}


UPLOADS = (
    Container(
        "Cog (Replicate)",
        PICTURE,
        _cog,
        CAT,
        path="/predictions",
        options={"request": "json:input.image:data", "parameters": {"input": {"threshold": 0.5}}},
    ),
    Container(
        "FastAPI upload form (YOLO and other handlers)",
        PICTURE,
        _fastapi,
        CAT,
        options={"request": "multipart", "parameters": {"conf": 0.25}},
    ),
    Container(
        "FastAPI form with a text",
        TEXT,
        _fastapi_text,
        Output("cat", 0.75, {"cat": 0.75}, "", "multiple"),
        options={"request": "multipart"},
    ),
    Container("BentoML", PICTURE, _bentoml, CAT, path="/classify", options={"request": "multipart:image"}),
    Container(
        "FastAPI, base64 in JSON",
        PICTURE,
        _json_image,
        CAT,
        options={"request": "json", "parameters": {"top_k": 2}},
    ),
    Container("FastAPI, a text in JSON", TEXT, _json_text, CAT, options={"request": "json"}),
    Container(
        "Azure ML, input_data by columns",
        PICTURE,
        _azure_frame,
        CAT,
        path="/score",
        options={
            "request": "json:input_data.data[]",
            "parameters": {"input_data": {"columns": ["image"], "index": [0]}},
        },
    ),
    Container(
        "MLflow, dataframe_split",
        TEXT,
        _mlflow_frame,
        Output("cat", 0.75, {"cat": 0.75}, "", "multiple"),
        path="/invocations",
        options={
            "request": "json:dataframe_split.data[][]",
            "parameters": {"dataframe_split": {"columns": ["text"]}},
        },
    ),
    Container(
        "MLflow, pictures",
        PICTURE,
        _mlflow_pictures,
        CAT,
        path="/invocations",
        options={"request": "json:inputs[]", "classes": "dog,cat"},
    ),
    Container(
        "TorchServe with the envelope of KServe",
        PICTURE,
        _torchserve_envelope,
        CAT,
        path="/v1/models/cats:predict",
        options={"request": "json:instances[].data"},
    ),
    Container(
        "SageMaker BlazingText with a configuration",
        TEXT,
        _blazing_text,
        CAT,
        path="/invocations",
        options={"request": "json:instances[]", "parameters": {"configuration": {"k": 2}}},
    ),
)
