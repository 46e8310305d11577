"""Label Studio's exports: a captured one, several annotators, several control tags, JSON_MIN."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from labelloop.data.formats import Hints, read_listing
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError

CAPTURED = Path(__file__).parents[2] / "fixtures/label_studio/export/JSON.json"


def annotation(*choices: str, name: str = "animal", **more: Any) -> dict[str, Any]:
    region = {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": list(choices)}}
    return {"result": [region] if choices else [], "was_cancelled": False, **more}


def task(number: int, *annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": f"s3://bucket/{number}.jpg", **data}, "annotations": list(annotations)}


def read(tmp_path: Path, *tasks: dict[str, Any], hints: Hints = Hints()) -> Listing:  # noqa: B008
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks, indent=1))
    return read_listing(path, hints=hints)


def labels(listing: Listing) -> dict[int, tuple[str, ...]]:
    return {record.task: record.labels for record in listing.records}


def reasons(listing: Listing) -> dict[int, str]:
    return {out.task: out.reason for out in listing.left_out}


def test_a_captured_export() -> None:
    found = read_listing(CAPTURED)
    exported = json.loads(CAPTURED.read_text())
    assert found.choice == "single"
    assert {one["id"] for one in exported} == labels(found).keys() | reasons(found).keys()
    assert labels(found)[1] == ("buildings",)
    assert found.records[0].uri == "s3://scenes-src/images/buildings_10176.jpg"
    assert "skipped by its annotators" in reasons(found).values()


def test_the_majority_counts_and_ties_and_skips_are_left_out(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        task(1, annotation("cat"), annotation("cat"), annotation("dog")),
        task(2, annotation("cat"), annotation("dog")),
        task(3, annotation("cat", was_cancelled=True)),
        task(4),
        task(5, annotation("cat"), annotation("dog", ground_truth=True)),
        task(6, annotation("cat"), annotation("dog", was_cancelled=True)),
        task(7, annotation()),
    )
    assert labels(found) == {1: ("cat",), 5: ("dog",), 6: ("cat",)}
    assert reasons(found) == {
        2: "its annotators disagree: 1 each say 'cat', 'dog'",
        3: "skipped by its annotators",
        4: "not annotated",
        7: "annotated without a label",
    }


def test_several_choices_each(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        task(1, annotation("cat", "dog"), annotation("cat"), annotation("cat", "dog")),
        task(2, annotation("cat", "dog"), annotation("cat")),
        task(3, annotation()),
    )
    assert (found.choice, labels(found)) == ("multiple", {1: ("cat", "dog"), 3: ()})
    assert reasons(found) == {2: "half of its 2 annotators say 'dog', half do not"}


def test_a_side_in_task_data_is_taken_if_it_is_one(tmp_path: Path) -> None:
    found = read(tmp_path, *(task(at, annotation("cat"), split=side) for at, side in enumerate(["val", "x", 7], 1)))
    assert [record.side for record in found.records] == ["validation", None, None]


def test_of_several_control_tags_one_is_named(tmp_path: Path) -> None:
    two = annotation("cat")
    two["result"] += annotation("blurred", name="quality")["result"]
    with pytest.raises(ManifestError, match=r"several control tags have choices: 'animal', 'quality'\. Name one"):
        read(tmp_path, task(1, two))
    assert labels(read(tmp_path, task(1, two), hints=Hints(label_attribute="quality"))) == {1: ("blurred",)}
    with pytest.raises(ManifestError, match="no annotation is of the control tag 'colour'; there are 'animal'"):
        read(tmp_path, task(1, two), hints=Hints(label_attribute="colour"))


def test_regions_of_other_tags_are_no_labels(tmp_path: Path) -> None:
    box = {"from_name": "box", "type": "rectanglelabels", "value": {"rectanglelabels": ["x"], "x": 1}}
    mixed = annotation("cat")
    mixed["result"].append(box)
    assert labels(read(tmp_path, task(1, mixed))) == {1: ("cat",)}


@pytest.mark.parametrize("data", [{"photo": "/data/upload/1/a.jpg", "note": "x"}, {"where": "https://h/a"}])
def test_the_field_of_the_picture_is_found(tmp_path: Path, data: dict[str, str]) -> None:
    found = read(tmp_path, {"id": 1, "data": data, "annotations": [annotation("cat")]})
    assert found.records[0].uri == next(iter(data.values()))


def test_where_no_field_or_several_would_do_one_is_named(tmp_path: Path) -> None:
    one = {"id": 1, "data": {"left": "s3://b/l", "right": "s3://b/r"}, "annotations": [annotation("cat")]}
    with pytest.raises(ManifestError, match=r"several fields of its tasks hold addresses: 'left', 'right'\. Name the"):
        read(tmp_path, one)
    with pytest.raises(ManifestError, match=r"no field of its tasks holds .* Name it \(--picture-field\)"):
        read(tmp_path, one | {"data": {"size": 3}})
    assert read(tmp_path, one, hints=Hints(picture_field="right")).records[0].uri == "s3://b/r"


def test_a_task_without_picture_is_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, task(1, annotation("cat")), {"id": 2, "data": {"x": 1}, "annotations": [annotation("cat")]})
    assert reasons(found) == {2: "no 'image' in its data"}


def minimal(number: int, answer: object, annotator: int = 1) -> dict[str, Any]:
    """An element of JSON_MIN as label-studio-sdk's converter writes it."""
    return {
        "image": f"s3://bucket/{number}.jpg",
        "id": number,
        "animal": answer,
        "annotator": annotator,
        "annotation_id": 10 * number + annotator,
        "lead_time": 2.5,
    }


def test_json_min_has_an_element_for_each_annotation(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        minimal(1, "cat"),
        minimal(1, "cat", 2),
        minimal(1, "dog", 3),
        minimal(2, [{"choices": ["dog"]}]),
        minimal(3, "cat"),
        minimal(3, "dog", 2),
    )
    assert labels(found) == {1: ("cat",), 2: ("dog",)}
    assert reasons(found) == {3: "its annotators disagree: 1 each say 'cat', 'dog'"}


@pytest.mark.parametrize("answer", [{"choices": ["cat", "dog"]}, [{"choices": ["dog", "cat"]}], ["cat", "dog"]])
def test_json_min_with_several_choices(tmp_path: Path, answer: object) -> None:
    found = read(tmp_path, minimal(1, answer))
    assert (found.choice, labels(found)) == ("multiple", {1: ("cat", "dog")})


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ({"id": "7", "data": {}}, "'id' must be a whole number"),
        ({"id": 7, "data": []}, "'data' must be an object"),
        ({"id": 7, "data": {}, "annotations": {}}, None),
        ({"id": 7, "data": {}, "annotations": 5}, "'annotations' must be a list"),
        ({"id": 7, "image": "s3://b/k"}, "neither a task of a JSON export"),
        ({"image": "a.jpg", "annotations": []}, "neither a task of .* keys are 'image, annotations'"),
    ],
)
def test_what_is_wrong_is_said_with_its_element(tmp_path: Path, element: dict[str, Any], reason: str | None) -> None:
    if reason is None:
        assert reasons(read(tmp_path, task(1, annotation("cat")), element)) == {7: "not annotated"}
        return
    with pytest.raises(ManifestError, match=f"export.json, element 2: .*{reason}"):
        read(tmp_path, task(1, annotation("cat")), element)


def test_tasks_without_ids_count_from_1_as_when_they_are_imported(tmp_path: Path) -> None:
    tasks = [task(at, annotation(name)) for at, name in ((5, "cat"), (9, "dog"))]
    for one in tasks:
        del one["id"]
    predicted = {"data": {"image": "s3://b/3"}, "predictions": annotation("cat")["result"]}
    found = read(tmp_path, *tasks, predicted, {"data": {"image": "s3://b/4"}})
    assert labels(found) == {1: ("cat",), 2: ("dog",)}
    assert reasons(found) == {3: "not annotated: only models have answered it", 4: "not annotated"}
    with pytest.raises(ManifestError, match=r"some entries have a task id and some have none \(entry 3\)"):
        read(tmp_path, *tasks, task(7, annotation("cat")))


def test_sorted_keys_change_nothing(tmp_path: Path) -> None:
    elements = [minimal(1, "cat"), minimal(2, "dog"), minimal(2, "dog", 2), minimal(3, "cat")]
    ordered = read(tmp_path, *elements)
    path = tmp_path / "sorted.json"
    path.write_text(json.dumps(elements, sort_keys=True))
    assert read_listing(path) == ordered
    assert labels(ordered) == {1: ("cat",), 2: ("dog",), 3: ("cat",)}


def test_a_taxonomy_s_labels_are_its_paths(tmp_path: Path) -> None:
    def placed(*paths: list[str]) -> dict[str, Any]:
        region = {"from_name": "place", "type": "taxonomy", "value": {"taxonomy": list(paths)}}
        return {"result": [region], "was_cancelled": False}

    found = read(tmp_path, task(1, placed(["town", "street"])), task(2, placed(["town"], ["sea"])))
    assert (found.choice, labels(found)) == ("multiple", {1: ("town/street",), 2: ("sea", "town")})


def test_completions_are_annotations_of_old(tmp_path: Path) -> None:
    def old(number: int, *completions: dict[str, Any]) -> dict[str, Any]:
        return {"id": number, "data": {"image": f"s3://bucket/{number}.jpg"}, "completions": list(completions)}

    found = read(
        tmp_path,
        old(1, annotation("cat"), annotation("dog", skipped=True)),
        old(2, annotation("x", skipped=True)),
        old(3),
    )
    assert labels(found) == {1: ("cat",)}
    assert reasons(found) == {2: "skipped by its annotators", 3: "not annotated"}


def test_tasks_one_a_line_are_an_export_too(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(task(at, annotation(name))) + "\n" for at, name in ((3, "cat"), (4, "dog"))))
    assert labels(read_listing(path)) == {3: ("cat",), 4: ("dog",)}


BOX = {"from_name": "box", "type": "rectanglelabels", "value": {"rectanglelabels": ["x"], "x": 1, "y": 2, "height": 3}}


def test_what_has_no_label_of_the_picture_says_what_it_has(tmp_path: Path) -> None:
    part = {"from_name": "animal", "type": "choices", "value": {"choices": ["dog"], "x": 1, "y": 2, "height": 3}}
    found = read(tmp_path, task(1, annotation("cat")), task(2, {"result": [BOX]}), task(3, {"result": [part]}))
    assert labels(found) == {1: ("cat",)}
    assert reasons(found) == dict.fromkeys((2, 3), "annotated with boxes, and without a label of the picture")


@pytest.mark.parametrize(
    ("data", "result", "holds"),
    [
        ({"image": "s3://b/k.jpg"}, [BOX], "boxes (in its annotations)"),
        ({"audio": "s3://b/k.wav"}, annotation("cat")["result"], "classes of sounds (by the addresses in its field"),
    ],
)
def test_labels_of_other_kinds_are_refused_by_their_name(
    tmp_path: Path, data: dict[str, str], result: list[dict[str, Any]], holds: str
) -> None:
    with pytest.raises(ManifestError, match=re.escape(f"export.json holds {holds}")):
        read(tmp_path, {"id": 1, "data": data, "annotations": [{"result": result}]})


def test_of_several_addresses_the_one_that_every_task_has_is_the_picture_s(tmp_path: Path) -> None:
    tasks = [
        {"id": at, "data": data, "annotations": [annotation("cat")]}
        for at, data in enumerate(({"front": "s3://b/1", "note": "/etc"}, {"front": "s3://b/2", "note": "x"}), 1)
    ]
    assert [record.uri for record in read(tmp_path, *tasks).records] == ["s3://b/1", "s3://b/2"]


def test_an_address_may_lie_in_nested_data(tmp_path: Path) -> None:
    one = {"id": 1, "data": {"photos": [{"url": "s3://b/1"}]}, "annotations": [annotation("cat")]}
    assert read(tmp_path, one, hints=Hints(picture_field="photos[0].url")).records[0].uri == "s3://b/1"


def test_a_label_config_s_finder_is_followed_before_annotators_are_counted(tmp_path: Path) -> None:
    find = {"hound": "dog", "dog": "dog", "cat": "cat"}.get
    found = read(
        tmp_path,
        task(1, annotation("hound"), annotation("dog"), annotation("cat")),
        task(2, annotation("bird")),
        task(3, annotation("bird"), annotation("cat")),
        task(4, annotation("bird", "cat")),
        hints=Hints(classes=("cat", "dog"), find=find, choice="single"),
    )
    assert labels(found) == {1: ("dog",), 3: ("cat",)}
    assert reasons(found) == {
        2: "labeled 'bird', which is none of the classes",
        4: "annotated with several labels ('cat', 'bird'), of which one is allowed",
    }
