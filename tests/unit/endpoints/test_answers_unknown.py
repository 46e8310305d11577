"""Answers that are not known: what is said, and how a mapping makes them known."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import RESPONSES, check_response, propose_mapping, read_answer
from labelloop.endpoints.failures import WrongAnswer
from labelloop.errors import SettingsError
from labelloop.types import Box, Failure, Findings, Input, Mask, Number, Output, Point, Polygon, Region, Span, Text
from support.answered import PICTURE, answered, regions

TWO = (Input(text="one"), Input(text="two"))


def refused(body: object, *inputs: Input, response: str = "auto", mapping: str = "") -> str:
    with pytest.raises(WrongAnswer) as wrong:
        answered(body, *inputs, response=response, mapping=mapping)
    return str(wrong.value)


def test_an_unknown_shape_is_shown_with_a_way_to_map_it() -> None:
    body = [{"id": "secret", "conf": 0.75}, {"id": "dog", "conf": 0.25}]
    said = refused(body)
    assert "a list of 2 objects with keys id: text, conf: number" in said
    assert "response=labels mapping=[].{label: id, score: conf}" in said
    assert "labelloop probe --endpoint ... --file ..." in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "body",
    [
        [{"id": "cat", "conf": 0.75}, {"id": "dog", "conf": 0.25}],
        {"result": {"a-b": [{"n": "cat", "p": 0.75}, {"n": "dog", "p": 0.25}]}, "took": 3},
    ],
)
def test_the_mapping_that_is_shown_works(body: object) -> None:
    mapping = refused(body).partition("mapping=")[2].partition(";")[0]
    assert answered(body, response="labels", mapping=mapping) == [
        Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "v1", "single")
    ]


BOXES = [{"class_id": 0, "x": 20, "y": 10, "belief": 0.5, "species": "cat"}]

PROPOSED: list[tuple[object, str, str]] = [
    (
        [{"class_id": 0, "species": "cat", "took": 0.5, "belief": 0.75}, {"species": "dog", "belief": 0.25}],
        "response=labels mapping=[].{label: species, score: belief}",
        "cat 0.75, dog 0.25",
    ),
    (
        {"data": {"found": [{"tagId": "a", "tagName": "cat", "probability": 0.75, "x": None}]}},
        "mapping=data.found",
        "cat 0.75",
    ),
    ({"data": {"dist": {"cat": 0.75, "dog": 0.25}}, "ms": 3}, "mapping=data.dist", "cat 0.75, dog 0.25"),
    (
        [{"id": "3f1a", "species": "cat", "index": 1, "belief": 0.75}],
        "response=labels mapping=[].{label: species, score: belief}",
        "cat 0.75",
    ),
    (
        {"top5": [["cat", 0.75], ["dog", 0.25]]},
        "response=labels mapping=top5[*].{label: [0], score: [1]}",
        "cat 0.75, dog 0.25",
    ),
    ({"animal": "cat", "belief": "0.75"}, "response=labels mapping={label: animal, score: belief}", "cat 0.75"),
]


@pytest.mark.parametrize(("body", "settings", "gives"), PROPOSED)
def test_a_proposal_was_tried_on_the_answer_and_shows_what_it_gives(body: object, settings: str, gives: str) -> None:
    asked = Asked((Input(text="a text"),), "v1")
    proposal = propose_mapping(json.dumps(body).encode(), asked)
    assert proposal is not None
    assert (proposal.settings, proposal.gives) == (settings, gives)
    said = refused(body)
    assert f"for example {settings}; try" in said
    assert gives not in said
    assert answered(body, response=proposal.response, mapping=proposal.mapping) == [proposal.answer]


@pytest.mark.parametrize(
    "body",
    [
        BOXES,
        {"found": BOXES},
        [{"class_id": 0, "belief": 0.75}],
        [{"id": "3f1a", "species": "cat", "breed": "tabby", "belief": 0.75}],
        [{"species": "cat", "belief": 0.75}, {"species": "dog", "belief": 75}],
        [{"species": "cat", "latency_ms": 0.75}],
        {"status": "ok", "message": "done"},
        {"a": {"animal": [{"label": "cat", "score": 1}], "colour": [{"label": "red", "score": 1}]}},
    ],
)
def test_what_would_be_guessed_wrong_is_not_proposed(body: object) -> None:
    assert propose_mapping(json.dumps(body).encode(), Asked((Input(text="a text"),), "v1")) is None
    said = refused(body)
    assert "say how to read it, as the examples there; try" in said


def test_for_what_is_known_nothing_is_proposed() -> None:
    asked = Asked((Input(text="a text"),), "v1")
    assert propose_mapping(b'[{"label": "cat", "score": 1}]', asked) is None
    assert propose_mapping(b"no JSON", asked) is None


SHAPES: list[tuple[object, str]] = [
    (None, "but null"),
    (True, "but true"),
    ({}, "but an empty object"),
    ({"a": None, "b": []}, "an object with keys a: null, b: an empty list"),
    ({"a": [[1, 2], [3, 4]]}, "a: a list of 2 lists of 2 numbers"),
    ([1, "a"], "a list of 2 values of several kinds, the first a number"),
    ({f"key{n}": n for n in range(15)}, "and 3 more"),
    ({"a\nb" + "x" * 100: 1}, "with keys a b" + "x" * 37 + ": number"),
    ({"a": {"b": {"c": {"d": {"e": 1}}}}}, "d: an object"),
]


@pytest.mark.parametrize(("body", "shown"), SHAPES)
def test_shapes_in_words(body: object, shown: str) -> None:
    assert shown in refused(body)


def test_one_picture_is_no_answer_for_two_inputs() -> None:
    assert "of no known format, but a PNG picture" in refused(PICTURE.content, *TWO)


def test_a_named_format_says_that_it_is_not_that() -> None:
    assert "it is no tokens, but a list of 1 object with keys a: number" in refused([{"a": 1}], response="tokens")


def test_the_wrong_number_of_predictions_is_said_as_such() -> None:
    label = {"label": "cat", "score": 1}
    assert refused([label], *TWO) == "2 inputs sent, 1 prediction came back"
    assert refused({"predictions": [[label]] * 3}, *TWO) == "2 inputs sent, 3 predictions came back"
    assert refused({"predictions": []}) == "1 input sent, 0 predictions came back"
    assert answered({"predictions": []}, mapping="predictions") == answered([])


def test_a_page_that_is_no_answer_is_called_what_it_is() -> None:
    for media_type, shown in [("text/html; charset=utf-8", ", but text/html"), ("application/json", ""), ("", "")]:
        with pytest.raises(WrongAnswer) as wrong:
            read_answer(b"<html>secret</html>", Asked([PICTURE], "v1", media_type=media_type))
        assert str(wrong.value) == f"its 19 bytes are not valid JSON{shown}"


@pytest.mark.parametrize(("inputs", "may_be_theirs"), [(TWO[:1], True), (TWO, False)])
def test_a_wrong_number_may_be_the_doing_of_one_input_but_not_of_several(
    inputs: tuple[Input, ...], may_be_theirs: bool
) -> None:
    with pytest.raises(WrongAnswer) as wrong:
        answered({"predictions": []}, *inputs)
    assert wrong.value.by_input is may_be_theirs


def test_one_item_of_another_shape_fails_alone() -> None:
    first, second = answered([[{"label": "cat", "score": 1}], "what"], *TWO)
    assert isinstance(first, Output)
    assert second == Failure("the endpoint's prediction is wrong: it is not a list of objects")


def test_errors_stand_beside_predictions_of_any_format() -> None:
    first, second = answered([{"error": "too dark"}, {"boxes": [], "labels": []}], PICTURE, PICTURE)
    assert first == Failure("too dark")
    assert second == Findings((), "v1", (200, 100))
    assert answered({"error": "too dark"}) == [Failure("too dark")]
    assert answered({"predictions": [{"error": "a"}, {"error": "b"}]}, *TWO) == [Failure("a"), Failure("b")]


def test_an_error_that_is_null_is_none() -> None:
    assert regions({"error": None, "predictions": ["a cat"]}) == [Region("", Text("a cat"))]


# Mappings


def test_a_mapping_to_our_own_language() -> None:
    body = [{"name": "car", "confidence": 0.5, "box": {"x1": 20, "y1": 10, "x2": 120, "y2": 60}}]
    mapping = (
        "{regions: [].{label: name, score: confidence, corners: [box.x1, box.y1, box.x2, box.y2]}, unit: 'pixels'}"
    )
    assert regions(body, PICTURE, mapping=mapping) == [Region("car", Box(0.1, 0.1, 0.5, 0.5), 0.5)]
    assert regions(body, PICTURE, mapping=mapping, response="labelloop") == regions(body, PICTURE, mapping=mapping)


def test_a_mapping_to_a_named_format() -> None:
    body = {"result": {"b": [[0, 0, 100, 50]], "l": ["car"], "s": [0.5]}}
    mapping = "{boxes: result.b, labels: result.l, scores: result.s}"
    assert regions(body, PICTURE, mapping=mapping, response="boxes") == [Region("car", Box(0, 0, 0.5, 0.5), 0.5)]


def test_a_mapping_to_words() -> None:
    body = {"choices": [{"message": {"role": "assistant", "content": "a cat"}}]}
    assert regions(body, mapping="choices[0].message.content") == [Region("", Text("a cat"))]


def test_a_mapping_for_several_inputs() -> None:
    body = {"results": [{"top": "cat", "p": 1}, {"top": "dog", "p": 0.5}]}
    first, second = answered(body, *TWO, mapping="results[].{label: top, score: p}")
    assert isinstance(first, Output)
    assert isinstance(second, Output)
    assert (first.label, second.label) == ("cat", "dog")


def test_a_mapping_that_finds_nothing_shows_where_it_looked() -> None:
    assert "the mapping 'a.b' found nothing in an object with keys c: number" in refused({"c": 1}, mapping="a.b")
    assert "the mapping failed on an object" in refused({"c": 1}, mapping="length(c)")


def test_wrong_settings_are_told_before_any_answer() -> None:
    with pytest.raises(SettingsError, match=r"mapping: 'a\.\.b' is no JMESPath expression"):
        check_response("auto", "a..b")
    with pytest.raises(SettingsError, match=r"'xml' is not known\. Possible are auto, labelloop, detections"):
        check_response("xml", "")
    with pytest.raises(SettingsError, match="is no JMESPath expression"):
        answered({}, mapping="[")
    check_response("labels", "predictions[].{label: a, score: b}")


# Whatever comes

KEYS = [
    *(
        "predictions",
        "prediction",
        "outputs",
        "error",
        "label",
        "score",
        "scores",
        "model_version",
        "kind",
        "value",
        "text",
    ),
    *(
        "boxes",
        "labels",
        "masks",
        "mask",
        "box",
        "xmin",
        "ymin",
        "xmax",
        "ymax",
        "displayNames",
        "confidences",
        "bboxes",
    ),
    *(
        "textSegmentStartOffsets",
        "textSegmentEndOffsets",
        "entity",
        "start",
        "end",
        "index",
        "size",
        "counts",
        "regions",
    ),
    *("confidence", "probabilities", "predicted_label", "class", "class_id", "name", "top", "cat", "dog", "0"),
    *("Labels", "Name", "Confidence", "cat_proba", "body", "results"),
    *("corners", "center", "polygon", "point", "span", "number", "unit", "width", "height", "generated_text"),
]
atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-1, 3)
    | st.floats(0, 1)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["cat", "v1", "single", "pixels", "percent", "B-cat", "I-cat", "\ud800", "LABEL_1", "3", "022N1"])
    | st.sampled_from(["0.5", "__label__cat", '{"cat": 0.5, "dog": 0.5}', '[{"label": "cat", "score": 1}]', "[["])
)
json_values = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)
likely = st.fixed_dictionaries(
    {},
    optional={
        "label": atoms,
        "score": atoms,
        "entity": atoms,
        "start": atoms,
        "end": atoms,
        "boxes": st.lists(st.lists(atoms, min_size=4, max_size=4), max_size=2),
        "labels": st.lists(atoms, max_size=2),
        "masks": st.lists(json_values, max_size=2),
        "mask": json_values,
        "prediction": st.lists(st.lists(st.floats(-0.6, 1.6), min_size=6, max_size=6), max_size=2),
        "displayNames": st.lists(atoms, max_size=2),
        "confidences": st.lists(atoms, max_size=2),
        "bboxes": st.lists(st.lists(st.floats(-1, 2), min_size=4, max_size=4), max_size=2),
        "regions": st.lists(
            st.dictionaries(st.sampled_from(KEYS), json_values | st.lists(st.floats(-1, 2), max_size=4)), max_size=3
        ),
        "unit": st.sampled_from(["pixels", "percent", "fractions"]),
        "width": atoms,
        "height": atoms,
    },
)
coordinates = st.floats(-0.6, 1.6) | st.integers(-20, 220) | atoms
corners = st.lists(coordinates, min_size=4, max_size=4)
named = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("x", "y", "width", "height", "xmin", "ymin", "xmax", "ymax", "left", "top", "w", "h", "x1", "y1", "x2", "y2"),
        coordinates,
    )
    | {"vertices": st.lists(st.fixed_dictionaries({}, optional={"x": coordinates, "y": coordinates}), max_size=3)},
)
records = st.dictionaries(
    st.sampled_from(["cat", "class", "score", "Confidence", "category_id", "detection_id", "object", "name"]), atoms
).flatmap(
    lambda said: st.fixed_dictionaries(
        {},
        optional={
            "box": named | corners | st.lists(corners, max_size=1),
            "bbox": corners,
            "Geometry": st.fixed_dictionaries({"BoundingBox": named}),
            "boundingPoly": named,
            "rectangle": named,
            "cat": corners,
            "segments": st.fixed_dictionaries({"x": st.lists(coordinates), "y": st.lists(coordinates)}),
            "points": st.lists(named, max_size=4),
            "segmentation": json_values,
        },
    ).map(lambda placed: said | placed)
)
columns = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("boxes", "normalized_boxes", "detection_boxes", "pred_boxes"),
            st.lists(corners | st.lists(coordinates, min_size=6, max_size=6), max_size=3),
        ),
        **dict.fromkeys(("labels", "classes", "detection_classes", "scores", "names", "masks"), st.lists(atoms)),
        "num_detections": atoms,
    },
)
detected = st.one_of(
    st.lists(records, max_size=3),
    columns,
    st.lists(columns, max_size=2),
    st.dictionaries(
        st.sampled_from(["boxes", "predictions", "things", "image", "responses", "iteration", "CustomLabels"]),
        st.lists(records, max_size=3) | columns | named,
    ),
)
INPUTS = st.sampled_from([PICTURE, Input(text="a text"), Input(uri="s3://b/x"), Input(b"no picture")])


def sound(region: Region) -> bool:
    """Whether nothing in a region could break what comes after."""
    region.label.encode()
    match region.shape:
        case Box(x, y, width, height):
            fits = width > 0 < height and (region.shape.rotation or (x + width <= 1.000001 and y + height <= 1.000001))
            fits = fits and all(0 <= value <= 1 for value in (x, y, width, height))
        case Point(x, y):
            fits = 0 <= x <= 1 and 0 <= y <= 1
        case Polygon(points):
            fits = len(points) > 2 and all(0 <= point.x <= 1 and 0 <= point.y <= 1 for point in points)
        case Mask(width, height, inside):
            fits = width * height == len(inside) > 0
        case Span(start, end):
            fits = 0 <= start < end
        case Text(content):
            fits = content.encode() is not None
        case Number(value):
            fits = abs(value) < float("inf")
    return bool(fits) and (region.score is None or 0 <= region.score <= 1)


@given(
    json_values | likely | st.lists(likely, max_size=3),
    st.lists(INPUTS, max_size=3),
    st.sampled_from(RESPONSES),
    st.sampled_from([(), ("a",), ("a", "b", "c")]),
    st.sampled_from(["", "@", "predictions", "[]", "[0]", "{regions: @}", "{label: a, score: b}"]),
)
def test_no_json_makes_a_prediction_that_is_not_sound(
    content: object, inputs: list[Input], response: str, classes: tuple[str, ...], mapping: str
) -> None:
    body = json.dumps(content).encode()
    try:
        answers = read_answer(body, Asked(inputs, "v1", classes), response=response, mapping=mapping)
    except WrongAnswer:
        return
    assert len(answers) == len(inputs)
    for answer in answers:
        match answer:
            case Failure():
                assert answer.reason
            case Output():
                assert answer.model_version
                assert answer.label in answer.scores
                assert all(0 <= score <= 1 for score in answer.scores.values())
            case Findings():
                assert answer.model_version
                assert all(map(sound, answer.regions))


@given(detected, INPUTS, st.sampled_from(["auto", "boxes", "objects"]), st.sampled_from([(), ("a", "b", "c")]))
def test_no_detector_makes_a_region_that_is_not_sound(
    content: object, sent: Input, response: str, classes: tuple[str, ...]
) -> None:
    try:
        (answer,) = read_answer(json.dumps(content).encode(), Asked([sent], "v1", classes), response=response)
    except WrongAnswer:
        return
    if isinstance(answer, Findings):
        assert all(map(sound, answer.regions))


@given(st.binary(max_size=60), st.sampled_from(RESPONSES))
def test_no_bytes_break_the_reader(content: bytes, response: str) -> None:
    try:
        answers = read_answer(content, Asked([PICTURE], "v1"), response=response)
    except WrongAnswer:
        return
    assert len(answers) == 1


@pytest.mark.parametrize("response", [name for name in RESPONSES if name != "text"])
@pytest.mark.parametrize("opening", [b"[", b'{"predictions":', b'{"a":', b'[{"mask":'])
def test_giant_nesting_is_a_wrong_answer(opening: bytes, response: str) -> None:
    closing = {b"[": b"]", b'{"predictions":': b"}", b'{"a":': b"}", b'[{"mask":': b"}]"}[opening]
    for depth in (200, 900, 100_000):
        body = opening * depth + b"1" + closing * depth
        try:
            (answer,) = read_answer(body, Asked([PICTURE], "v1"), response=response)
        except WrongAnswer:
            continue
        assert isinstance(answer, Failure)
