"""Classification in SageMaker's containers: JumpStart, AutoGluon, and the built-in algorithms.

Amazon SageMaker Developer Guide ("Linear learner response formats", "k-NN inference", BlazingText's "Model hosting"),
aws/sagemaker-xgboost-container (``algorithm_mode/serve.py``), autogluon/autogluon-cloud (``multimodal_serve.py``).
"""

import json
from collections.abc import Callable
from typing import Any

from labelloop.types import Findings, Input, Number, Output, Region
from support.containers.base import PICTURE, TEXT, Container, NotAccepted, Received

FEATURES = Input(text="5.1,3.5,1.4,0.2")
CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "")
TWO_CLASSES = {"request": "raw:text/csv", "classes": "dog,cat"}


VERBOSE = "Accept: application/json;verbose"


def _require_verbose(request: Received) -> None:
    if request.headers.get("accept") != "application/json;verbose":
        raise NotAccepted("not asked for verbosely")


def _verbose(request: Received) -> Any:
    request.picture("application/x-image")
    _require_verbose(request)
    # ImageNet has two cranes.
    return {
        "probabilities": [0.125, 0.25, 0.125, 0.5],
        "labels": ["heron", "crane", "egret", "crane"],
        "predicted_label": "crane",
    }


def _plain(request: Received) -> Any:
    request.picture("application/x-image")
    return {"probabilities": [0.25, 0.75]}


def _text_verbose(request: Received) -> Any:
    if request.media_type != "application/x-text" or request.body.decode() != TEXT.text:
        raise NotAccepted("expected application/x-text")
    _require_verbose(request)
    return {"probabilities": [0.25, 0.75], "labels": [0, 1], "predicted_label": 1}


def _autogluon(request: Received) -> Any:
    request.picture("application/x-image")
    return {"animal": {"0": "cat"}, "cat_proba": {"0": 0.75}, "dog_proba": {"0": 0.25}}


def _autogluon_csv(request: Received) -> Any:
    request.picture("application/x-image")
    return b"animal,cat_proba,dog_proba\ncat,0.75,0.25\n"


def _csv(said: Any) -> Callable[[Received], Any]:
    def serve(request: Received) -> Any:
        if request.media_type != "text/csv" or request.body.decode() != FEATURES.text:
            raise NotAccepted("expected one row of text/csv")
        return said

    return serve


def _blazing_text(request: Received) -> Any:
    if request.json() != {"instances": [TEXT.text]}:
        raise NotAccepted('expected {"instances": ["a text"]}')
    return [{"label": ["__label__cat"], "prob": [0.75]}]


def _lambda_proxy(request: Received) -> Any:
    request.picture()
    return {
        "statusCode": 200,
        "body": json.dumps([{"label": "cat", "score": "0.75"}, {"label": "dog", "score": "0.25"}]),
    }


IMAGE = {"request": "raw:application/x-image"}

SAGEMAKER_MODELS = (
    Container(
        "JumpStart image classification, verbose",
        PICTURE,
        _verbose,
        Output("crane", 0.75, {"heron": 0.125, "crane": 0.75, "egret": 0.125}, ""),
        path="/invocations",
        options=IMAGE,
        headers=VERBOSE,
    ),
    Container(
        "JumpStart image classification, not verbose",
        PICTURE,
        _plain,
        CAT,
        path="/invocations",
        options=IMAGE | {"classes": "dog,cat"},
    ),
    Container(
        "JumpStart text classification, verbose",
        TEXT,
        _text_verbose,
        CAT,
        path="/invocations",
        options={"request": "raw:application/x-text", "classes": "dog,cat"},
        headers=VERBOSE,
    ),
    Container("AutoGluon, JSON", PICTURE, _autogluon, CAT, path="/invocations", options=IMAGE),
    Container(
        "AutoGluon, CSV",
        PICTURE,
        _autogluon_csv,
        CAT,
        path="/invocations",
        options=IMAGE,
        answers_as="text/csv; charset=utf-8",
    ),
    Container(
        "SageMaker XGBoost, multi:softprob",
        FEATURES,
        _csv(b"[0.25, 0.75]"),
        CAT,
        path="/invocations",
        options=TWO_CLASSES,
        answers_as="text/csv; charset=utf-8",
    ),
    Container(
        "SageMaker XGBoost, binary:logistic",
        FEATURES,
        _csv(b"0.75"),
        CAT,
        path="/invocations",
        options=TWO_CLASSES | {"response": "binary"},
        answers_as="text/csv; charset=utf-8",
    ),
    Container(
        "SageMaker linear learner, two classes",
        FEATURES,
        _csv({"predictions": [{"score": 0.75, "predicted_label": 1}]}),
        CAT,
        path="/invocations",
        options=TWO_CLASSES,
    ),
    Container(
        "SageMaker linear learner, several classes",
        FEATURES,
        _csv({"predictions": [{"score": [0.125, 0.25, 0.625], "predicted_label": 2}]}),
        Output("cat", 0.625, {"ant": 0.125, "bee": 0.25, "cat": 0.625}, ""),
        path="/invocations",
        options={"request": "raw:text/csv", "classes": "ant,bee,cat"},
    ),
    Container(
        "SageMaker k-NN",
        FEATURES,
        _csv({"predictions": [{"predicted_label": 1.0}]}),
        Findings((Region("cat", Number(1.0)),), ""),
        path="/invocations",
        options=TWO_CLASSES,
        label_config=(
            '<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="dog"/>'
            '<Choice value="cat"/></Choices></View>'
        ),
    ),
    Container(
        "SageMaker BlazingText",
        TEXT,
        _blazing_text,
        Output("cat", 0.75, {"cat": 0.75}, "", "multiple"),
        path="/invocations",
        options={"request": "json:instances[]"},
    ),
    Container("AWS Lambda proxy, JSON in its body", PICTURE, _lambda_proxy, CAT),
)
