"""What Labelbox checks of each line of an import: that its row, its feature and its numbers are such as there are."""

import math
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from labelloop.types import Json
from support.labelbox.ontologies import find
from support.labelbox.rows import Row

AGGREGATIONS = ("ARITHMETIC_MEAN", "GEOMETRIC_MEAN", "HARMONIC_MEAN", "SUM")
RESERVED = (
    "true_positive_count",
    "false_positive_count",
    "true_negative_count",
    "false_negative_count",
    "precision",
    "recall",
    "f1",
    "iou",
)
"""Names of metrics that are Labelbox's own."""

MOST = 5000
"""Annotations of one feature that one row takes."""

_SHARED = {"uuid", "dataRow"}
_FEATURE = {"name", "schemaId"}
_OBJECT = {"confidence", "classifications", "customMetrics"}
_METRIC = {"metricName", "metricValue", "aggregation", "featureName", "subclassName"}


class Bad(Exception):
    """A line cannot be taken."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name, self.message = name, message


@dataclass
class Checker:
    """Checks the lines of one import. ``row`` finds a row by its id or global key."""

    row: Callable[[str], Row | None]
    ontology: Json
    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def check(self, line: Json) -> Row:
        """Give the row that a line is about. Raises Bad."""
        try:
            return self._check(line)
        except (TypeError, LookupError, AttributeError) as error:
            raise Bad("InvalidAnnotation", f"{type(error).__name__}: {error}") from None

    def _check(self, line: Json) -> Row:
        row = self._row(line)
        if "uuid" in line:
            _uuid(line["uuid"])
        if "metricValue" in line:
            _only(line, _SHARED | _METRIC)
            _check_metric(line, self.ontology)
            return row
        name = self._check_feature(line, row)
        self._seen[row.id, name] += 1
        if self._seen[row.id, name] > MOST:
            raise Bad("TooManyAnnotations", f"a data row takes at most {MOST} annotations of {name}")
        return row

    def _row(self, line: Json) -> Row:
        named = line.get("dataRow")
        if not isinstance(named, dict) or len(named) != 1 or set(named) - {"id", "globalKey"}:
            raise Bad("InvalidDataRow", "dataRow has to have exactly one of id and globalKey")
        ((kind, key),) = named.items()
        row = self.row(str(key))
        if row is None or (row.id if kind == "id" else row.global_key) != key:
            raise Bad("DataRowNotFound", f"data row {key} is not in the model run")
        return row

    def _check_feature(self, line: Json, row: Row) -> str:
        if "answer" in line:
            _only(line, _SHARED | _FEATURE | {"answer", "customMetrics"})
            return _check_answers(line, self.ontology["classifications"])
        kind = "rectangle" if "bbox" in line else "named-entity" if "location" in line else ""
        if not kind:
            raise Bad("InvalidAnnotation", "a line has one of bbox, location, answer and metricValue")
        _only(line, _SHARED | _FEATURE | _OBJECT | {"bbox" if kind == "rectangle" else "location"})
        tools = [one for one in self.ontology["tools"] if one["tool"] == kind]
        tool = _feature(line, tools, kind)
        _confidence(line)
        for one in line.get("classifications", ()):
            _check_answers(one, tool["classifications"])
        if kind == "rectangle":
            _check_box(line["bbox"], row)
        else:
            _check_span(line["location"], row)
        return str(tool["name"])


def _check_answers(line: Json, questions: Sequence[Json]) -> str:
    """Check one question's answer, and those below it."""
    question, answer = _feature(line, questions, "classification"), line.get("answer")
    kind = question["type"]
    if kind == "text":
        if not isinstance(answer, str):
            raise Bad("InvalidAnswer", f"{question['name']} is answered in words")
    elif kind == "radio":
        if not isinstance(answer, dict):
            raise Bad("InvalidAnswer", f"{question['name']} has one answer")
        _check_answer(answer, question)
    else:
        if not isinstance(answer, list) or not answer:
            raise Bad("InvalidAnswer", f"{question['name']} has a list of answers")
        for one in answer:
            _check_answer(one, question)
        told = [_feature(one, question["options"], "answer")["label"] for one in answer]
        if len(set(told)) != len(told):
            raise Bad("InvalidAnswer", f"{question['name']} is given one answer twice")
    return str(question["name"])


def _check_answer(answer: Json, question: Json) -> None:
    _only(answer, _FEATURE | {"confidence", "classifications", "customMetrics"})
    option = _feature(answer, question["options"], f"answer of {question['name']}")
    _confidence(answer)
    for one in answer.get("classifications", ()):
        _only(one, _FEATURE | {"answer"})
        _check_answers(one, option["options"])


def _feature(line: Json, among: Sequence[Json], kind: str) -> Json:
    if ("name" in line) == ("schemaId" in line):
        raise Bad("InvalidFeature", "exactly one of name and schemaId has to be given")
    found = find(among, line)
    if found is None:
        raise Bad("FeatureNotFound", f"the ontology has no {kind} {line.get('name', line.get('schemaId'))}")
    return found


def _check_box(bbox: Any, row: Row) -> None:
    _only(bbox, {"top", "left", "height", "width"})
    if set(bbox) != {"top", "left", "height", "width"} or not all(_number(one) for one in bbox.values()):
        raise Bad("InvalidBoundingBox", "bbox has top, left, height and width")
    if bbox["width"] <= 0 or bbox["height"] <= 0:
        raise Bad("InvalidBoundingBox", "bbox has no area")
    size = row.size
    if size is None:
        raise Bad("InvalidBoundingBox", "the data row is no picture")
    right, bottom = bbox["left"] + bbox["width"], bbox["top"] + bbox["height"]
    if min(bbox["left"], bbox["top"]) < 0 or right > size[0] + 1e-6 or bottom > size[1] + 1e-6:
        raise Bad("InvalidBoundingBox", f"bbox lies outside of the picture, which is {size[0]} x {size[1]}")


def _check_span(location: Any, row: Row) -> None:
    """The end is that of the last letter."""
    _only(location, {"start", "end"})
    if set(location) != {"start", "end"} or not all(type(one) is int for one in location.values()):
        raise Bad("InvalidLocation", "location has start and end, which are whole numbers")
    words = row.words
    if words is None:
        raise Bad("InvalidLocation", "the data row is no text")
    if not 0 <= location["start"] <= location["end"] < len(words):
        raise Bad("InvalidLocation", f"location lies outside of the text, which has {len(words)} letters")


def _check_metric(line: Json, ontology: Json) -> None:
    value, aggregation = line["metricValue"], line.get("aggregation", "ARITHMETIC_MEAN")
    name = line.get("metricName")
    if not isinstance(name, str) or not name.strip():
        raise Bad("InvalidMetric", "a metric has a name")
    values = [value]
    if isinstance(value, dict):
        if not 2 <= len(value) <= 15 or not all(_share(one) for one in value):
            raise Bad("InvalidMetric", "a metric by confidence has 2 to 15 confidences between 0 and 1")
        values = list(value.values())
    if aggregation == "CONFUSION_MATRIX":
        if not all(isinstance(one, list) and len(one) == 4 and all(map(_count, one)) for one in values):
            raise Bad("InvalidMetric", "a confusion matrix has four counts")
    elif aggregation not in AGGREGATIONS:
        raise Bad("InvalidMetric", f"there is no aggregation {aggregation}")
    elif name.lower().strip() in RESERVED:
        raise Bad("InvalidMetric", f"{name} is a reserved metric name")
    elif not all(_number(one) and 0 <= one <= 100_000_000 for one in values):
        raise Bad("InvalidMetric", "the value of a metric is a number between 0 and 100000000")
    _check_about(line, ontology)


def _check_about(line: Json, ontology: Json) -> None:
    """Check what a metric is about: a feature, and an answer of it."""
    if "featureName" not in line:
        if "subclassName" in line:
            raise Bad("InvalidMetric", "a metric of a subclass names its feature, too")
        return
    feature = find([*ontology["tools"], *ontology["classifications"]], {"name": line["featureName"]})
    if feature is None:
        raise Bad("FeatureNotFound", f"the ontology has no feature {line['featureName']}")
    below = [option for one in feature.get("classifications", ()) for option in one["options"]]
    if "subclassName" in line and find([*feature.get("options", ()), *below], {"name": line["subclassName"]}) is None:
        raise Bad("FeatureNotFound", f"{line['featureName']} has no {line['subclassName']}")


def _confidence(line: Json) -> None:
    confidence = line.get("confidence", 0.5)
    if not _number(confidence) or not 0 <= confidence <= 1:
        raise Bad("InvalidConfidence", "confidence is a number between 0 and 1")
    for one in line.get("customMetrics", ()):
        if set(one) != {"name", "value"} or not _number(one["value"]):
            raise Bad("InvalidMetric", "a custom metric has a name, and a value that is a number")


def _only(line: Any, known: set[str]) -> None:
    if not isinstance(line, dict):
        raise Bad("InvalidAnnotation", f"{line} is no object")
    if unknown := sorted(set(line) - known):
        raise Bad("InvalidAnnotation", f"nothing is known of {', '.join(unknown)}")


def _uuid(text: Any) -> None:
    try:
        uuid.UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise Bad("InvalidUuid", f"{text} is no uuid") from None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
