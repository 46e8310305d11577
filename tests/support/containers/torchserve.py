"""TorchServe's default handlers (pytorch/serve, ``ts/torch_handler``, ``ts/utils/util.py``), and Vertex AI's image."""

import base64
from typing import Any

from labelloop.types import Output
from support.containers.base import PICTURE, TEXT, Container, NotAccepted, Received, picture_size

# Five of ImageNet's thousand classes: what is left of 1 was given to the others.
FEW = {"tabby": 0.5, "tiger_cat": 0.25, "Egyptian_cat": 0.125, "lynx": 0.0625, "plastic_bag": 0.03125}


def _image_classifier(request: Received) -> Any:
    request.picture()
    return FEW


def _without_names(request: Received) -> Any:
    request.picture()
    return {"2": 0.75, "0": 0.25}


def _text_classifier(request: Received) -> Any:
    if request.body.decode() != TEXT.text:
        raise NotAccepted("the text is another")
    return {"World": 0.75, "Sports": 0.25}


def _vertex(request: Received) -> Any:
    body = request.json()
    if set(body) != {"instances"} or not all(set(one) == {"data"} for one in body["instances"]):
        raise NotAccepted('expected {"instances": [{"data": ...}]}')
    for one in body["instances"]:
        picture_size(base64.b64decode(one["data"]["b64"], validate=True))
    return {"predictions": [{"cat": 0.75, "dog": 0.25} for _ in body["instances"]], "deployedModelId": "4242"}


TORCHSERVE = (
    Container(
        "TorchServe image_classifier",
        PICTURE,
        _image_classifier,
        Output("tabby", 0.5, FEW, "", "multiple"),
        path="/predictions/resnet",
    ),
    Container(
        "TorchServe image_classifier without index_to_name.json",
        PICTURE,
        _without_names,
        Output("cat", 0.75, {"cat": 0.75, "ant": 0.25}, ""),
        path="/predictions/resnet",
        options={"classes": "ant,bee,cat"},
    ),
    Container(
        "TorchServe text_classifier",
        TEXT,
        _text_classifier,
        Output("World", 0.75, {"World": 0.75, "Sports": 0.25}, ""),
        path="/predictions/news",
    ),
    Container(
        "Vertex AI PyTorch (TorchServe behind it)",
        PICTURE,
        _vertex,
        Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, ""),
        options={"request": "json:instances[].data.b64"},
    ),
)
