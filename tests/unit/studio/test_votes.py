"""All that annotators say, for a label config of which no kind of ours learns anything."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.data.site import Begun
from labelloop.kinds.majority import Truth, latest
from labelloop.studio.label_config import parse_label_config
from labelloop.studio.votes import begun_with, result_reader
from support.captured import captured
from support.examples import examples

BOXES = (
    '<View><Image name="image" value="$image"/>'
    '<RectangleLabels name="box" toName="image"><Label value="car"/><Label value="lorry" predicted_values="truck"/>'
    '</RectangleLabels><Choices name="sky" toName="image"><Choice value="clear"/><Choice value="cloudy"/></Choices>'
    '<Taxonomy name="place" toName="image"><Choice value="town"><Choice value="street"/></Choice></Taxonomy>'
    '<Choices name="each" toName="image" perRegion="true"><Choice value="parked"/></Choices></View>'
)
RATED = '<View><Image name="image" value="$image"/><Rating name="stars" toName="image"/></View>'


def box(label: str | None, x: float = 10.0, **more: Any) -> dict[str, Any]:
    value: dict[str, Any] = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0}
    if label is not None:
        value["rectanglelabels"] = [label]
    return {"from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": value} | more


def answered(name: str, kind: str, value: object, **more: Any) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": kind, "value": {kind: value}} | more


def annotation(*regions: object, **more: Any) -> dict[str, Any]:
    return {"result": list(regions), "was_cancelled": False} | more


def truth(*annotations: object, config: str = BOXES) -> Truth:
    return latest(result_reader(parse_label_config(config))(annotations))


def told(*annotations: object, config: str = BOXES) -> list[Any]:
    found = truth(*annotations, config=config)
    assert not found.reason
    return list(json.loads(found.result))


def test_all_that_is_predicted_for_is_kept_as_it_was_said() -> None:
    said = [
        box("car", original_width=640, original_height=480, image_rotation=0),
        answered("sky", "choices", ["clear"]),
    ]
    said.append(answered("place", "taxonomy", [["town", "street"]]))
    found = truth(annotation(*said))
    assert sorted(json.loads(found.result), key=str) == sorted(said, key=str)
    assert found.labels == ("car", "clear", "town/street")


def test_what_changes_without_the_annotators_word_makes_no_other_result() -> None:
    plain = truth(annotation(box("car"), answered("sky", "choices", ["clear"])))
    volatile: dict[str, Any] = {
        "id": "x1",
        "origin": "prediction-changed",
        "score": 0.5,
        "meta": {"text": ["?"]},
        "readonly": False,
    }
    assert truth(annotation(answered("sky", "choices", ["clear"], id="q"), box("car", **volatile))) == plain
    assert truth(annotation(box("car", x=10.5), answered("sky", "choices", ["clear"]))) != plain


def test_the_ground_truth_counts_else_the_newest_that_is_not_skipped() -> None:
    old = annotation(box("car", x=1), id=1, updated_at="2026-11-20T15:46:57Z")
    new = annotation(box("car", x=2), id=2, updated_at="2026-11-20T15:46:57.000001Z")
    edited = annotation(box("car", x=3), id=0, updated_at="2026-11-20T15:46:58Z")
    skipped = annotation(id=3, updated_at="2026-11-20T15:47:00Z") | {"was_cancelled": True}
    assert told(new, old, skipped)[0]["value"]["x"] == 2
    assert told(new, edited, old, skipped)[0]["value"]["x"] == 3
    assert told(new, edited, old | {"ground_truth": True})[0]["value"]["x"] == 1
    # A server that tells no times: the later id is newer.
    assert told(annotation(box("car", x=5), id=9), annotation(box("car", x=4), id=8))[0]["value"]["x"] == 5
    assert truth(skipped).reason == "skipped by its annotators"
    assert truth().reason == "not annotated"


def test_labels_are_called_what_they_are_called_today_and_go_with_their_last_region() -> None:
    assert told(annotation(box("truck"), box("bus"))) == [box("lorry")]
    assert truth(annotation(box("bus"))).reason == "the label config has no label 'bus' any more"
    assert told(annotation(box(None))) == [box(None)]
    # The one before it says something that can be used.
    assert told(annotation(box("car"), id=1), annotation(box("bus"), id=2)) == [box("car")]


def test_what_is_not_predicted_for_is_no_part_of_the_truth() -> None:
    other = answered("each", "choices", ["parked"], id="a")
    link = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    assert told(annotation(box("car", id="a"), other, link, "nonsense")) == [box("car")]
    assert told(annotation(other)) == []
    assert "control tag 'gone'" in truth(annotation(answered("gone", "choices", ["x"]))).reason
    # Drawn with what the tag was before.
    assert told(annotation(box("car") | {"type": "polygonlabels"})) == []


def test_nothing_is_an_answer_where_regions_are_drawn() -> None:
    assert truth(annotation()) == Truth(result="[]")
    assert truth(annotation(), config=RATED).reason == "annotated without an answer"
    assert told(annotation(answered("stars", "rating", 3)), config=RATED) == [answered("stars", "rating", 3)]


OCR = (
    '<View><Image name="image" value="$image"/><Labels name="kind" toName="image"><Label value="word"/>'
    '<Label value="line" predicted_values="row"/></Labels><Rectangle name="box" toName="image"/></View>'
)


def drawn(label: str | None, name: str = "r", x: float = 10.0) -> list[dict[str, Any]]:
    value: dict[str, Any] = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0}
    shape = {"from_name": "box", "to_name": "image", "type": "rectangle", "value": value}
    with_label = shape | {"from_name": "kind", "type": "labels", "value": value | {"labels": [label]}}
    return [one | {"id": name} for one in ([shape] if label is None else [shape, with_label])]


def test_what_is_drawn_and_its_labels_are_kept_and_go_together() -> None:
    found = truth(annotation(*drawn("word"), *drawn("row", "s", 20.0)), config=OCR)
    assert found.labels == ("line", "word")
    values = [(one["type"], one["value"]["x"], one["value"].get("labels")) for one in json.loads(found.result)]
    assert sorted(values, key=str) == [
        ("labels", 10.0, ["word"]),
        ("labels", 20.0, ["line"]),
        ("rectangle", 10.0, None),
        ("rectangle", 20.0, None),
    ]
    assert truth(annotation(*drawn("gone")), config=OCR).reason == "the label config has no label 'gone' any more"
    assert len(told(annotation(*drawn("word"), *drawn("gone", "s")), config=OCR)) == 2
    assert len(told(annotation(*drawn(None)), config=OCR)) == 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=4) | st.sampled_from(["box", "car"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
REGIONS = st.fixed_dictionaries(
    {},
    optional={
        "from_name": st.sampled_from(["box", "sky", "place", "each", "gone"]) | JUNK,
        "type": st.sampled_from(["rectanglelabels", "choices", "taxonomy"]) | JUNK,
        "value": st.dictionaries(st.sampled_from(["rectanglelabels", "choices", "taxonomy", "x"]), JUNK) | JUNK,
    },
)


@given(st.lists(st.builds(lambda result, at: {"result": result, "updated_at": at}, st.lists(REGIONS | JUNK), JUNK)))
@settings(max_examples=examples(100))
def test_whatever_annotations_hold_there_is_a_truth_or_a_reason(annotations: list[Any]) -> None:
    found = truth(*annotations)
    assert bool(found.reason) != bool(found.result)
    assert set(found.labels) <= {"car", "lorry", "clear", "cloudy", "town", "town/street"}


@pytest.mark.parametrize("turn", range(3))
def test_the_order_of_regions_makes_no_other_result(turn: int) -> None:
    said = [box("car", x=1), box("car", x=2), answered("sky", "choices", ["clear"])]
    assert truth(annotation(*said[turn:], *said[:turn])) == truth(annotation(*said))


def begun(annotations: list[Any], predictions: list[Any], config: str = BOXES) -> list[tuple[str, bool]]:
    read = result_reader(parse_label_config(config))
    return [(one.version, one.kept) for one in begun_with(annotations, predictions, read) if one.version]


def predicted(number: int, version: str, *regions: object) -> dict[str, Any]:
    return {"id": number, "model_version": version, "result": list(regions)}


def test_an_annotation_keeps_the_prediction_that_it_began_with_or_does_not() -> None:
    predictions = [predicted(5, "v1", box("car", score=0.9)), predicted(6, "v2", box("lorry"))]
    annotations = [
        annotation(box("car", id="a", origin="prediction"), parent_prediction=5),
        annotation(box("car", x=11), parent_prediction=5),
        annotation(box("lorry"), parent_prediction=6),
        annotation(box("car"), parent_prediction=6),
    ]
    assert begun(annotations, predictions) == [("v1", True), ("v1", False), ("v2", True), ("v2", False)]


def test_the_name_that_a_model_has_for_a_label_is_the_label() -> None:
    assert begun([annotation(box("lorry"), parent_prediction=1)], [predicted(1, "v1", box("truck"))]) == [("v1", True)]


@pytest.mark.parametrize("parent", [None, 7, "5", {}])
def test_what_began_with_no_prediction_that_is_known_is_not_counted(parent: object) -> None:
    told = [annotation(box("car"), parent_prediction=parent)] if parent != {} else [annotation(box("car")), None, "x"]
    assert begun(told, [predicted(5, "v1", box("car")), {}, None]) == []


@pytest.mark.parametrize(
    ("lead_time", "seconds"), [(6.1, 6.1), (3, 3.0), (None, None), (0, None), (-2.5, None), ("3", None), (True, None)]
)
def test_who_annotated_and_how_long_that_took_is_read(lead_time: object, seconds: float | None) -> None:
    read = result_reader(parse_label_config(BOXES))
    made = [
        annotation(box("car"), parent_prediction=5, lead_time=lead_time, completed_by=1),
        annotation(box("car"), lead_time=lead_time, completed_by={"id": 2, "email": "a@b.c"}),
    ]
    found = begun_with(made, [predicted(5, "v1")], read)
    assert found == (Begun("v1", False, seconds, 1, blank=True), Begun("", False, seconds, 2))


@pytest.mark.parametrize(("name", "seconds"), [("ANNOTATION_CREATED", 3.2), ("ANNOTATION_UPDATED", 6.1)])
def test_the_time_of_a_captured_annotation_is_read(name: str, seconds: float) -> None:
    sent = captured(f"webhooks/ml-backend.{name}.1.json")["body"]["annotation"]
    [found] = begun_with([sent], [], lambda _: ())
    assert (found.seconds, found.by) == (seconds, sent["completed_by"])


def test_annotations_made_in_bulk_took_nobody_any_time() -> None:
    sent = captured("webhooks/ml-backend.ANNOTATIONS_CREATED.1.json")["body"]["annotation"]
    assert len(sent) > 1
    assert {one.seconds for one in begun_with(sent, [], lambda _: ())} == {None}


def test_a_skipped_annotation_neither_keeps_nor_corrects() -> None:
    told = [annotation(box("car"), parent_prediction=5, was_cancelled=True)]
    assert begun(told, [predicted(5, "v1", box("car"))]) == []


def test_a_prediction_that_was_emptied_is_not_kept() -> None:
    assert begun([annotation(parent_prediction=5)], [predicted(5, "v1", box("car"))]) == [("v1", False)]
