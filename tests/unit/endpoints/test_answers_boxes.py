"""Boxes in other people's spellings: what is read, what nothing is, and what is refused because it may mean two things.

What public containers answer is held by their stand-ins (tests/contract/test_containers.py).
"""

from typing import Any

import pytest

from labelloop.endpoints.failures import WrongAnswer
from labelloop.types import Box, Input, Mask, Point, Polygon, Region
from support.answered import PICTURE, answered, reason, regions

CAT = Region("cat", Box(0.25, 0.25, 0.5, 0.5), 0.75)
PLACE = {"xmin": 50, "ymin": 25, "xmax": 150, "ymax": 75}
ROBOFLOW = {"x": 100, "y": 50, "width": 100, "height": 50, "class": "cat", "confidence": 0.75}
AWAY = Input(uri="s3://bucket/a.png")


def record(**place: Any) -> dict[str, Any]:
    return {"label": "cat", "score": 0.75} | place


SPELLED: list[tuple[object, tuple[str, ...]]] = [
    ([record(box=PLACE)], ()),
    ([record(bbox=PLACE)], ()),
    ([record(**PLACE)], ()),
    ([record(boundingBox={"x0": 50, "y0": 25, "x1": 150, "y1": 75})], ()),
    ([record(box={"x_min": 50, "y_min": 25, "x_max": 150, "y_max": 75})], ()),
    ([record(xcenter=100, ycenter=50, width=100, height=50)], ()),
    ([record(left=0.25, top=0.25, width=0.5, height=0.5)], ()),
    (record(box=PLACE), ()),
    ({"result": {"things": [record(box=PLACE)], "seconds": 3}}, ()),
    ([{"category_id": 0, "category_name": "cat", "score": 0.75, "bbox": [50, 25, 100, 50]}], ()),
    (
        {"detections": [{"class_name": "cat", "confidence": 0.75, "rectangle": {"x": 50, "y": 25, "w": 100, "h": 50}}]},
        (),
    ),
    ([{"name": "cat", "score": 0.75, "boundingPoly": {"vertices": [{"x": 50, "y": 25}, {"x": 150, "y": 75}]}}], ()),
    ({"boxes": [[50, 25, 150, 75]], "class_ids": [0], "confidences": [0.75]}, ("cat",)),
    ({"boxes": [[50, 25, 150, 75]], "class_names": ["cat"], "scores": [0.75]}, ()),
    ({"bboxes": [[[50, 25, 150, 75]]], "labels": [[0]], "scores": [[0.75]]}, ("cat",)),
    ({"boxes": [[50, 25, 150, 75, 0.75, 1]], "names": {"0": "dog", "1": "cat"}}, ()),
    ({"boxes": [[50, 25, 150, 75, 0.75, 1]], "names": ["dog", "cat"]}, ()),
    ({"detection_boxes": [[0.25, 0.25, 0.75, 0.75]], "detection_classes": [1], "detection_scores": [0.75]}, ("cat",)),
    (
        {
            "detection_boxes": [[0.25, 0.25, 0.75, 0.75]],
            "detection_class_names": ["/m/01yrx"],
            "detection_class_entities": ["cat"],
            "detection_scores": [0.75],
        },
        (),
    ),
]


@pytest.mark.parametrize(("body", "classes"), SPELLED)
def test_a_box_is_read_however_it_is_spelled(body: object, classes: tuple[str, ...]) -> None:
    assert regions(body, PICTURE, classes=classes) == [CAT]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"boxes": []},
        [{"boxes": []}],
        {"boxes": [], "image": {"width": 200, "height": 100}},
        {"boxes": [], "labels": [], "scores": []},
        {"boxes": [[]], "labels": [[]], "scores": [[]]},
        {"detections": []},
        {"objects": [], "requestId": "r"},
        {"CustomLabels": []},
        {"predictions": [], "image": {"width": 200, "height": 100}, "time": 0.1},
        {"id": "a", "project": "p", "iteration": "i", "created": "c", "predictions": []},
        {"localizedObjectAnnotations": []},
        {"responses": [{}]},
        {"normalized_boxes": [], "classes": [], "scores": [], "labels": ["cat", "dog"]},
        {"predictions": [{"detection_boxes": [[0, 0, 0, 0]], "detection_classes": [1], "num_detections": 0}]},
        {"instances": {"pred_boxes": [], "scores": [], "pred_classes": []}},
        {"<OD>": {"bboxes": [], "labels": []}},
    ],
)
def test_nothing_found_is_an_answer(body: object) -> None:
    assert regions(body, PICTURE) == []


LISTED = "whether they are two corners, or a corner or the middle and a size"
UNIT = "whether they are pixels, percent or fractions"
DOUBTFUL: list[tuple[object, tuple[str, ...], str]] = [
    ([record(bbox=[50, 25, 150, 75])], (LISTED, UNIT), "corners"),
    ([record(box=[[50, 25, 150, 75]])], (LISTED, UNIT), "corners"),
    ({"results": [record(bounding_box=[50, 25, 150, 75])]}, (LISTED, UNIT), "corners"),
    ({"predictions": [record(box=[50, 25, 150, 75])], "took": 3}, (LISTED, UNIT), "corners"),
    ([{"class_label": "cat", "class-score": 0.75, "bbox": [50, 25, 150, 75]}], (LISTED, UNIT), "corners"),
    ({"predictions": [ROBOFLOW | {"x": 50, "y": 25}]}, ("begin at a corner or in the middle", UNIT), "box"),
    ([record(box={"x": 50, "y": 25, "w": 100, "h": 50})], ("begin at a corner or in the middle", UNIT), "box"),
    ([record(left=50, top=25, right=150, bottom=75)], (UNIT,), "corners"),
    ([record(xyxy=[50, 25, 150, 75])], (LISTED, UNIT), "corners"),
]


@pytest.mark.parametrize(("body", "said", "order"), DOUBTFUL)
def test_what_may_mean_two_things_is_refused_with_a_mapping_that_works(
    body: object, said: tuple[str, ...], order: str
) -> None:
    told = reason(body, PICTURE)
    assert all(part in told for part in said)
    mapping = told.partition("such as ")[2].partition("}, with corners")[0]
    assert f"{order}: " in mapping
    assert regions(body, PICTURE, mapping=mapping + "}") == [CAT]


def test_pixels_that_are_none_are_refused() -> None:
    small = {"xmin": 0.25, "ymin": 0.25, "xmax": 0.75, "ymax": 0.75}
    for body in ([record(box=small)], {"boxes": [list(small.values())], "labels": ["cat"]}):
        assert "all of them lie within the first one: are they fractions?" in reason(body, PICTURE)
    border = {"xmin": 0.25, "ymin": 0.25, "xmax": 1.003, "ymax": 1.2}
    assert "all of them lie hardly beyond the first one" in reason([record(box=border)], PICTURE)
    # Not all of them do.
    assert len(regions([record(box=small), record(box=PLACE)], PICTURE)) == 2


def test_fractions_that_are_none_are_refused() -> None:
    for body in (
        [record(left=50, top=25, width=100, height=50)],
        {"detection_boxes": [[25, 50, 75, 150]], "detection_classes_as_text": ["cat"], "detection_scores": [0.75]},
    ):
        assert "far outside the picture" in reason(body, PICTURE)


def test_classes_of_a_label_map_count_from_1() -> None:
    body: dict[str, Any] = {"detection_boxes": [[0, 0, 1, 1]], "detection_classes": [2.0], "detection_scores": [1.0]}
    assert [one.label for one in regions(body, PICTURE, classes=("cat", "dog"))] == ["dog"]
    assert "set the names, counted from 1" in reason(body, PICTURE)
    assert "names class 3, counted from 1" in reason(body | {"detection_classes": [3]}, PICTURE, classes=("a", "b"))
    assert "names class 0, counted from 1" in reason(body | {"detection_classes": [0]}, PICTURE, classes=("a", "b"))


def test_a_list_of_names_that_has_not_the_class_is_refused() -> None:
    body = {"boxes": [[50, 25, 150, 75, 0.75, 3]], "names": ["cat"]}
    assert "names class 3, which its own list of names does not hold" in reason(body, PICTURE)


def test_the_answer_may_tell_the_size_of_a_picture_that_was_not_sent() -> None:
    assert regions({"predictions": [ROBOFLOW], "image": {"width": 200, "height": 100}}, AWAY) == [CAT]
    assert 'let it answer "width"' in reason([record(box=PLACE)], AWAY)


def test_outlines_and_masks_stand_beside_their_boxes() -> None:
    triangle = Polygon((Point(0.25, 0.25), Point(0.75, 0.25), Point(0.5, 0.75)))
    segments = {"x": [50.0, 150.0, 100.0], "y": [25.0, 25.0, 75.0]}
    assert [one.shape for one in regions([record(box=PLACE, segments=segments)], PICTURE)] == [CAT.shape, triangle]
    points = [{"x": 50, "y": 25}, {"x": 150, "y": 25}, {"x": 100, "y": 75}]
    segmented = {"predictions": [ROBOFLOW | {"points": points}], "image": {"width": 200, "height": 100}}
    assert [one.shape for one in regions(segmented, PICTURE)] == [CAT.shape, triangle]
    mask = {"size": [1, 2], "counts": [1, 1]}
    coco = [{"category_id": 0, "score": 0.75, "bbox": [50, 25, 100, 50], "segmentation": mask}]
    assert [one.shape for one in regions(coco, PICTURE, classes=("cat",))] == [CAT.shape, Mask(2, 1, b"\x00\xff")]


def test_a_turned_box_is_not_taken_for_an_upright_one() -> None:
    turned = {f"{axis}{number}": 10.0 * number for axis in "xy" for number in (1, 2, 3, 4)}
    with pytest.raises(WrongAnswer, match="of no known format"):
        answered([record(box=turned)], PICTURE)


@pytest.mark.parametrize(
    "places",
    [
        {"rois": [[0.1, 0.2, 0.3, 0.4]]},
        {"det_boxes": [[0.1, 0.2, 0.3, 0.4]]},
        {"whereabouts": [[10, 20, 60, 120]]},
        {"pred_boxes": [[0.5, 0.5, 0.2, 0.2]], "pred_logits": [[1.5, 2.5]]},
    ],
)
def test_boxes_of_an_unknown_kind_are_no_classification(places: dict[str, Any]) -> None:
    beside = {} if "pred_logits" in places else {"class_ids": [1], "scores": [0.9]}
    with pytest.raises(WrongAnswer, match="of no known format"):
        answered(places | beside, PICTURE, classes=("dog", "cat"))


def test_objects_of_several_pictures() -> None:
    first, second = answered({"predictions": [{"boxes": [record(box=PLACE)]}, {"boxes": []}]}, PICTURE, PICTURE)
    assert [first, second] == [*answered([record(box=PLACE)], PICTURE), *answered([], PICTURE)]


def test_words_of_no_known_name_are_not_left_out() -> None:
    body = {"boxes": [[50, 25, 150, 75]], "scores": [0.75]}
    assert regions(body | {"text_labels": ["cat"]}, PICTURE) == [CAT]
    assert regions(body | {"phrases": ["cat"]}, PICTURE) == [CAT]
    assert "whether 'what' says what its boxes are cannot be told" in reason(body | {"what": ["cat"]}, PICTURE)


def test_boxes_by_ultralytics_names() -> None:
    whose = {"conf": [0.75], "cls": [1.0]}
    assert regions({"xyxy": [[50, 25, 150, 75]], **whose}, PICTURE, classes=("dog", "cat")) == [CAT]
    assert regions({"xyxyn": [[0.25, 0.25, 0.75, 0.75]], **whose}, PICTURE, classes=("dog", "cat")) == [CAT]
    with pytest.raises(Exception, match="of no known format"):
        answered({"xywh": [[100, 50, 100, 50]], **whose}, PICTURE, classes=("dog", "cat"))


def test_a_success_that_found_nothing() -> None:
    body: dict[str, Any] = {"success": True, "predictions": [], "duration": 0}
    assert answered(body, PICTURE) == answered([], PICTURE)
    with pytest.raises(Exception, match="0 predictions came back"):
        answered(body | {"success": False}, PICTURE)


@pytest.mark.parametrize(
    "said", [{"box_format": "xywh"}, {"format": "CXCYWH"}, {"normalized": True}, {"mode": "xyxyn"}]
)
def test_boxes_that_are_said_to_be_something_else_are_refused(said: dict[str, Any]) -> None:
    body: dict[str, Any] = {"boxes": [[50, 25, 150, 75]], "labels": ["cat"], "scores": [0.75]}
    assert f"its field {next(iter(said))!r} says" in reason(body | said, PICTURE)
    for agreed in ({"box_format": "xyxy"}, {"normalized": False}):
        assert regions(body | agreed, PICTURE) == [CAT]
