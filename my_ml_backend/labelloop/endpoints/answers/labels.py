"""Classifications as records: each class an object with its name and its score."""

from collections.abc import Mapping
from typing import Any

from labelloop.endpoints.answers.classifications import class_of, classified, is_binary
from labelloop.endpoints.answers.format import Asked, Malformed, class_name, entries, is_number, number, read_score
from labelloop.endpoints.answers.layout import wrapped
from labelloop.endpoints.answers.vocabulary import (
    LABELS,
    SCORES,
    WRITTEN,
    field,
    folded,
    has_place,
    is_scalar,
    label_key,
    score_key,
)
from labelloop.types import Answer, Findings, Output


class Labels:
    """The answer format ``labels``: ``[{"label", "score"}, ...]`` by any of the vocabulary's names, or one alone."""

    name = "labels"
    made_by = "Hugging Face, Azure Custom Vision and Roboflow classification, Google Vision labels"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is one or more objects with a label and a score and no place."""
        if isinstance(item, list):
            return bool(item) and all(map(_is_label, item))
        return _is_label(item) and not (_is_written(item) or _says_more(item))

    def read(self, item: Any, one: Asked) -> Output:
        """Read one input's classes; see ``classified`` for single and multiple. Raises Malformed."""
        return classified([_pair(entry, one) for entry in entries(item)], one.version)


def _is_label(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and field(entry, SCORES, is_scalar) is not None
        and field(entry, LABELS, is_scalar) is not None
        and not has_place(entry)
        and not is_binary(entry)
    )


def _says_more(entry: Mapping[str, Any]) -> bool:
    """Whether it is the best class with the scores of all, or inside an object of another kind."""
    inside = wrapped(entry)
    if inside is not None and not is_scalar(inside[1]):
        return True
    return (
        not {"label", "score"} <= entry.keys() and field(entry, SCORES, lambda value: not is_scalar(value)) is not None
    )


def _is_written(entry: Mapping[str, Any]) -> bool:
    key = label_key(entry)
    return key is not None and folded(key) in WRITTEN


def _pair(entry: Mapping[str, Any], one: Asked) -> tuple[str, float]:
    key = label_key(entry) or field(entry, LABELS, is_scalar)
    score = score_key(entry) or field(entry, SCORES, is_scalar) or "score"
    return class_of(key, entry.get(key or ""), one), read_score(score, entry.get(score))


class Rekognition:
    """The answer format ``rekognition``, Amazon's: ``{"Labels": [{"Name": "Cat", "Confidence": 98.1}]}``, in percent.

    ``CustomLabels`` and ``ModerationLabels`` likewise. Every class stands for itself.
    """

    name = "rekognition"
    made_by = "Amazon Rekognition labels, custom and moderation labels"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is an object with such a list, of things without a place."""
        listed = _rekognized(item)
        return listed is not None and all(_is_rekognized(entry) for entry in listed)

    def read(self, item: Any, one: Asked) -> Answer:
        """Read one picture's labels, perhaps none. Raises Malformed where they may not be in percent."""
        listed = _rekognized(item)
        if listed is None or not all(_is_rekognized(entry) for entry in listed):
            raise Malformed('it has no list "Labels" of objects with "Name" and "Confidence"')
        if not listed:
            return Findings((), one.version)
        certain = "Labels" not in item or any(mark in listed[0] for mark in ("Instances", "Parents", "Categories"))
        if not certain and all(entry["Confidence"] <= 1 for entry in listed):
            raise Malformed("whether its confidences are in percent cannot be told: a mapping says so")
        scores: dict[str, float] = {}
        for entry in listed:
            score = read_score("Confidence", number("Confidence", entry["Confidence"]) / 100)
            scores[entry["Name"]] = max(score, scores.get(class_name(entry["Name"], one), 0.0))
        best = max(scores, key=scores.__getitem__)
        return Output(best, scores[best], scores, one.version, "multiple")


def _rekognized(item: Any) -> list[Any] | None:
    for key in ("Labels", "CustomLabels", "ModerationLabels"):
        if isinstance(item, dict) and isinstance(item.get(key), list):
            return list(item[key])
    return None


def _is_rekognized(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("Name"), str)
        and is_number(entry.get("Confidence"))
        and "Geometry" not in entry
    )
