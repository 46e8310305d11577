"""Hugging Face's inference containers and endpoints (huggingface_hub, "Inference API: detailed parameters")."""

from typing import Any

from labelloop.types import Findings, Output, Region, Span
from support.containers.base import PICTURE, TEXT, Container, NotAccepted, Received


def _picture_classes(request: Received) -> Any:
    request.picture()
    return [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]


def _entities(request: Received) -> Any:
    sent = request.json()
    if sent != {"inputs": TEXT.text}:
        raise NotAccepted("inputs must be a text")
    return [
        {"entity_group": "PER", "score": 0.9, "word": "Ada", "start": 0, "end": 3},
        {"entity_group": "LOC", "score": 0.8, "word": "Paris", "start": 12, "end": 17},
    ]


HUGGING_FACE = (
    Container(
        "Hugging Face image classification",
        PICTURE,
        _picture_classes,
        Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, ""),
    ),
    Container(
        "Hugging Face token classification",
        TEXT,
        _entities,
        Findings((Region("PER", Span(0, 3), 0.9), Region("LOC", Span(12, 17), 0.8)), ""),
        options={"request": "inputs"},
    ),
)
