"""Exported rows: their input, their side, and the votes that their labels become, by every model type."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.kinds import base
from labelloop.kinds.majority import Truth, Vote
from labelloop.labelbox.model_types import TYPES, find_type
from labelloop.labelbox.ontology import Ontology
from labelloop.labelbox.rows import Row, read_row, read_votes, row_number, write_votes
from labelloop.regions import read_regions
from labelloop.types import Box, Json, Region, Span
from support.examples import examples

from .test_ontology import normalized, option, question, take, tool

RUN = "9e3f331a-551b-0e24-6ab5-f69855df64ea"
LINK = "https://storage.example/1.jpg?signature=x"

SCENE = question("radio", "scene", option("outdoor", question("radio", "place", "forest", "sea")), "indoor")
THINGS = question("checklist", "things", option("tree", question("checklist", "with", "fruit", "snow")), "car", "dog")
STREET = normalized(tool("rectangle", "car"), tool("rectangle", "bus"), tool("polygon", "lane"), SCENE, THINGS)
WORDS = normalized(tool("named-entity", "PER"), tool("named-entity", "LOC"), SCENE, THINGS)


def exported(*labels: object, row_data: object = LINK, size: tuple[int, int] | None = (200, 100)) -> Json:
    """Write a row of an export."""
    media = {"width": size[0], "height": size[1], "mime_type": "image/jpeg"} if size else {}
    return {
        "data_row": {"id": "cl0000000000000000000001", "external_id": "1", "row_data": row_data},
        "media_attributes": media,
        "experiments": {"model": {"name": "m", "runs": {RUN: {"name": "r", "labels": list(labels)}}}},
    }


def label(*annotations: Json) -> Json:
    objects = [one for one in annotations if "bounding_box" in one or "location" in one]
    return {
        "label_kind": "Default",
        "id": "cl9",
        "annotations": {"objects": objects, "classifications": [one for one in annotations if one not in objects]},
    }


def box(name: str, left: float, top: float, width: float, height: float, *nested: Json) -> Json:
    return {
        "name": name,
        "annotation_kind": "ImageBoundingBox",
        "classifications": list(nested),
        "bounding_box": {"top": top, "left": left, "height": height, "width": width},
    }


def entity(name: str, start: int, end: int, token: str = "") -> Json:
    return {
        "name": name,
        "annotation_kind": "TextEntity",
        "classifications": [],
        "location": {"start": start, "end": end, "token": token},
    }


def answer(name: str, *nested: Json) -> Json:
    return {"name": name, "value": name, "classifications": list(nested)}


def radio(name: str, chosen: Json) -> Json:
    return {"name": name, "value": name, "radio_answer": chosen}


def checklist(name: str, *chosen: Json, key: str = "checklist_answers") -> Json:
    return {"name": name, "value": name, key: list(chosen)}


def truth(name: str, row: Row) -> Truth:
    """Settle a row's votes as its kind does."""
    model_type = find_type(name)
    assert model_type is not None
    return base.find(model_type.kind).truth(row.votes, model_type.choice)


def read(name: str, line: object, told: Json = STREET) -> Row:
    return read_row(line, RUN, take(name, told))


def drawn(row: Row) -> tuple[Region, ...]:
    (vote,) = row.votes
    return read_regions(vote.result)


# Inputs and sides


def test_a_link_is_an_address_and_anything_else_of_a_text_the_text_itself() -> None:
    linked = read("text_single_classification", exported(), WORDS)
    held = read("text_single_classification", exported(row_data="see https://x.example for more"), WORDS)

    assert (linked.address, linked.text) == (LINK, "")
    assert (held.address, held.text) == ("", "see https://x.example for more")
    assert linked.askable
    assert held.askable


@pytest.mark.parametrize(
    ("row_data", "reason"),
    [
        ("", "the data row is empty"),
        ("  ", "the data row is empty"),
        (None, "the data row is empty"),
        ({"type": "application/vnd.labelbox.conversational"}, "the data row is empty"),
        ("a text", "the data row is no link to a picture"),
    ],
)
def test_a_row_without_an_input_says_why(row_data: object, reason: str) -> None:
    row = read("image_single_classification", exported(label(), row_data=row_data))

    assert row.reason == reason
    assert not row.askable


@pytest.mark.parametrize("key", ["split", "data_split", "dataSplit", "Data_Split"])
@pytest.mark.parametrize(
    ("split", "canonical", "side"),
    [
        ("TRAINING", "TRAINING", "train"),
        ("validation", "VALIDATION", "validation"),
        ("Test", "TEST", "test"),
        ("UNASSIGNED", "UNASSIGNED", None),
        ("elsewhere", "", None),
        (None, "", None),
    ],
)
def test_the_split_is_read_under_any_of_its_names(
    key: str, split: str | None, canonical: str, side: str | None
) -> None:
    line = exported()
    line["experiments"]["model"]["runs"][RUN][key] = split

    row = read("bounding_box", line)

    assert (row.split, row.side) == (canonical, side)


def test_a_number_stands_for_a_data_row_as_long_as_stores_are() -> None:
    assert row_number("cl0000000000000000000001") == 87043023328072413
    assert 0 < row_number("\ud800") < 2**59 < 10**18


def test_rows_of_another_model_run_are_left_out() -> None:
    row = read_row(exported(label()), "another-model-run", take("bounding_box", STREET))

    assert row.reason == "the exported row tells nothing of this model run"
    assert row.askable


def test_without_an_ontology_inputs_alone_are_read() -> None:
    row = read_row(exported(label(box("car", 0, 0, 9, 9))), RUN)

    assert (row.address, row.size, row.votes, row.reason) == (LINK, (200, 100), (), "")


# Answers to a question


def test_a_class_is_the_path_of_display_names() -> None:
    place = radio("place", answer("forest"))

    row = read("image_single_classification", exported(label(radio("scene", answer("outdoor", place)))))

    assert row.votes == (Vote(frozenset({"outdoor/forest"})),)


def test_the_majority_of_labels_is_true() -> None:
    said = [label(radio("scene", answer(name))) for name in ("indoor", "outdoor", "indoor")]

    assert truth("image_single_classification", read("image_single_classification", exported(*said))) == Truth(
        ("indoor",), confirmed=True
    )
    tied = read("image_single_classification", exported(*said[:2]))
    assert truth("image_single_classification", tied).reason.startswith("its annotators disagree")


@pytest.mark.parametrize("key", ["checklist_answers", "checklist_answer"])
def test_a_checklist_gives_several_classes_and_of_nested_answers_their_paths(key: str) -> None:
    tree = answer("tree", checklist("with", answer("fruit"), answer("snow"), key=key))

    row = read("image_multi_classification", exported(label(checklist("things", tree, answer("dog"), key=key))))

    assert row.votes == (Vote(frozenset({"tree/fruit", "tree/snow", "dog"})),)


def test_nothing_checked_is_an_answer_of_a_checklist_that_need_not_be_answered() -> None:
    nothing, silent = (
        read("image_multi_classification", exported(label(*said))) for said in ([checklist("things")], [])
    )

    assert nothing.votes == silent.votes == (Vote(),)
    assert not nothing.aside
    assert silent.aside == {
        "labels that check nothing in a checklist that need not be answered, read as none of its answers": 1
    }


def test_who_checks_nothing_counts_among_several() -> None:
    said = [label(), label(), label(checklist("things", answer("dog")))]

    assert truth("image_multi_classification", read("image_multi_classification", exported(*said))).labels == ()


@pytest.mark.parametrize(
    ("name", "asked", "question_name"),
    [
        ("image_single_classification", SCENE, "scene"),
        ("image_multi_classification", THINGS | {"required": True}, "things"),
    ],
)
def test_a_question_that_must_be_answered_and_is_not_says_nothing(name: str, asked: Json, question_name: str) -> None:
    row = read(name, exported(label()), normalized(asked))

    assert row.votes == (Vote(reason=f"the question '{question_name}' is not answered"),)
    assert truth(name, row).reason == f"the question '{question_name}' is not answered"


def test_a_row_without_a_label_is_left_out_with_a_reason() -> None:
    row = read("image_single_classification", exported())

    assert (row.votes, row.reason) == ((), "it has no label in this model run")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([radio("scene", answer("gone"))], "the ontology has no answer 'gone' any more"),
        (
            [radio("scene", answer("indoor")), radio("scene", answer("outdoor"))],
            "labeled with several answers ('indoor', 'outdoor'), of which one is allowed",
        ),
        ([{"name": "scene", "radio_answer": None}], "the question 'scene' is answered with nothing"),
    ],
)
def test_labels_that_say_no_class_say_why(said: list[Json], reason: str) -> None:
    assert read("image_single_classification", exported(label(*said))).votes == (Vote(reason=reason),)


def test_answers_below_that_are_not_learned_are_counted() -> None:
    weather = radio("weather", answer("rain"))
    gone = radio("place", answer("desert"))

    row = read("image_single_classification", exported(label(radio("scene", answer("outdoor", weather, gone)))))

    assert row.votes == (Vote(frozenset({"outdoor"})),)
    assert row.aside == {"answers below an answer that are not learned": 2}


def test_a_renamed_answer_is_known_by_its_id() -> None:
    told = answer("inside") | {"feature_schema_id": "id of indoor"}

    assert read("image_single_classification", exported(label(radio("scene", told)))).votes[0].labels == {"indoor"}


# Boxes


def test_boxes_are_fractions_of_the_picture_cut_at_its_edges() -> None:
    row = read("bounding_box", exported(label(box("car", 20, 10, 40.5, 50), box("bus", 190, -10, 50, 30))))

    assert drawn(row) == (
        Region("bus", Box(0.95, 0.0, 0.05, 0.2)),
        Region("car", Box(0.1, 0.1, 0.2025, 0.5)),
    )
    assert row.size == (200, 100)


def test_nothing_drawn_is_an_answer() -> None:
    row = read("bounding_box", exported(label(), label()))

    assert truth("bounding_box", row) == Truth((), result="[]", confirmed=True)


def test_boxes_that_most_people_drew_are_true() -> None:
    row = read("bounding_box", exported(*(label(box("car", 20 + one, 10, 40, 50)) for one in range(3)), label()))

    assert read_regions(truth("bounding_box", row).result) == (Region("car", Box(0.105, 0.1, 0.2, 0.5)),)


def test_other_tools_and_nested_answers_are_left_out_with_a_count() -> None:
    lane = {"name": "lane", "annotation_kind": "ImagePolygon", "polygon": [{"x": 1, "y": 2}]}
    said = label(box("car", 20, 10, 40, 50, radio("colour", answer("red"))), box("bus", 300, 10, 40, 50))
    said["annotations"]["objects"].append(lane)

    row = read("bounding_box", exported(said))

    assert [one.label for one in drawn(row)] == ["car"]
    assert row.aside == {
        "answers about a single box or span": 1,
        "boxes or spans without an extent, or outside their data row": 1,
    }


def test_what_was_drawn_with_a_tool_that_is_gone_says_nothing_alone() -> None:
    alone, beside = (
        read("bounding_box", exported(label(box("truck", 0, 0, 9, 9), *more)))
        for more in ([], [box("car", 0, 0, 9, 9)])
    )

    assert alone.votes == (Vote(reason="the ontology has no tool 'truck' any more"),)
    assert [one.label for one in drawn(beside)] == ["car"]


def test_only_the_tool_that_is_asked_for_counts() -> None:
    line = exported(label(box("car", 0, 0, 9, 9), box("bus", 0, 0, 9, 9)))

    assert [one.label for one in drawn(read_row(line, RUN, take("bounding_box", STREET, "bus")))] == ["bus"]


def test_without_a_size_boxes_wait_in_pixels_for_the_picture() -> None:
    row = read("bounding_box", exported(label(box("car", 20, 10, 40, 50), box("car", 900, 10, 9, 9)), size=None))

    assert row.size is None
    known = row.sized((200, 100))
    assert drawn(known) == (Region("car", Box(0.1, 0.1, 0.2, 0.5)),)
    assert known.size == (200, 100)
    assert known.sized((1, 1)) == known
    assert row.sized((10, 5)).votes == (Vote(reason="nothing that is drawn there lies in the picture"),)


@pytest.mark.parametrize("size", [(0, 100), (-1, 5), (2**31, 5), (True, 5), ("200", 100), (200.0, 100)])
def test_a_size_that_is_none_is_not_taken(size: tuple[int, int]) -> None:
    assert read("bounding_box", exported(label(box("car", 20, 10, 40, 50)), size=size)).size is None


def test_a_size_that_was_measured_lying_on_its_side_is_not_taken() -> None:
    lying = exported(label(box("car", 20, 10, 40, 150)))
    told = exported(label(box("car", 20, 10, 40, 50)))
    told["media_attributes"]["exif_rotation"] = "6"

    assert read("bounding_box", lying).size is None
    assert read("bounding_box", told).size is None


# Parts of texts


def test_labelboxs_end_is_that_of_the_last_character() -> None:
    text = "Lorem ipsum dolor sit"

    row = read("ner", exported(label(entity("PER", 10, 20, "m dolor sit")), row_data=text), WORDS)

    assert drawn(row) == (Region("PER", Span(10, 21)),)
    assert text[10:21] == "m dolor sit"


def test_a_part_that_was_counted_as_browsers_count_is_found_by_what_it_shows() -> None:
    text = "\N{WAVING HAND SIGN} from Ada in \N{ROCKET} Turin"
    at = text.index("Ada"), text.index("Turin")

    row = read(
        "ner",
        exported(
            label(entity("PER", at[0] + 1, at[0] + 3, "Ada"), entity("LOC", at[1], at[1] + 4, "Turin")), row_data=text
        ),
        WORDS,
    )

    assert [text[one.shape.start : one.shape.end] for one in drawn(row) if isinstance(one.shape, Span)] == [
        "Ada",
        "Turin",
    ]


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (5, 4), (2, 9), ("1", 3), (1.0, 3), (0, 2**40), (None, None)])
def test_parts_outside_their_text_are_damaged(start: int, end: int) -> None:
    row = read("ner", exported(label(entity("PER", start, end)), row_data="nine char"), WORDS)

    assert row.votes == (Vote(reason="nothing that is marked there has both an extent and a place in its data row"),)


def test_parts_of_a_text_in_a_file_are_taken_as_they_stand() -> None:
    assert drawn(read("ner", exported(label(entity("PER", 2, 9))), WORDS)) == (Region("PER", Span(2, 10)),)


def test_spans_of_most_people_are_true() -> None:
    spans = [label(entity("PER", 0, 3)), label(entity("PER", 0, 3)), label(entity("LOC", 0, 3))]

    row = read("ner", exported(*spans, row_data="nine char"), WORDS)

    assert truth("ner", row).labels == ("PER",)


# Rows of any form


def test_votes_lie_in_a_table_as_they_are() -> None:
    votes = (Vote(frozenset({"a/b", "\N{SNOWMAN}"})), Vote(reason="no"), Vote(), Vote(frozenset({"c"}), result="[]"))

    assert read_votes(write_votes(votes)) == votes


KEYS = st.sampled_from(
    [
        *("data_row", "id", "row_data", "experiments", "model", "runs", RUN, "labels", "annotations", "objects"),
        *("classifications", "name", "radio_answer", "checklist_answers", "checklist_answer", "bounding_box", "left"),
        *(
            "top",
            "width",
            "height",
            "location",
            "start",
            "end",
            "token",
            "annotation_kind",
            "split",
            "media_attributes",
        ),
    ]
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.just(10**400),
    st.sampled_from(["scene", "outdoor", "things", "tree", "car", "PER", "TextEntity", "\ud800", LINK, ""]),
)
ANYTHING = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=6
)

ANSWERS = st.fixed_dictionaries(
    {"name": st.sampled_from(["scene", "things", "place", "with", "outdoor", "tree", "forest", "car", 7, None])},
    optional={"radio_answer": ANYTHING, "checklist_answers": ANYTHING, "classifications": ANYTHING},
)
ENTRIES = st.deferred(
    lambda: st.fixed_dictionaries(
        {"name": st.sampled_from(["scene", "things", "place", "with"])},
        optional={
            "radio_answer": ANSWERS,
            "checklist_answers": st.lists(ANSWERS | ANYTHING, max_size=3),
            "classifications": st.lists(ANSWERS, max_size=2),
        },
    )
)


@given(told=ANYTHING | ENTRIES, at=st.integers(0, 6), one=st.sampled_from(TYPES))
@settings(max_examples=examples(150))
def test_rows_of_any_form_are_rows_with_a_reason_or_votes(told: object, at: int, one: object) -> None:
    name = str(getattr(one, "name", ""))
    line = exported(label(box("car", 1, 1, 5, 5), entity("PER", 0, 3)))
    run = line["experiments"]["model"]["runs"][RUN]
    places: list[tuple[Json, str]] = [
        (line, "data_row"),
        (line, "experiments"),
        (line, "media_attributes"),
        (run, "labels"),
        (run["labels"][0], "annotations"),
        (run["labels"][0]["annotations"], "objects"),
        (run["labels"][0]["annotations"], "classifications"),
    ]
    holder, key = places[at]
    holder[key] = told if at < 3 else [told]

    row = read(name, line, STREET if not name.startswith(("ner", "text")) else WORDS)

    assert row.reason or row.votes
    assert read_votes(write_votes(row.votes)) == row.votes
    assert row.sized((10, 10)).votes is not None
    json.dumps([row.text, row.address, row.data_row]).encode()
    (row.text + row.address + row.data_row).encode()


@given(line=ANYTHING)
@settings(max_examples=examples(50))
def test_lines_of_any_form_are_rows(line: object) -> None:
    assert read_row(line, RUN, Ontology.all_of(STREET)[0]).reason
