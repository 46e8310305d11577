"""Exports as Label Studio's own converter writes them: JSON, JSON_MIN, CSV and TSV say the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from labelloop.data.formats import Hints, read_listing
from labelloop.data.formats.spans import spans_in
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.types import BOXES as KIND
from labelloop.types import SPANS, TEXTS

IMAGE = '<Image name="image" value="$image"/>'
ONE = f'<View>{IMAGE}<Choices name="animal" toName="image"><Choice value="cat"/><Choice value="dog"/></Choices></View>'
SEVERAL = ONE.replace('name="animal"', 'name="animal" choice="multiple"')
TREE = f"""<View>{IMAGE}<Taxonomy name="animal" toName="image"><Choice value="pet"><Choice value="cat"/>
<Choice value="dog"/></Choice><Choice value="wild"/></Taxonomy></View>"""
BOXES = f'<View>{IMAGE}<RectangleLabels name="label" toName="image"><Label value="cat"/></RectangleLabels></View>'
STARS = f'<View>{IMAGE}<Rating name="stars" toName="image"/></View>'
CAPTIONS = f'<View>{IMAGE}<TextArea name="caption" toName="image"/></View>'
BOXES_AND_CLASSES = SEVERAL.replace("</View>", BOXES.removeprefix(f"<View>{IMAGE}"))
FORMS = ("JSON", "JSON_MIN", "CSV", "TSV", "sorted JSON_MIN")


def said(tag: str, value: object, name: str = "animal") -> dict[str, Any]:
    key = {"choices": "choices", "taxonomy": "taxonomy", "rating": "rating", "textarea": "text"}.get(tag, tag)
    found: dict[str, Any] = {"from_name": name, "to_name": "image", "type": tag, "value": {key: value}}
    if tag == "rectanglelabels":
        found["value"] |= {"x": 1.5, "y": 2, "width": 3, "height": 4, "rotation": 0}
        found |= {"original_width": 640, "original_height": 480}
    return found


def task(number: int, *annotations: list[dict[str, Any]], **data: Any) -> dict[str, Any]:
    """One task with annotations that have these results, in the shape of the JSON export; none is a skipped one."""
    made = [
        {
            "id": 100 * number + at,
            "completed_by": {"id": at, "email": f"a{at}@example.com", "first_name": "", "last_name": ""},
            "result": result,
            "was_cancelled": False,
            "ground_truth": False,
            "created_at": f"2026-11-2{at}T15:46:56.996145Z",
            "updated_at": f"2026-11-2{at}T15:46:56.996145Z",
            "lead_time": 2.5,
        }
        for at, result in enumerate(annotations, 1)
    ]
    return {"id": number, "data": {"image": f"s3://bucket/{number}.jpg", **data}, "annotations": made}


def exported(config: str, tasks: list[dict[str, Any]], form: str, folder: Path) -> Path:
    """Have the converter write an export."""
    import label_studio_sdk.converter.converter as untyped  # seconds, in each process that collects tests

    converter: Any = untyped
    source, target = folder / "tasks.json", folder / "out"
    source.write_text(json.dumps(tasks))
    if form == "JSON":
        return source
    sorting, _, name = form.rpartition(" ")
    converter.Converter(config=config, project_dir=str(folder)).convert(str(source), str(target), name, is_dir=False)
    [written] = target.iterdir()
    if sorting:
        written.write_text(json.dumps(json.loads(written.read_text()), sort_keys=True, indent=2))
    return written


def labels(listing: Listing) -> dict[int, tuple[str, ...]]:
    return {record.task: record.labels for record in listing.records}


CASES: dict[str, tuple[str, list[dict[str, Any]], str, dict[int, tuple[str, ...]]]] = {
    "one": (
        ONE,
        [
            task(1, [said("choices", ["cat"])], source="a"),
            task(2, [said("choices", ["dog"])], source="b"),
            task(3, [said("choices", ["cat"])], source="c"),
        ],
        "single",
        {1: ("cat",), 2: ("dog",), 3: ("cat",)},
    ),
    "several": (
        SEVERAL,
        [
            task(1, [said("choices", ["cat", "dog"])], note="x y"),
            task(2, [said("choices", ["dog"])]),
            task(3, []),
        ],
        "multiple",
        {1: ("cat", "dog"), 2: ("dog",), 3: ()},
    ),
    "annotators": (
        SEVERAL,
        [
            task(7, [said("choices", ["cat", "dog"])], [said("choices", ["cat"])], [said("choices", ["dog", "cat"])]),
            task(8, [said("choices", ["dog"])], [said("choices", ["cat"])]),
            task(9, [said("choices", ["dog"])], [said("choices", ["dog"])]),
        ],
        "multiple",
        {7: ("cat", "dog"), 9: ("dog",)},
    ),
    "taxonomy": (
        TREE,
        [
            task(1, [said("taxonomy", [["pet", "cat"], ["wild"]])]),
            task(2, [said("taxonomy", [["pet", "dog"]])]),
        ],
        "multiple",
        {1: ("pet/cat", "wild"), 2: ("pet/dog",)},
    ),
    "boxes beside classes": (
        BOXES_AND_CLASSES,
        [
            task(1, [said("rectanglelabels", ["cat"], "label"), said("choices", ["cat", "dog"])]),
            task(2, [said("choices", ["dog"]), said("rectanglelabels", ["cat"], "label")]),
        ],
        "multiple",
        {1: ("cat", "dog"), 2: ("dog",)},
    ),
    "data called like the tag": (
        ONE,
        [task(at, [said("choices", [name])], animal=f"old {name}") for at, name in enumerate(("cat", "dog", "cat"), 1)],
        "single",
        {1: ("cat",), 2: ("dog",), 3: ("cat",)},
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_all_forms_of_an_export_say_the_same(case: str, form: str, tmp_path: Path) -> None:
    config, tasks, choice, expected = CASES[case]
    found = read_listing(exported(config, tasks, form, tmp_path))
    assert (found.choice, labels(found)) == (choice, expected)
    assert {record.uri for record in found.records} == {f"s3://bucket/{number}.jpg" for number in expected}
    assert {out.task for out in found.left_out} == {one["id"] for one in tasks} - expected.keys()
    if case == "annotators":
        assert found.left_out[0].reason == "half of its 2 annotators say 'cat', 'dog', half do not"


SPANS_CONFIG = """<View><Labels name="label" toName="text"><Label value="PER"/><Label value="LOC"/></Labels>
<Text name="text" value="$text"/></View>"""
TEXT_CONFIG = """<View><Text name="text" value="$text"/><Choices name="mood" toName="text"><Choice value="good"/>
<Choice value="bad"/></Choices></View>"""


def of_text(number: int, text: str, *results: dict[str, Any]) -> dict[str, Any]:
    one = task(number, [{**result, "to_name": "text"} for result in results])
    return one | {"data": {"text": text, "url": "https://news.example/1"}}


def span(start: int, end: int, label: str, text: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text[start:end], "labels": [label]}
    return {"from_name": "label", "type": "labels", "value": value}


@pytest.mark.parametrize("form", FORMS)
def test_parts_of_texts_are_read_from_every_form(form: str, tmp_path: Path) -> None:
    text = "😀 Ada saw\nOslo"
    tasks = [of_text(1, text, span(2, 5, "PER", text), span(10, 14, "LOC", text)), of_text(2, "nobody")]
    found = read_listing(exported(SPANS_CONFIG, tasks, form, tmp_path))
    assert (found.kind, found.choice, found.classes) == (SPANS, "multiple", ("LOC", "PER"))
    assert [(one.task, one.text, spans_in(one.result)) for one in found.records] == [
        (1, text, [(2, 5, "PER"), (10, 14, "LOC")]),
        (2, "nobody", []),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_classes_of_texts_are_read_from_every_form(form: str, tmp_path: Path) -> None:
    said_of = [("A fine day, all in all.", "good"), ("Rain and rain again.", "bad"), ("Sun on the sea.", "good")]
    tasks = [of_text(at, text, said("choices", [mood], "mood")) for at, (text, mood) in enumerate(said_of, 1)]
    path = exported(TEXT_CONFIG, tasks, form, tmp_path)
    # Where answers are not told from data, an address beside the text could be the picture's.
    hints = Hints() if form == "JSON" else Hints(picture_field="text", label_attribute="mood")
    found = read_listing(path, hints=hints)
    assert (found.kind, [(one.text, one.labels[0]) for one in found.records]) == (TEXTS, said_of)


@pytest.mark.parametrize("form", FORMS)
def test_boxes_are_read_from_every_form(form: str, tmp_path: Path) -> None:
    box = said("rectanglelabels", ["cat"], "label")
    tasks = [task(1, [box, box], source="camera"), task(2, [], source="camera"), task(3, [box], source="phone")]
    found = read_listing(exported(BOXES, tasks, form, tmp_path))
    one = '{"box":[0.015,0.02,0.03,0.04],"label":"cat"}'
    assert (found.kind, [record.result for record in found.records]) == (KIND, [f"[{one},{one}]", "[]", f"[{one}]"])
    assert [record.size for record in found.records] == [(640, 480), None, (640, 480)]
    assert found.records[0].uri == "s3://bucket/1.jpg"


def test_of_several_annotators_most_draw_a_span(tmp_path: Path) -> None:
    text = "Ada saw Oslo"
    votes = [[span(0, 3, "PER", text), span(8, 12, "LOC", text)], [span(0, 3, "PER", text)], [span(0, 3, "LOC", text)]]
    one = task(1, *votes) | {"data": {"text": text}}
    found = read_listing(exported(SPANS_CONFIG, [one], "JSON", tmp_path), hints=Hints(classes=("loc", "per")))
    assert spans_in(found.records[0].result) == [(0, 3, "per")]


def test_of_boxes_and_classes_the_boxes_are_learned_where_they_are_named(tmp_path: Path) -> None:
    path = exported(*CASES["boxes beside classes"][:2], "JSON", tmp_path)
    assert read_listing(path).remarks == ("its control tag 'label' draws: name it (--label-attribute) to learn that",)
    found = read_listing(path, hints=Hints(label_attribute="label"))
    assert (found.kind, [one.labels for one in found.records]) == (KIND, [("cat",), ("cat",)])


def test_what_was_drawn_on_a_turned_picture_is_left_out(tmp_path: Path) -> None:
    box = said("rectanglelabels", ["cat"], "label")
    tasks = [task(1, [box]), task(2, [box | {"image_rotation": 90}])]
    found = read_listing(exported(BOXES, tasks, "JSON", tmp_path))
    assert [(out.task, out.reason.partition(":")[0]) for out in found.left_out] == [
        (2, "drawn on a picture that was turned in the editor")
    ]


OTHERS = {
    "ratings": (STARS, [said("rating", 4, "stars")]),
    "words": (CAPTIONS, [said("textarea", ["one line", "and another"], "caption")]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_chosen_is_refused_by_its_kind(kind: str, form: str, tmp_path: Path) -> None:
    config, result = OTHERS[kind]
    # Both tasks come from one camera: what is told twice is no label for that.
    tasks = [task(number, result, source="camera") for number in (1, 2)]
    with pytest.raises(ManifestError, match=f" holds {kind} \\(in its annotations\\)"):
        read_listing(exported(config, tasks, form, tmp_path))


@pytest.mark.parametrize("form", FORMS[1:])
def test_captions_are_words_and_no_classes(form: str, tmp_path: Path) -> None:
    told = ("a cat asleep on a mat", "two dogs at play in snow")
    tasks = [task(at, [said("textarea", [text], "caption")]) for at, text in enumerate(told, 1)]
    path = exported(CAPTIONS, tasks, form, tmp_path)
    with pytest.raises(ManifestError, match=r" holds words \(no two are the same in its field 'caption'\)"):
        read_listing(path)
    assert read_listing(path, hints=Hints(label_attribute="caption")).classes == told


@pytest.mark.parametrize("form", ["CSV", "sorted JSON_MIN"])
def test_where_data_could_be_what_was_chosen_it_is_named(form: str, tmp_path: Path) -> None:
    tasks = [task(at, [said("choices", [name])], colour="red") for at, name in enumerate(("cat", "dog", "cat"), 1)]
    path = exported(ONE, tasks, form, tmp_path)
    with pytest.raises(ManifestError, match=r"not plain: 'animal', 'colour'\. Name it \(--label-attribute\)"):
        read_listing(path)
    assert labels(read_listing(path, hints=Hints(label_attribute="animal"))) == {1: ("cat",), 2: ("dog",), 3: ("cat",)}


def test_as_label_studio_writes_json_min_data_are_told_from_answers(tmp_path: Path) -> None:
    tasks = [task(at, [said("choices", [name])], colour="red") for at, name in enumerate(("cat", "dog", "cat"), 1)]
    assert labels(read_listing(exported(ONE, tasks, "JSON_MIN", tmp_path))) == {1: ("cat",), 2: ("dog",), 3: ("cat",)}


@pytest.mark.parametrize("form", ["CSV", "JSON_MIN"])
def test_rows_of_one_task_need_not_stand_side_by_side(form: str, tmp_path: Path) -> None:
    votes = ["cat", "dog", "cat"]
    tasks = [task(number, *([said("choices", [vote])] for vote in votes)) for number in (4, 5)]
    path = exported(ONE, tasks, form, tmp_path)
    if form == "CSV":
        header, *rows = path.read_text().splitlines()
        path.write_text("\n".join([header, *sorted(rows, key=lambda row: row.partition(",")[0][-1])]))
    else:
        path.write_text(json.dumps(sorted(json.loads(path.read_text()), key=lambda row: row["annotation_id"] % 100)))
    assert labels(read_listing(path)) == {4: ("cat",), 5: ("cat",)}


@pytest.mark.parametrize("format", ["auto", "csv", "label-studio"])
def test_a_table_is_label_studio_s_by_whatever_name(format: str, tmp_path: Path) -> None:
    path = exported(SEVERAL, CASES["several"][1], "CSV", tmp_path)
    assert labels(read_listing(path, format)) == CASES["several"][3]


@pytest.mark.parametrize("form", FORMS)
def test_classes_of_ones_own_are_followed_before_annotators_are_counted(form: str, tmp_path: Path) -> None:
    votes = [["Cat"], ["CAT"], ["dog"]]
    tasks = [task(1, *([said("choices", vote)] for vote in votes)), task(2, [said("choices", ["bird"])])]
    path = exported(ONE, tasks, form, tmp_path)
    found = read_listing(path, hints=Hints(classes=("cat", "dog"), label_attribute="animal"))
    assert labels(found) == {1: ("cat",)}
    assert [(out.task, out.reason) for out in found.left_out] == [(2, "labeled 'bird', which is none of the classes")]


@pytest.mark.parametrize("form", FORMS)
def test_a_task_that_nobody_has_annotated_is_no_answer(form: str, tmp_path: Path) -> None:
    tasks = [task(1, [said("choices", ["cat", "dog"])]), task(2, [said("choices", ["dog"])]), task(3)]
    found = read_listing(exported(SEVERAL, tasks, form, tmp_path))
    assert labels(found) == {1: ("cat", "dog"), 2: ("dog",)}
    assert [(out.task, out.reason) for out in found.left_out] == [(3, "not annotated")]
