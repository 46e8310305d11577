"""Vendors' classification, and servers of one's own around a model.

Azure Custom Vision 3.1 ("Classify Image"), Roboflow ("Classification", roboflow/inference's response models), Google
Cloud Vision (``images:annotate``), Amazon Rekognition (``DetectLabels``), MLflow ("Deployment: REST API"), Azure ML
(AutoML's scoring script for pictures), scikit-learn behind Flask.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from labelloop.studio.assignment import assignment_of
from labelloop.studio.label_config import parse_label_config
from labelloop.types import Findings, Number, Output, Region, Text
from support.containers.base import PICTURE, TEXT, Container, NotAccepted, Received, picture_size

CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "")
CHOICES = (
    '<View><{0} name="it" value="$it"/><Choices name="label" toName="it"><Choice value="dog"/><Choice value="cat"/>'
    "</Choices></View>"
)


def _custom_vision(request: Received) -> Any:
    request.picture("application/octet-stream")
    return {
        "id": "e1a3",
        "project": "4f9a",
        "iteration": "8b0d",
        "created": "2026-01-02T03:04:05.006Z",
        "predictions": [
            {"probability": 0.75, "tagId": "b607964f", "tagName": "cat", "tagType": "Regular"},
            {"probability": 0.25, "tagId": "45619cda", "tagName": "dog", "tagType": "Regular"},
        ],
    }


def _roboflow(request: Received) -> tuple[int, int]:
    if request.media_type != "application/x-www-form-urlencoded":
        raise NotAccepted("expected the base64 of a picture")
    return picture_size(base64.b64decode(request.body, validate=True))


def _roboflow_single(request: Received) -> Any:
    width, height = _roboflow(request)
    return {
        "time": 0.19,
        "image": {"width": width, "height": height},
        "predictions": [
            {"class": "cat", "class_id": 1, "confidence": 0.75},
            {"class": "dog", "class_id": 0, "confidence": 0.25},
        ],
        "top": "cat",
        "confidence": 0.75,
    }


def _roboflow_multi(request: Received) -> Any:
    width, height = _roboflow(request)
    return {
        "time": 0.19,
        "image": {"width": width, "height": height},
        "predictions": {"cat": {"confidence": 0.75, "class_id": 1}, "dog": {"confidence": 0.5, "class_id": 0}},
        "predicted_classes": ["cat"],
    }


def _google_vision(request: Received) -> Any:
    request.picture()
    return {
        "responses": [
            {
                "labelAnnotations": [
                    {"mid": "/m/01yrx", "description": "Cat", "score": 0.96875, "topicality": 0.5},
                    {"mid": "/m/04rky", "description": "Mammal", "score": 0.875, "topicality": 0.25},
                ]
            }
        ]
    }


def _rekognition(request: Received) -> Any:
    request.picture()
    return {
        "Labels": [
            {"Name": "Cat", "Confidence": 96.875, "Instances": [], "Parents": [{"Name": "Animal"}]},
            {"Name": "Animal", "Confidence": 87.5, "Instances": [], "Parents": []},
        ],
        "LabelModelVersion": "3.0",
    }


def _zero_shot(request: Received) -> Any:
    if request.json() != {"inputs": TEXT.text, "parameters": {"candidate_labels": ["cat", "dog"]}}:
        raise NotAccepted("candidate_labels are missing")
    return {"sequence": TEXT.text, "labels": ["cat", "dog"], "scores": [0.75, 0.25]}


def _zero_shot_picture(request: Received) -> Any:
    body = request.json()
    if body.keys() != {"inputs", "parameters"} or body["parameters"] != {
        "candidate_labels": ["dog", "cat"],
        "multi_label": False,
    }:
        raise NotAccepted("candidate_labels are missing")
    picture_size(base64.b64decode(body["inputs"], validate=True))
    return [{"score": 0.75, "label": "cat"}, {"score": 0.25, "label": "dog"}]


def _azure_ml(request: Received) -> Any:
    request.picture()
    return [{"filename": "/tmp/tmpjlz", "probs": [0.25, 0.75], "labels": ["dog", "cat"]}]


def _on_text(said: Any) -> Callable[[Received], Any]:
    def serve(request: Received) -> Any:
        if request.json() != {"inputs": [TEXT.text]}:
            raise NotAccepted('expected {"inputs": [...]}')
        return said

    return serve


def _on_picture(said: Any) -> Callable[[Received], Any]:
    def serve(request: Received) -> Any:
        request.picture()
        return said

    return serve


TO_MLFLOW = {"request": "json:inputs[]"}

CLASSIFICATION_SERVICES = (
    Container(
        "Azure Custom Vision classification",
        PICTURE,
        _custom_vision,
        CAT,
        path="/customvision/v3.1/Prediction/4f9a/classify/iterations/one/image",
    ),
    Container("Roboflow single-label classification", PICTURE, _roboflow_single, CAT, options={"request": "base64"}),
    Container(
        "Roboflow multi-label classification",
        PICTURE,
        _roboflow_multi,
        Output("cat", 0.75, {"cat": 0.75, "dog": 0.5}, "", "multiple"),
        options={"request": "base64"},
    ),
    Container(
        "Google Vision labels, through a proxy",
        PICTURE,
        _google_vision,
        Output("Cat", 0.96875, {"Cat": 0.96875, "Mammal": 0.875}, "", "multiple"),
    ),
    Container(
        "Amazon Rekognition labels, through a proxy",
        PICTURE,
        _rekognition,
        Output("Cat", 0.96875, {"Cat": 0.96875, "Animal": 0.875}, "", "multiple"),
    ),
    Container(
        "Hugging Face zero-shot classification",
        TEXT,
        _zero_shot,
        CAT,
        options={"request": "inputs", "parameters": {"candidate_labels": ["cat", "dog"]}},
    ),
    Container(
        "Hugging Face zero-shot image classification",
        replace(PICTURE, assignment=assignment_of(parse_label_config(CHOICES.format("Image")))),
        _zero_shot_picture,
        CAT,
        options={"request": "inputs:labels"},
        label_config=CHOICES.format("Image"),
    ),
    Container("Azure ML AutoML image classification", PICTURE, _azure_ml, CAT),
    Container(
        "MLflow, names of classes",
        TEXT,
        _on_text({"predictions": ["cat"]}),
        Findings((Region("", Text("cat")),), ""),
        path="/invocations",
        options=TO_MLFLOW,
        label_config=CHOICES.format("Text"),
    ),
    Container(
        "MLflow, numbers of classes",
        TEXT,
        _on_text({"predictions": [1]}),
        Findings((Region("cat", Number(1.0)),), ""),
        path="/invocations",
        options=TO_MLFLOW | {"classes": "dog,cat"},
        label_config=CHOICES.format("Text"),
    ),
    Container(
        "scikit-learn behind Flask",
        PICTURE,
        _on_picture({"prediction": "cat", "confidence": 0.75}),
        Findings((Region("", Text("cat"), 0.75),), ""),
        label_config=CHOICES.format("Image"),
    ),
    Container(
        "scikit-learn behind FastAPI, predict_proba",
        PICTURE,
        _on_picture({"predicted_class": "cat", "confidence": 0.75, "probabilities": {"dog": 0.25, "cat": 0.75}}),
        CAT,
    ),
    Container(
        "a label alone",
        PICTURE,
        _on_picture(json.dumps("cat").encode()),
        Findings((Region("", Text("cat")),), ""),
        label_config=CHOICES.format("Image"),
    ),
)
