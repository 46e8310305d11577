"""The stand-in takes the lines of predictions that Labelbox takes, and refuses the others."""

import math
from typing import Any

import pytest

from labelloop.types import Json
from support.labelbox import Row, checklist, entity, free_text, ontology, radio, rectangle
from support.labelbox.checking import MOST, Bad, Checker
from support.labelbox.ontologies import schema_id
from support.shapes import picture

ONTOLOGY = ontology(
    rectangle("car", radio("colour", ("red", "blue"))),
    entity("person"),
    radio("scene", {"outdoor": [radio("place", ("forest", "sea"))], "indoor": ()}),
    checklist("things", ("tree", "dog")),
    free_text("remark"),
)
ROWS = {
    "picture": Row("picture", file="a.png", content=picture((0,), 1), global_key="key"),
    "text": Row("text", text="Ada met Bob"),
    "file": Row("file", file="a.txt", content="n\u00e9e".encode()),
}
ROWS["key"] = ROWS["picture"]
ID, KEY = {"id": "picture"}, {"globalKey": "key"}
BOX = {"top": 0, "left": 0, "height": 32, "width": 31.5}


def line(row: object = ID, **more: Any) -> Json:
    return {"dataRow": row, **more}


def box(**more: Any) -> Json:
    return line(name="car", bbox={**BOX, **more})


def marked(start: Any, end: Any, row: str = "text") -> Json:
    return line({"id": row}, name="person", location={"start": start, "end": end})


def scene(**answer: Any) -> Json:
    return line(name="scene", answer=answer)


def metric(value: Any, name: Any = "loss", **more: Any) -> Json:
    return line(metricName=name, metricValue=value, **more)


RED = {"name": "colour", "answer": {"name": "red"}}
TAKEN = {
    "box": box(),
    "box-with-an-answer": {
        **box(),
        "confidence": 0,
        "classifications": [{"name": "colour", "answer": {"name": "red"}}],
    },
    "box-with-a-metric": {**box(), "customMetrics": [{"name": "iou_custom", "value": 0.5}]},
    "by-global-key": line(KEY, name="car", bbox=BOX),
    "by-schema": line(schemaId=schema_id("car"), bbox=BOX, uuid="9e3f331a-551b-0e24-6ab5-f69855df64ea"),
    "whole-text": marked(0, 10),
    "one-letter-of-a-file": marked(2, 2, "file"),
    "radio": scene(name="indoor", confidence=1),
    "radio-below": scene(name="outdoor", classifications=[{"name": "place", "answer": {"name": "sea"}}]),
    "checklist": line(name="things", answer=[{"name": "dog", "confidence": 0.1}, {"name": "tree"}]),
    "words": line(name="remark", answer="it rains"),
    "metric": metric(0.3, aggregation="ARITHMETIC_MEAN"),
    "metric-of-a-class": metric(0.3, featureName="scene", subclassName="indoor"),
    "metric-by-confidence": metric({"0.1": 0.3, "0.5": 0.4}),
    "confusion": metric([1, 0, 2, 3], "cm", aggregation="CONFUSION_MATRIX", featureName="car"),
}
REFUSED = {
    "no-row": ({"name": "car", "bbox": BOX}, "InvalidDataRow"),
    "two-rows": (line({**ID, **KEY}, name="car", bbox=BOX), "InvalidDataRow"),
    "unknown-row": (line({"id": "other"}, name="car", bbox=BOX), "DataRowNotFound"),
    "key-as-id": (line({"id": "key"}, name="car", bbox=BOX), "DataRowNotFound"),
    "no-feature": (line(bbox=BOX), "InvalidFeature"),
    "two-features": ({**box(), "schemaId": schema_id("car")}, "InvalidFeature"),
    "unknown-feature": ({**box(), "name": "bus"}, "FeatureNotFound"),
    "a-question-is-no-tool": ({**box(), "name": "scene"}, "FeatureNotFound"),
    "nothing": (line(name="car"), "InvalidAnnotation"),
    "unknown-key": ({**box(), "score": 1}, "InvalidAnnotation"),
    "list-of-nothing": ({**box(), "classifications": None}, "InvalidAnnotation"),
    "no-uuid": ({**box(), "uuid": "1"}, "InvalidUuid"),
    "confidence": ({**box(), "confidence": 1.01}, "InvalidConfidence"),
    "confidence-nan": ({**box(), "confidence": math.nan}, "InvalidConfidence"),
    "confidence-beside-the-answer": ({**scene(name="indoor"), "confidence": 0.5}, "InvalidAnnotation"),
    "box-too-wide": (box(left=1), "InvalidBoundingBox"),
    "box-too-low": (box(top=-0.5), "InvalidBoundingBox"),
    "box-flat": (box(height=0), "InvalidBoundingBox"),
    "box-without-width": (line(name="car", bbox={"top": 0, "left": 0, "height": 3}), "InvalidBoundingBox"),
    "box-on-a-text": ({**box(), "dataRow": {"id": "text"}}, "InvalidBoundingBox"),
    "span-one-too-far": (marked(0, 11), "InvalidLocation"),
    "span-backwards": (marked(3, 2), "InvalidLocation"),
    "span-of-shares": (marked(0.5, 2), "InvalidLocation"),
    "span-in-bytes": (marked(0, 3, "file"), "InvalidLocation"),
    "span-on-a-picture": (marked(0, 1, "picture"), "InvalidLocation"),
    "radio-with-a-list": (line(name="scene", answer=[{"name": "indoor"}]), "InvalidAnswer"),
    "radio-unknown": (scene(name="space"), "FeatureNotFound"),
    "radio-below-another": (
        scene(name="indoor", classifications=[{"name": "place", "answer": {"name": "sea"}}]),
        "FeatureNotFound",
    ),
    "checklist-with-one": (line(name="things", answer={"name": "dog"}), "InvalidAnswer"),
    "checklist-twice": (line(name="things", answer=[{"name": "dog"}, {"name": "dog"}]), "InvalidAnswer"),
    "checklist-empty": (line(name="things", answer=[]), "InvalidAnswer"),
    "words-by-choice": (line(name="remark", answer={"name": "rain"}), "InvalidAnswer"),
    "metric-reserved": (metric(0.3, " Precision"), "InvalidMetric"),
    "metric-nameless": (metric(0.3, None), "InvalidMetric"),
    "metric-negative": (metric(-0.1), "InvalidMetric"),
    "metric-infinite": (metric(math.inf), "InvalidMetric"),
    "metric-aggregation": (metric(0.3, aggregation="MEDIAN"), "InvalidMetric"),
    "metric-of-one-confidence": (metric({"0.1": 0.3}), "InvalidMetric"),
    "metric-of-confidence-2": (metric({"0.1": 0.3, "2": 0.3}), "InvalidMetric"),
    "metric-of-a-subclass-alone": (metric(0.3, subclassName="indoor"), "InvalidMetric"),
    "metric-of-no-feature": (metric(0.3, featureName="bus"), "FeatureNotFound"),
    "metric-of-no-subclass": (metric(0.3, featureName="scene", subclassName="space"), "FeatureNotFound"),
    "confusion-of-three": (metric([1, 0, 2], aggregation="CONFUSION_MATRIX"), "InvalidMetric"),
    "confusion-mean": (metric([1, 0, 2, 3]), "InvalidMetric"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_lines_that_are_taken(name: str) -> None:
    row = TAKEN[name]["dataRow"]
    assert Checker(ROWS.get, ONTOLOGY).check(TAKEN[name]) is ROWS[row.get("id", "key")]


@pytest.mark.parametrize("name", REFUSED)
def test_lines_that_are_refused(name: str) -> None:
    told, why = REFUSED[name]
    with pytest.raises(Bad) as raised:
        Checker(ROWS.get, ONTOLOGY).check(told)
    assert raised.value.name == why


def test_one_feature_has_no_more_than_so_many_annotations_on_one_row() -> None:
    checker = Checker(ROWS.get, ONTOLOGY)
    for _ in range(MOST):
        checker.check(box())
    checker.check(scene(name="indoor"))
    with pytest.raises(Bad, match="at most 5000"):
        checker.check(box())
