"""Where something is: boxes, points, outlines, parts of texts; and texts themselves."""

import io
from typing import Any

import pytest
from PIL import Image

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.endpoints.failures import WrongAnswer
from labelloop.types import Box, Findings, Input, Mask, Number, Point, Polygon, Prompted, Region, Span, Text
from support.answered import PICTURE, answered, reason, regions

WORDS = Input(text="Hugging Face is in New York City")
AWAY = Input(uri="s3://bucket/a.png")
ABCDE = ("ant", "bee", "cat", "dog", "elk")


def box(region: Region) -> tuple[float, ...]:
    assert isinstance(region.shape, Box)
    return tuple(round(value, 6) for value in (region.shape.x, region.shape.y, region.shape.width, region.shape.height))


# SageMaker object detection

DETECTED = {
    "prediction": [
        [4.0, 0.86419455409049988, 0.3088374733924866, 0.07030484080314636, 0.7110607028007507, 0.9345266819000244],
        [0.0, 0.73376623392105103, 0.5714187026023865, 0.40427327156066895, 0.827075183391571, 0.9712159633636475],
        [-1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]
}


@pytest.mark.parametrize("response", ["auto", "detections"])
def test_sagemaker_detections(response: str) -> None:
    (answer,) = answered(DETECTED, PICTURE, classes=ABCDE, response=response)
    assert isinstance(answer, Findings)
    assert answer.size == (200, 100)
    assert [region.label for region in answer.regions] == ["elk", "ant"]
    assert answer.regions[0].score == pytest.approx(0.864195)
    assert box(answer.regions[0]) == pytest.approx((0.308837, 0.070305, 0.402223, 0.864222), abs=1e-5)


def test_sagemaker_detections_need_classes() -> None:
    assert "names class 4 by its number" in reason(DETECTED, PICTURE)
    assert "classes lists only 1" in reason(DETECTED, PICTURE, classes=("ant",))


def test_nothing_detected() -> None:
    assert regions({"prediction": []}, PICTURE) == []
    assert regions({"predictions": [DETECTED]}, PICTURE, classes=ABCDE) != []


# torchvision and Hugging Face, in pixels

TORCHVISION: dict[str, Any] = {
    "boxes": [[20, 10, 120, 60], [0, 0, 200, 100]],
    "labels": [2, "zebra"],
    "scores": [0.75, 0.5],
}


@pytest.mark.parametrize("response", ["auto", "boxes"])
def test_torchvision_boxes_are_pixels_of_the_picture_sent(response: str) -> None:
    first, second = regions({"predictions": [TORCHVISION]}, PICTURE, classes=ABCDE, response=response)
    assert (first.label, first.score, box(first)) == ("cat", 0.75, (0.1, 0.1, 0.5, 0.5))
    assert (second.label, box(second)) == ("zebra", (0.0, 0.0, 1.0, 1.0))


def test_without_the_picture_the_answer_must_tell_its_size() -> None:
    assert '"width" and "height"' in reason(TORCHVISION, AWAY, classes=ABCDE)
    (answer,) = answered(TORCHVISION | {"width": 400, "height": 200}, AWAY, classes=ABCDE)
    assert isinstance(answer, Findings)
    assert answer.size == (400, 200)
    assert box(answer.regions[0]) == (0.05, 0.05, 0.25, 0.25)


def test_pixels_count_in_the_upright_picture() -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 100)).save(file, "JPEG", exif=exif)
    (region,) = regions({"boxes": [[0, 0, 100, 100]], "labels": ["a"]}, Input(file.getvalue(), "image/jpeg"))
    assert box(region) == (0.0, 0.0, 1.0, 0.5)


def test_torchvision_masks_stand_beside_their_boxes() -> None:
    masks = [[[[0.0, 0.9], [0.2, 0.5]]]]
    body = {"boxes": [[0, 0, 200, 100]], "labels": ["cat"], "scores": [0.5], "masks": masks}
    first, second = regions(body, PICTURE)
    assert first == Region("cat", Box(0, 0, 1, 1), 0.5)
    assert second == Region("cat", Mask(2, 2, b"\x00\xff\x00\xff"), 0.5)


HUGGED = [
    {"score": 0.75, "label": "remote", "box": {"xmin": 40, "ymin": 70, "xmax": 175, "ymax": 90}},
    {"score": 0.5, "label": "cat", "box": {"xmin": 10, "ymin": 0, "xmax": 110, "ymax": 50}},
]


@pytest.mark.parametrize("body", [HUGGED, [HUGGED], {"predictions": [HUGGED]}])
def test_hugging_face_objects(body: object) -> None:
    first, second = regions(body, PICTURE)
    assert (first.label, box(first)) == ("remote", (0.2, 0.7, 0.675, 0.2))
    assert (second.label, second.score, box(second)) == ("cat", 0.5, (0.05, 0.0, 0.5, 0.5))


def test_a_list_of_objects_is_never_one_for_each_input() -> None:
    first, second = answered([HUGGED, []], PICTURE, PICTURE)
    assert isinstance(first, Findings)
    assert len(first.regions) == 2
    assert second == Findings((), "v1", (200, 100))


BAD_BOXES: list[tuple[list[object], str]] = [
    ([120, 60, 20, 10], "in another order"),
    ([20, 10, 4000, 60], "far outside the picture"),
    ([20, 10, 120], "list of 4 numbers"),
    ([20, 10, 120, None], "not a finite number"),
    ([20, 10, 120, "60"], "not a finite number"),
]


@pytest.mark.parametrize(("place", "said"), BAD_BOXES)
def test_a_box_that_is_wrong_fails_its_picture(place: list[object], said: str) -> None:
    assert said in reason({"boxes": [place], "labels": ["a"], "scores": [1]}, PICTURE)


def test_boxes_are_cut_to_the_picture() -> None:
    body = {"boxes": [[-20, -10, 100, 50], [-50, 0, 0, 10]], "labels": ["a", "outside"], "scores": [1, 1]}
    (region,) = regions(body, PICTURE)
    assert box(region) == (0.0, 0.0, 0.5, 0.5)


def test_boxes_must_have_labels_and_scores_of_their_own() -> None:
    assert '"labels" holds 1 values for 2 boxes' in reason(TORCHVISION | {"labels": ["a"]}, PICTURE)


# Vertex AutoML


def test_automl_boxes_are_min_max_min_max() -> None:
    body = {
        "predictions": [
            {
                "ids": ["1", "2"],
                "displayNames": ["cat", "dog"],
                "bboxes": [[0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.4, 0.5]],
                "confidences": [0.7, 0.5],
            }
        ]
    }
    cat, dog = regions(body, PICTURE)
    assert (cat.label, cat.score, box(cat)) == ("cat", 0.7, (0.1, 0.3, 0.1, 0.1))
    assert (dog.label, box(dog)) == ("dog", (0.2, 0.4, 0.1, 0.1))


def test_automl_entities() -> None:
    entities = {
        "ids": ["1", "2"],
        "displayNames": ["ORG", "CITY"],
        "textSegmentStartOffsets": ["0", 19],
        "textSegmentEndOffsets": ["12", 32.0],
        "confidences": [0.75, 0.5],
    }
    assert regions({"predictions": [entities]}, WORDS) == [
        Region("ORG", Span(0, 12), 0.75),
        Region("CITY", Span(19, 32), 0.5),
    ]
    assert '"confidences" is not a list as long' in reason(entities | {"confidences": [1]}, WORDS)


# Hugging Face token classification


def token(entity: str, index: int, start: int, end: int, score: float = 0.5) -> dict[str, object]:
    return {"entity": entity, "score": score, "index": index, "word": "?", "start": start, "end": end}


def test_aggregated_entities() -> None:
    body = [
        {"entity_group": "ORG", "score": 0.75, "word": "Hugging Face", "start": 0, "end": 12},
        {"entity_group": "LOC", "score": 0.5, "word": "New York City", "start": 19, "end": 32},
    ]
    expected = [Region("ORG", Span(0, 12), 0.75), Region("LOC", Span(19, 32), 0.5)]
    assert regions(body, WORDS) == regions([body], WORDS) == regions(body, WORDS, response="tokens") == expected


def test_tokens_are_put_together() -> None:
    body = [
        token("B-ORG", 1, 0, 3, 0.75),
        token("I-ORG", 2, 3, 7, 0.25),
        token("I-ORG", 3, 8, 12),
        token("I-LOC", 6, 19, 22),
        token("I-LOC", 7, 23, 27),
        token("B-LOC", 8, 28, 32),
    ]
    assert regions(body, WORDS) == [
        Region("ORG", Span(0, 12), 0.5),
        Region("LOC", Span(19, 27), 0.5),
        Region("LOC", Span(28, 32), 0.5),
    ]


def test_tokens_apart_are_two_entities() -> None:
    apart = [token("I-X", 1, 0, 7), token("I-X", 3, 13, 15)]
    without = [{key: value for key, value in item.items() if key != "index"} for item in apart]
    expected = [Region("X", Span(0, 7), 0.5), Region("X", Span(13, 15), 0.5)]
    assert regions(apart, WORDS) == regions(without, WORDS) == expected


def test_single_and_last_tokens_end_an_entity() -> None:
    body = [
        token("S-X", 1, 0, 7),
        token("B-X", 2, 8, 12),
        token("E-X", 3, 13, 15),
        token("I-X", 4, 16, 18),
        token("O", 5, 19, 20),
    ]
    spans = [region.shape for region in regions(body, WORDS)]
    assert spans == [Span(0, 7), Span(8, 15), Span(16, 18)]


def test_no_entities_is_an_answer() -> None:
    assert regions([], WORDS) == []
    assert regions({"predictions": [[]]}, WORDS) == []


BAD_SPANS: list[tuple[object, object, str]] = [
    (None, None, "fast tokenizer"),
    (5, 5, "is none"),
    (-1, 5, "is none"),
    (30, 33, "ends at character 33 of a text of 32"),
    (0.5, 2, "not a whole number"),
]


@pytest.mark.parametrize(("start", "end", "said"), BAD_SPANS)
def test_a_span_must_be_in_the_text(start: object, end: object, said: str) -> None:
    body = [{"entity": "X", "score": 1, "start": start, "end": end}]
    assert said in reason(body, WORDS)


# Texts


@pytest.mark.parametrize(
    "body",
    [
        "a cat",
        ["a cat"],
        [{"generated_text": "a cat"}],
        [[{"generated_text": "a cat"}]],
        {"generated_text": "a cat"},
        {"text": "a cat", "chunks": []},
        [{"summary_text": "a cat"}],
        [{"translation_text": "a cat"}],
        {"predictions": ["a cat"]},
    ],
)
@pytest.mark.parametrize("response", ["auto", "text"])
def test_texts(body: object, response: str) -> None:
    assert regions(body, PICTURE, response=response) == [Region("", Text("a cat"))]


def test_a_body_that_is_no_json_is_a_text_when_it_is_to_be() -> None:
    assert regions(b"a cat\n", PICTURE, response="text") == [Region("", Text("a cat"))]
    assert regions(b"42", PICTURE, response="text") == [Region("", Text("42"))]


def test_the_content_type_tells_a_text_from_half_an_answer() -> None:
    plain = Asked([PICTURE], "v1", media_type="text/plain; charset=utf-8")
    assert read_answer(b"a cat", plain) == [Findings((Region("", Text("a cat")),), "v1")]
    with pytest.raises(WrongAnswer, match="5 bytes are not valid JSON"):
        read_answer(b"a cat", Asked([PICTURE], "v1"))
    with pytest.raises(WrongAnswer, match="not valid JSON"):
        read_answer(b'{"text": "a c', Asked([PICTURE], "v1", media_type="application/json"), response="text")


# Our own language


def test_every_shape_in_our_own_language() -> None:
    body = {
        "regions": [
            {"label": "car", "score": 0.5, "box": [0.25, 0.5, 0.5, 0.25]},
            {"label": "tilted", "box": [0.25, 0.5, 0.5, 0.25], "rotation": 30},
            {"label": "car", "corners": [0.25, 0.5, 0.75, 0.75]},
            {"label": "car", "center": [0.5, 0.625, 0.5, 0.25]},
            {"label": "roof", "polygon": [[0, 0], [1, 0], [1, 0.5]]},
            {"label": "nose", "point": [0.25, 0.75]},
            {"label": "cat", "mask": {"size": [1, 3], "counts": [1, 2]}},
            {"label": "verb", "span": [2, 6], "score": 1},
            {"text": "a car", "score": 0.75},
            {"number": 4},
        ]
    }
    assert regions(body) == [
        Region("car", Box(0.25, 0.5, 0.5, 0.25), 0.5),
        Region("tilted", Box(0.25, 0.5, 0.5, 0.25, 30.0)),
        Region("car", Box(0.25, 0.5, 0.5, 0.25)),
        Region("car", Box(0.25, 0.5, 0.5, 0.25)),
        Region("roof", Polygon((Point(0, 0), Point(1, 0), Point(1, 0.5)))),
        Region("nose", Point(0.25, 0.75)),
        Region("cat", Mask(3, 1, b"\x00\xff\xff")),
        Region("verb", Span(2, 6), 1.0),
        Region("", Text("a car"), 0.75),
        Region("", Number(4.0)),
    ]


def test_units_of_our_own_language() -> None:
    entry = {"label": "a", "corners": [50, 50, 100, 100]}
    assert box(regions({"regions": [entry], "unit": "percent"})[0]) == (0.5, 0.5, 0.5, 0.5)
    assert box(regions({"regions": [entry], "unit": "pixels"}, PICTURE)[0]) == (0.25, 0.5, 0.25, 0.5)
    assert box(regions({"regions": [entry], "unit": "pixels", "width": 100, "height": 1000})[0]) == (
        0.5,
        0.05,
        0.5,
        0.05,
    )
    assert '"unit" is none of' in reason({"regions": [entry], "unit": "miles"})
    assert "far outside the picture" in reason({"regions": [entry]})
    assert "not those of a picture" in reason({"regions": [entry], "unit": "pixels", "width": 0, "height": 5})


@pytest.mark.parametrize(("classes", "label"), [((), ""), (("only",), "only"), (("cat", "dog"), "")])
@pytest.mark.parametrize("entry", [{}, {"label": None}, {"label": ""}])
def test_a_region_without_a_label_is_the_models_only_class_or_none(
    entry: dict[str, object], classes: tuple[str, ...], label: str
) -> None:
    prompted = Input(PICTURE.content, prompt=(Prompted(Point(0, 0), "cat"),))
    body = {"regions": [entry | {"point": [0.5, 0.5]}]}
    assert regions(body, prompted, classes=classes) == [Region(label, Point(0.5, 0.5))]


BAD_REGIONS: list[tuple[object, str]] = [
    ({"regions": [{"label": "a"}]}, "a region has none of box, corners"),
    ({"regions": ["a"]}, "not a list of objects"),
    ({"regions": [{"label": "a", "polygon": [[0, 0], [1, 1]]}]}, "three or more points"),
    ({"regions": [{"label": "a", "point": [1]}]}, "list of 2 numbers"),
    ({"regions": [{"label": "a", "point": [0, 0], "score": 2}]}, "no score between 0 and 1"),
    ({"regions": [{"text": "\udfff"}]}, "not valid Unicode"),
    ({"regions": [{"text": 3}]}, 'the "text" of a region'),
    ({"regions": [{"number": 10**400}]}, "not a finite number"),
    ({"regions": [{"label": "a", "mask": 3}]}, "a mask is neither"),
]


@pytest.mark.parametrize(("body", "said"), BAD_REGIONS)
def test_a_region_that_is_wrong_fails_its_input(body: object, said: str) -> None:
    assert said in reason(body)


@pytest.mark.parametrize(
    "body",
    [
        [{"text": "Hugging", "start": 0, "end": 7, "label": "NAME", "score": 0.9}],
        [{"text": "Hugging", "offset": 0, "length": 7, "category": "Name"}, {"text": "New", "offset": 19, "length": 3}],
        [{"text": "A SIGN", "at": [[1, 2], [3, 4], [5, 6]]}, {"text": "ANOTHER", "at": [[5, 6], [7, 8], [9, 10]]}],
    ],
)
def test_what_is_found_in_an_input_is_not_what_is_written_of_it(body: object) -> None:
    with pytest.raises(WrongAnswer):
        answered(body, WORDS)


def test_the_text_that_was_sent_is_no_answer_beside_what_is_found_in_it() -> None:
    assert WORDS.text is not None
    said = {"text": WORDS.text, "ents": [{"start": 0, "end": 12, "label": "ORG"}]}
    assert "its text is the one that was sent" in reason(said, WORDS)
    (answer,) = answered({"text": WORDS.text}, WORDS)
    assert isinstance(answer, Findings)
    assert answer.regions[0].shape == Text(WORDS.text)
    spoken = {"text": "hello you", "segments": [{"start": 0, "end": 1, "text": "hello you"}]}
    assert regions(spoken, Input(b"a sound"))[0].shape == Text("hello you")
