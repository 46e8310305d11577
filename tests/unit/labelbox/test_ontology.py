"""What a model type can learn of an ontology, in which classes, and the sentence where it can learn nothing of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.errors import LabelConfigError
from labelloop.labelbox.model_types import TYPES, find_type
from labelloop.labelbox.ontology import Ontology
from labelloop.types import Json
from support.examples import examples


def tool(kind: str, name: str) -> Json:
    return {"tool": kind, "name": name, "featureSchemaId": f"id of {name}", "classifications": []}


def option(label: str, *below: Json) -> Json:
    return {"label": label, "value": label.lower(), "featureSchemaId": f"id of {label}", "options": list(below)}


def question(kind: str, name: str, *options: Json | str, required: bool = False) -> Json:
    made = [option(one) if isinstance(one, str) else one for one in options]
    return {"type": kind, "name": name, "instructions": name, "required": required, "options": made}


def normalized(*features: Json) -> Json:
    return {
        "name": "Street",
        "tools": [one for one in features if "tool" in one],
        "classifications": [one for one in features if "type" in one],
    }


def take(name: str, told: Json, asked: str = "") -> Ontology:
    model_type = find_type(name)
    assert model_type is not None
    return Ontology.of(told, model_type, asked)


def test_all_tools_of_one_sort_are_classes() -> None:
    told = normalized(tool("rectangle", "car"), tool("polygon", "lane"), tool("rectangle", "bus"))

    found = take("bounding_box", told)

    assert found.classes == ("car", "bus")
    assert found.asked == "bounding-box tools 'car', 'bus'"
    assert not found.others


def test_one_tool_can_be_asked_for() -> None:
    told = normalized(tool("named-entity", "PER"), tool("named-entity", "LOC"))

    found = take("ner", told, "loc")

    assert found.classes == ("LOC",)
    assert found.known == {"PER", "LOC"}
    assert found.others == ("named-entity tool 'PER'",)


def test_the_first_question_of_the_sort_is_taken_and_the_others_are_told() -> None:
    told = normalized(
        question("text", "remark"),
        question("checklist", "things", "a", "b"),
        question("radio", "scene", "in", "out"),
        question("radio", "weather", "sun", "rain"),
    )

    found = take("image_single_classification", told)

    assert (found.classes, found.asked) == (("in", "out"), "radio question 'scene'")
    assert found.others == ("radio question 'weather'",)
    assert take("text_single_classification", told, "weather").classes == ("sun", "rain")
    assert take("text_multi_classification", told).classes == ("a", "b")


def test_answers_below_answers_are_paths_of_names() -> None:
    place = question("radio", "place", "forest", "sea")
    told = normalized(question("radio", "scene", option("outdoor", place), "indoor"))

    assert take("image_single_classification", told).classes == (
        "outdoor",
        "outdoor/forest",
        "outdoor/sea",
        "indoor",
    )


def test_an_answer_with_a_required_question_below_is_no_class_itself() -> None:
    place = question("radio", "place", "forest", "sea", required=True)
    told = normalized(question("radio", "scene", option("outdoor", place), "indoor"))

    assert take("image_single_classification", told).classes == ("outdoor/forest", "outdoor/sea", "indoor")


def test_the_question_comes_between_where_two_below_one_answer_share_a_name() -> None:
    below = question("radio", "season", "winter", "none"), question("checklist", "weather", "rain", "none")
    told = normalized(question("checklist", "things", option("outdoor", *below)))

    assert take("image_multi_classification", told).classes == (
        "outdoor",
        "outdoor/winter",
        "outdoor/season/none",
        "outdoor/rain",
        "outdoor/weather/none",
    )


def test_names_with_a_slash_do_not_collide() -> None:
    place = question("radio", "place", "forest")
    told = normalized(question("radio", "scene", option("outdoor", place), "outdoor/forest", "n/a"))

    found = take("image_single_classification", told)

    assert len(set(found.classes)) == 4
    assert "n/a" in found.classes
    assert found.paths["outdoor/place/forest"] == (("scene", "outdoor"), ("place", "forest"))


def test_one_class_a_row_leaves_one_way_down_and_says_what_it_leaves() -> None:
    below = (
        question("checklist", "seen", "tree"),
        question("radio", "season", "winter"),
        question("radio", "weather", "rain"),
    )
    told = normalized(question("radio", "scene", option("outdoor", *below)))

    found = take("image_single_classification", told)

    assert found.classes == ("outdoor", "outdoor/winter")
    assert [one for one in found.aside if "'seen'" in one or "'weather'" in one] == list(found.aside)
    assert len(found.aside) == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "bounding_box",
            (
                "the ontology 'Street' has no bounding-box tool; it has radio question 'scene': choose "
                "image_single_classification"
            ),
        ),
        (
            "text_multi_classification",
            (
                "the ontology 'Street' has no checklist question; it has radio question 'scene': choose "
                "text_single_classification"
            ),
        ),
    ],
)
def test_what_cannot_be_held_is_refused_with_what_could_be(name: str, sentence: str) -> None:
    with pytest.raises(LabelConfigError) as refused:
        take(name, normalized(question("radio", "scene", "in", "out")))

    assert str(refused.value) == sentence


def test_an_ontology_of_nothing_that_is_learned_says_so() -> None:
    told = normalized(tool("polygon", "lane"), question("text", "remark"), question("radio", "empty"))

    for one in TYPES:
        with pytest.raises(LabelConfigError, match="and nothing else that is learned here"):
            Ontology.of(told, one)


def test_what_is_asked_for_and_not_there_is_refused() -> None:
    told = normalized(question("radio", "scene", "in", "out"))

    with pytest.raises(LabelConfigError, match="has no radio question 'weather'; it has 'scene'"):
        take("image_single_classification", told, "weather")


def test_an_endpoint_is_given_one_of_each_sort() -> None:
    told = normalized(
        question("radio", "scene", "in", "out"), tool("rectangle", "car"), question("checklist", "things", "a")
    )

    assert [one.type.feature for one in Ontology.all_of(told)] == ["rectangle", "radio", "checklist"]


def test_a_models_classes_are_found_by_what_is_given_their_names_and_the_last_step() -> None:
    place = question("radio", "place", "forest", "sea")
    told = normalized(question("radio", "scene", option("outdoor", place), "indoor"))

    find = take("image_single_classification", told).finder((("wood", "outdoor/forest"), ("sea", "none of them")))

    assert [find(name) for name in ("INDOOR", "wood", "forest", "sea", "roof")] == [
        "indoor",
        "outdoor/forest",
        "outdoor/forest",
        None,
        None,
    ]


NAMES = st.sampled_from(["a", "b", "a/b", "b/a", "a/a", "\\", "a\\/b", "q", "q/a", "('q', 'a')"])


def questions(depth: int) -> st.SearchStrategy[Json]:
    nested = st.lists(questions(depth - 1), max_size=2) if depth else st.just([])
    options = st.lists(st.builds(lambda name, below: option(name, *below), NAMES, nested), min_size=1, max_size=3)
    return st.builds(
        lambda kind, name, made, required: question(kind, name, *made, required=required),
        st.sampled_from(["radio", "checklist"]),
        NAMES,
        options,
        st.booleans(),
    )


@given(asked=questions(2))
@settings(max_examples=examples(40))
def test_no_two_paths_share_a_class(asked: Json) -> None:
    name = "image_single_classification" if asked["type"] == "radio" else "image_multi_classification"

    found = take(name, normalized(asked))

    assert found.question is not None
    assert list(found.classes) == list(found.paths)
    assert list(found.paths.values()) == list(dict.fromkeys(found.question.paths()))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("radio"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "tools",
                    "classifications",
                    "tool",
                    "type",
                    "name",
                    "label",
                    "value",
                    "options",
                    "instructions",
                    "required",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


@given(told=st.dictionaries(st.sampled_from(["tools", "classifications", "name"]), ANYTHING))
@settings(max_examples=examples(40))
def test_an_ontology_of_any_form_is_taken_or_refused(told: Json) -> None:
    for one in TYPES:
        try:
            assert Ontology.of(told, one).classes
        except LabelConfigError:
            continue
