"""From answers to predictions: each kind as Label Studio wants it, and nothing that its own checker refuses."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.errors import LabelConfigError, LabelMappingError
from labelloop.studio.control_tag import DRAWING
from labelloop.studio.label_config import LabelConfig, parse_label_config
from labelloop.studio.rendering import render, tags_for
from labelloop.types import (
    NO_VERSION,
    Answer,
    Box,
    Choice,
    Findings,
    Mask,
    Number,
    Output,
    Point,
    Polygon,
    Prompted,
    Region,
    Rendering,
    Shape,
    Span,
    Text,
    Uncertainty,
    Whole,
)
from support.examples import examples
from support.label_configs import CHARACTERS, NAMES, rich_label_configs
from support.studio_brush import decode_rle

LABELS = '<Label value="cat"/><Label value="dog"/>'
BOX = Box(0.1, 0.2, 0.3, 0.4)
TRIANGLE = Polygon((Point(0, 0), Point(0.5, 0), Point(0.5, 0.5)))


def config(*tags: str, shows: str = "Image") -> LabelConfig:
    return parse_label_config(f'<View><{shows} name="it" value="$it"/>{"".join(tags)}</View>')


def tag(kind: str, inside: str = LABELS, attributes: str = "", name: str = "t") -> str:
    return f'<{kind} name="{name}" toName="it" {attributes}>{inside}</{kind}>'


def choices(*names: str, attributes: str = "") -> str:
    return tag("Choices", "".join(f'<Choice value="{name}"/>' for name in names), attributes)


def output(kind: Choice = "single", **scores: float) -> Output:
    return Output(max(scores, key=scores.__getitem__), max(scores.values()), scores, "v1", kind)


def findings(*shapes: Shape, label: str = "cat", score: float | None = 0.9) -> Findings:
    return Findings(tuple(Region(label, shape, score) for shape in shapes), "v1", (200, 100))


def only(prediction: Mapping[str, Any]) -> dict[str, Any]:
    (region,) = prediction["result"]
    return dict(region)


class TestClassification:
    @pytest.mark.parametrize("shows", ["Image", "Text", "HyperText", "Audio"])
    def test_one_choice(self, shows: str) -> None:
        found = render(config(choices("cat", "dog"), shows=shows), output(cat=0.25, dog=0.75), Rendering())

        region = only(found)
        assert found == {"result": [region], "score": 0.75, "model_version": "v1"}
        assert region == {
            "id": region["id"],
            "from_name": "t",
            "to_name": "it",
            "type": "choices",
            "value": {"choices": ["dog"]},
            "score": 0.75,
        }

    def test_several_choices_with_the_score_of_the_least_sure_one(self) -> None:
        asked = config(choices("a", "b", "c", attributes='choice="multiple"'))

        found = render(asked, output("multiple", a=0.9, b=0.6, c=0.01), Rendering())

        assert only(found)["value"] == {"choices": ["a", "b"]}
        assert only(found)["score"] == 0.6
        assert found["score"] == 0.6

    def test_a_model_says_from_which_score_on_it_gives_a_class_unless_the_project_does(self) -> None:
        asked = config(choices("a", "b", "c", attributes='choice="multiple"'))
        said = replace(output("multiple", a=0.55, b=0.35, c=0.31), thresholds={"a": 0.6, "b": 0.3})
        meant = Rendering(label_map={"b": "c"})

        assert only(render(asked, said, Rendering()))["value"] == {"choices": ["b"]}
        assert only(render(asked, said, Rendering(threshold=0.5)))["value"] == {"choices": ["a"]}
        assert only(render(asked, said, meant))["value"] == {"choices": ["c"]}

    def test_a_path_of_a_taxonomy(self) -> None:
        tree = '<Choice value="animal"><Choice value="cat"/><Choice value="dog"/></Choice><Choice value="stone"/>'

        found = render(config(tag("Taxonomy", tree)), output("multiple", cat=0.9, dog=0.2, stone=0.8), Rendering())

        assert only(found)["type"] == "taxonomy"
        assert only(found)["value"] == {"taxonomy": [["animal", "cat"], ["stone"]]}

    def test_goes_to_the_first_tag_that_shares_a_label(self) -> None:
        asked = config(tag("Choices", '<Choice value="x"/>'), tag("Choices", '<Choice value="cat"/>', name="second"))

        assert only(render(asked, output(cat=1.0), Rendering()))["from_name"] == "second"

    @pytest.mark.parametrize(("said", "chosen"), [(" Dog.\n", ["dog"]), ("**a cat**", ["cat"]), ('"cat, dog"', None)])
    def test_words_that_name_a_label_choose_it(self, said: str, chosen: list[str] | None) -> None:
        asked, answer = config(choices("cat", "dog")), findings(Text(said), label="", score=None)
        how = Rendering(label_map={"a cat": "cat"})
        if chosen is None:
            with pytest.raises(LabelConfigError, match="TextArea"):
                render(asked, answer, how)
            return
        found = render(asked, answer, how)
        assert only(found)["value"] == {"choices": chosen}
        assert (found["score"], "score" in only(found)) == (0.5, False), "nobody says how sure it is"

    def test_words_may_list_labels_where_several_are_chosen_and_belong_into_a_text_area_where_there_is_one(
        self,
    ) -> None:
        several = choices("b", "a", "c, d", attributes='choice="multiple"')
        for said, chosen in (("- a\n- b", ["b", "a"]), ("c, d", ["c, d"]), ("a; b", ["b", "a"])):
            found = render(config(several), findings(Text(said), label="", score=0.75), Rendering())
            assert (only(found)["value"], found["score"]) == ({"choices": chosen}, 0.75)
        with pytest.raises(LabelConfigError):
            render(config(several), findings(Text("a, e"), label=""), Rendering())
        hidden = render(config(several), findings(Text("a"), label="", score=0.75), Rendering(threshold=0.8))
        assert hidden["result"] == []
        written = render(
            config(several, '<TextArea name="w" toName="it"/>'), findings(Text("a"), label=""), Rendering()
        )
        assert only(written)["type"] == "textarea"

    def test_the_number_of_a_class_chooses_it_where_nothing_takes_numbers(self) -> None:
        answer = findings(Number(1.0), label="dog", score=None)
        found = render(config(choices("cat", "dog")), answer, Rendering())
        assert (only(found)["value"], found["score"]) == ({"choices": ["dog"]}, 0.5)
        stars = render(config(choices("cat", "dog"), tag("Rating", "", name="stars")), answer, Rendering())
        assert only(stars)["value"] == {"rating": 1}
        with pytest.raises(LabelConfigError, match="the number of a class, set the classes, counted from 0"):
            render(config(choices("cat", "dog")), findings(Number(1.0), label="", score=None), Rendering())

    @pytest.mark.parametrize("attributes", ["", 'choice="multiple"'])
    def test_no_class_sure_enough_is_unsure_and_not_the_surest_answer_of_all(self, attributes: str) -> None:
        found = render(config(choices("cat", "dog", attributes=attributes)), Findings((), "v1"), Rendering())
        assert (found["result"], found["score"]) == ([], 0.5)
        beside_boxes = config(choices("cat", "dog"), tag("RectangleLabels", name="boxes"))
        assert render(beside_boxes, Findings((), "v1"), Rendering())["score"] == 1.0
        written = config(tag("TextArea", "", name="words"))
        assert render(written, Findings((), "v1"), Rendering())["score"] == 0.5

    def test_below_the_threshold_nothing_is_chosen(self) -> None:
        answer = output(cat=0.6, dog=0.4)

        assert render(config(choices("cat", "dog")), answer, Rendering(threshold=0.7))["result"] == []
        own = config(choices("cat", "dog", attributes='model_score_threshold="0.5"'))
        assert only(render(own, answer, Rendering(threshold=0.7)))["value"] == {"choices": ["cat"]}
        assert render(config(choices("cat")), answer, Rendering(threshold=0.7))["score"] == 0.6

    def test_what_the_user_says_a_class_means(self) -> None:
        how = Rendering(label_map={"LABEL_0": "cat", "LABEL_1": "dog"})

        found = render(config(choices("cat", "dog")), output(LABEL_0=0.2, LABEL_1=0.8), how)

        assert only(found)["value"] == {"choices": ["dog"]}

    def test_measures_of_uncertainty(self) -> None:
        asked, answer = config(choices("cat", "dog")), output(cat=0.25, dog=0.75)

        how = [Rendering(uncertainty="margin"), Rendering(uncertainty="entropy")]
        scores = [render(asked, answer, one)["score"] for one in how]

        assert scores == [0.5, pytest.approx(1 - 0.5623351446 / math.log(2))]

    def test_says_what_to_do_when_no_class_is_a_label(self) -> None:
        with pytest.raises(LabelMappingError, match=r"Classes: 'A', 'B'\. Labels: 'cat', 'dog'\.") as caught:
            render(config(choices("cat", "dog")), output(A=0.5, B=0.5), Rendering())
        assert '"label_map": {"A": "cat"}' in str(caught.value)

    def test_a_version_that_is_missing_has_a_name(self) -> None:
        assert (
            render(config(choices("a")), Output("a", 1.0, {"a": 1.0}, ""), Rendering())["model_version"] == NO_VERSION
        )


class TestRegions:
    @pytest.mark.parametrize(
        ("kind", "shape", "value"),
        [
            ("RectangleLabels", BOX, {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0, "rotation": 0}),
            ("PolygonLabels", TRIANGLE, {"points": [[0.0, 0.0], [50.0, 0.0], [50.0, 50.0]], "closed": True}),
            ("KeyPointLabels", Point(0.5, 0.25), {"x": 50.0, "y": 25.0, "width": 0.5}),
        ],
    )
    def test_a_region_of_a_picture(self, kind: str, shape: Shape, value: dict[str, Any]) -> None:
        found = render(config(tag(kind)), findings(shape), Rendering())

        region = only(found)
        assert region == {
            "id": region["id"],
            "from_name": "t",
            "to_name": "it",
            "type": kind.lower(),
            "value": value | {kind.lower(): ["cat"]},
            "score": 0.9,
            "image_rotation": 0,
            "original_width": 200,
            "original_height": 100,
        }
        assert found["score"] == 0.9

    def test_the_size_of_a_picture_is_left_out_where_nobody_knows_it(self) -> None:
        found = render(config(tag("RectangleLabels")), Findings((Region("cat", BOX, 0.5),), "v1"), Rendering())

        assert "original_width" not in only(found)

    def test_a_mask_is_what_label_studios_converter_reads(self) -> None:
        inside = np.zeros((50, 100), np.uint8)
        inside[10:30, 20:70] = 255
        scaled = np.repeat(np.repeat(inside, 2, 0), 2, 1)

        region = only(render(config(tag("BrushLabels")), findings(Mask(100, 50, inside.tobytes())), Rendering()))

        assert region["value"]["brushlabels"] == ["cat"]
        assert region["value"]["format"] == "rle"
        assert (decode_rle(region["value"]["rle"]).reshape(100, 200, 4)[:, :, 3] == scaled).all()

    def test_a_part_of_a_text(self) -> None:
        asked = config(tag("Labels"), shows="Text")

        found = render(asked, findings(Span(2, 8)), Rendering(), text="I 😀 love Berlin")

        assert only(found)["value"] == {"start": 2, "end": 8, "text": "😀 love", "labels": ["cat"]}
        assert "image_rotation" not in only(found)

    def test_every_tag_of_a_label_config_is_served(self) -> None:
        asked = config(tag("RectangleLabels", name="a"), tag("KeyPointLabels", name="b"), tag("TextArea", "", name="c"))

        found = render(asked, findings(BOX, Point(0, 0), Text("two things"), TRIANGLE), Rendering())

        assert [(region["from_name"], region["type"]) for region in found["result"]] == [
            ("a", "rectanglelabels"),
            ("b", "keypointlabels"),
            ("c", "textarea"),
        ]

    def test_a_region_goes_to_the_tag_that_has_its_label(self) -> None:
        asked = config(tag("RectangleLabels"), tag("RectangleLabels", '<Label value="car"/>', name="second"))
        answer = Findings((Region("car", BOX, 0.8), Region("DOG", BOX, 0.7), Region("bird", BOX, 0.1)), "v1")

        found = render(asked, answer, Rendering())

        assert [region["from_name"] for region in found["result"]] == ["second", "t"]
        assert found["score"] == 0.7

    def test_regions_below_the_threshold_are_left_out(self) -> None:
        answer = Findings((Region("cat", BOX, 0.8), Region("dog", BOX, 0.3)), "v1")
        asked = config(tag("RectangleLabels"))

        assert len(render(asked, answer, Rendering())["result"]) == 2
        assert [region["score"] for region in render(asked, answer, Rendering(threshold=0.5))["result"]] == [0.8]
        own = config(tag("RectangleLabels", attributes='model_score_threshold="0.9"'))
        nothing = render(own, answer, Rendering(threshold=0.5))
        assert (nothing["result"], nothing["score"]) == ([], pytest.approx(0.2))

    def test_nothing_found_is_an_answer(self) -> None:
        found = render(config(tag("RectangleLabels")), Findings((), "v1"), Rendering())

        assert found == {"result": [], "score": 1.0, "model_version": "v1"}

    def test_a_model_that_does_not_say_how_sure_it_is_comes_neither_first_nor_last(self) -> None:
        found = render(config(tag("RectangleLabels")), findings(BOX, score=None), Rendering(threshold=0.9))

        assert "score" not in only(found)
        assert found["score"] == 0.5

    def test_no_label_of_the_answer_is_one_of_the_label_config(self) -> None:
        with pytest.raises(LabelMappingError, match=r"Classes: 'bird'\. Labels: 'cat', 'dog'\.") as caught:
            render(config(tag("RectangleLabels")), findings(BOX, label="bird"), Rendering())
        assert "<Label value='cat' predicted_values=\"bird\"/>" in str(caught.value)

    def test_a_picture_without_the_labels_somebody_has_mapped_is_empty(self) -> None:
        asked = config(tag("RectangleLabels", '<Label value="cat" predicted_values="15"/>'))

        assert render(asked, findings(BOX, label="16"), Rendering())["result"] == []
        told = Rendering(label_map={"15": "cat"})
        assert render(config(tag("RectangleLabels")), findings(BOX, label="16"), told)["result"] == []

    def test_nothing_of_the_answer_has_a_tag(self) -> None:
        with pytest.raises(LabelConfigError, match="boxes") as caught:
            render(config(choices("cat")), findings(BOX, Text("x")), Rendering())
        assert str(caught.value) == (
            "the endpoint's answer holds boxes (for <RectangleLabels>) and texts (for <TextArea>), and the label "
            "config has <Choices name='t'>. Add the control tag that takes it, or choose an endpoint that answers "
            "with what the label config asks for"
        )
        with pytest.raises(LabelConfigError, match="a classification"):
            render(config(tag("RectangleLabels")), output(cat=1.0), Rendering())


class TestPrompted:
    MASK = findings(Mask(2, 1, bytes([0, 255])), label="")

    def test_a_region_without_a_label_takes_the_prompts(self) -> None:
        prompt = (Prompted(Point(0, 0), "cat", positive=False), Prompted(Point(1, 1), "dog"))

        found = render(config(tag("BrushLabels")), self.MASK, Rendering(), prompt=prompt)

        assert only(found)["value"]["brushlabels"] == ["dog"]

    def test_else_the_only_label_there_is(self) -> None:
        asked = config(tag("BrushLabels", '<Label value="thing"/>'))

        assert only(render(asked, self.MASK, Rendering()))["value"]["brushlabels"] == ["thing"]
        other = (Prompted(Point(1, 1), "another tag's label"),)
        assert only(render(asked, self.MASK, Rendering(), prompt=other))["value"]["brushlabels"] == ["thing"]

    def test_among_several_labels_none_is_guessed(self) -> None:
        with pytest.raises(LabelMappingError):
            render(config(tag("BrushLabels")), self.MASK, Rendering())


class TestWritten:
    def test_texts_of_one_answer_are_one_result(self) -> None:
        answer = Findings((Region("", Text("one"), 0.9), Region("", Text("two"), 0.4)), "v1")

        found = render(config(tag("TextArea", "")), answer, Rendering())

        assert only(found)["value"] == {"text": ["one", "two"]}
        assert (only(found)["score"], found["score"]) == (0.4, 0.4)

    def test_a_label_names_the_tag_a_text_is_for(self) -> None:
        asked = config(tag("TextArea", "", name="title"), tag("TextArea", "", name="body"))

        found = render(asked, findings(Text("x"), label="body"), Rendering())

        assert only(found)["from_name"] == "body"

    def test_each_number_goes_to_the_next_tag(self) -> None:
        asked = config(tag("Rating", "", name="stars"), tag("Number", "", 'max="10"', name="price"))

        found = render(asked, findings(Number(4.4), Number(12.5), Number(1.0), label=""), Rendering())

        assert [region["value"] for region in found["result"]] == [{"rating": 4}, {"number": 10.0}]
        by_name = render(asked, findings(Number(3), label="price"), Rendering())
        assert only(by_name)["value"] == {"number": 3.0}


def whole(label: str, score: float | None = None, name: str = "") -> Region:
    return Region(label, Whole(), score, name)


class TestWhole:
    """Labels of the whole input beside other things that were found in it."""

    BOTH = (choices("cat", "dog"), tag("TextArea", "", name="words"))

    def test_every_tag_gets_its_own(self) -> None:
        answer = Findings((whole("dog", name="t"), Region("", Text("a dog"), tag="words")), "v1", tags=("t", "words"))

        found = render(config(*self.BOTH), answer, Rendering())

        told = {region["from_name"]: (region["type"], region["value"]) for region in found["result"]}
        assert told == {"t": ("choices", {"choices": ["dog"]}), "words": ("textarea", {"text": ["a dog"]})}
        assert found["score"] == 0.5, "nobody says how sure it is"

    @pytest.mark.parametrize(("measure", "sure"), [("least_confidence", 0.75), ("margin", 0.5), ("entropy", 0.1887)])
    @pytest.mark.parametrize("threshold", [None, 0.8])
    def test_how_sure_it_is_is_measured_as_a_classification_is(
        self, measure: Uncertainty, sure: float, threshold: float | None
    ) -> None:
        how = Rendering(threshold=threshold, uncertainty=measure)
        found = render(config(*self.BOTH), Findings((whole("dog", 0.75),), "v1"), how)
        assert found["score"] == pytest.approx(sure, abs=1e-4)
        assert [region["score"] for region in found["result"]] == ([] if threshold else [0.75])

    def test_several_labels_are_one_result_in_the_order_of_the_label_config(self) -> None:
        tree = '<Choice value="animal"><Choice value="cat"/><Choice value="dog"/></Choice><Choice value="stone"/>'
        answer = Findings((whole("stone"), whole("animal/cat")), "v1")
        found = render(config(tag("Taxonomy", tree)), answer, Rendering())
        assert only(found)["value"] == {"taxonomy": [["animal", "cat"], ["stone"]]}

    def test_tags_that_share_labels_are_told_apart_by_name(self) -> None:
        inside = '<Choice value="yes"/><Choice value="no"/>'
        asked = config(tag("Choices", inside, name="sharp"), tag("Choices", inside, name="bright"))
        answer = Findings((whole("yes", name="bright"), whole("no", name="sharp")), "v1")
        found = render(asked, answer, Rendering())
        told = {region["from_name"]: region["value"]["choices"] for region in found["result"]}
        assert told == {"sharp": ["no"], "bright": ["yes"]}

    def test_the_name_of_a_label_goes_before_predicted_values_where_the_tag_is_named(self) -> None:
        crossed = tag("Choices", '<Choice value="a" predicted_values="b"/><Choice value="b"/>')
        assert only(render(config(crossed), Findings((whole("b"),), "v1"), Rendering()))["value"] == {"choices": ["a"]}
        named = Findings((whole("b", name="t"),), "v1")
        assert only(render(config(crossed), named, Rendering()))["value"] == {"choices": ["b"]}
        mapped = render(config(crossed), named, Rendering(label_map={"b": "a"}))
        assert only(mapped)["value"] == {"choices": ["a"]}

    def test_what_is_no_label_is_never_left_out(self) -> None:
        with pytest.raises(LabelMappingError, match="'horse'"):
            render(config(*self.BOTH), Findings((whole("horse"), Region("", Text("a horse"))), "v1"), Rendering())

    def test_one_choice_does_not_take_two_labels(self) -> None:
        with pytest.raises(LabelConfigError, match="2 labels of <Choices name='t'>, which takes one"):
            render(config(*self.BOTH), Findings((whole("cat"), whole("dog")), "v1"), Rendering())

    def test_nothing_in_answer_to_a_tag_by_name_is_no_certainty(self) -> None:
        asked = config(tag("Labels"), shows="Text")
        assert render(asked, Findings((), "v1"), Rendering())["score"] == 1.0
        assert render(asked, Findings((), "v1", tags=("t",)), Rendering())["score"] == 0.5

    def test_the_tags_of_an_answer_are_those_that_it_names(self) -> None:
        asked = config(*self.BOTH, tag("Rating", "", name="stars"))
        assert tags_for(asked, Findings((), "v1", tags=("t", "gone")), Rendering()) == {"t"}
        assert tags_for(asked, Findings((whole("cat"),), "v1"), Rendering()) == {"t", "words", "stars"}
        assert tags_for(asked, Findings((), "v1"), Rendering()) == {"words", "stars"}


def test_a_label_config_that_label_studio_reads_otherwise_is_an_error_that_says_so() -> None:
    # The labels of a TextArea are allowed values for Label Studio's checker.
    asked = config(tag("TextArea", '<Choice value="a"/>'))

    with pytest.raises(LabelConfigError, match=r"Label Studio would not take this prediction: Region 0") as caught:
        render(asked, findings(Text("b" * 1000)), Rendering())
    assert len(str(caught.value)) < 600


DRAWN = tuple(tag.lower() for tag in DRAWING)
SCORES = st.floats() | st.floats(0, 1)
FRACTIONS = st.floats(0, 1) | st.floats(0, 1) | st.floats(-0.5, 1.5) | st.floats()
POINTS = st.builds(Point, FRACTIONS, FRACTIONS)
SHAPES = st.one_of(
    st.builds(Box, FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS, st.just(0.0) | st.floats()),
    POINTS,
    st.builds(Polygon, st.lists(POINTS, min_size=2, max_size=5).map(tuple)),
    st.builds(Mask, st.integers(-1, 4), st.integers(-1, 4), st.binary(max_size=16)),
    st.just(Mask(2, 2, bytes([255, 0, 0, 255]))),
    st.builds(Span, st.integers(-3, 9), st.integers(-3, 9)),
    st.builds(Text, st.text(CHARACTERS)),
    st.builds(Number, st.floats()),
    st.just(Whole()),
)
REGIONS = st.builds(Region, NAMES | st.just(""), SHAPES, SCORES | st.none(), st.just("") | st.just("") | NAMES)
ANSWERS: st.SearchStrategy[Answer] = st.one_of(
    st.builds(
        lambda scores, kind: Output("?", 0.0, scores, "v1", kind),
        st.dictionaries(NAMES, SCORES, max_size=5),
        st.sampled_from(["single", "multiple"]),
    ),
    st.builds(
        Findings,
        st.lists(REGIONS, max_size=4).map(tuple),
        st.just("v1"),
        st.none() | st.tuples(st.integers(-1, 5), st.integers(-1, 5)),
    ),
)
HOW = st.builds(
    Rendering,
    st.none() | st.floats(0, 1),
    st.dictionaries(NAMES, NAMES, max_size=2),
    st.sampled_from(["least_confidence", "margin", "entropy"]),
)


def fitting(config: LabelConfig, answer: Answer) -> Answer:
    """Let an answer speak the label config's language, so that more of it is drawn."""
    labels = [label.name for one in config.tags for label in one.labels] or [""]
    if isinstance(answer, Output):
        named = zip(labels, answer.scores.values(), strict=False)
        return replace(answer, scores=dict(named))
    regions = [replace(one, label=labels[at % len(labels)]) for at, one in enumerate(answer.regions)]
    return replace(answer, regions=tuple(regions))


@settings(max_examples=examples(300))
@given(
    text=rich_label_configs(),
    answer=ANSWERS,
    how=HOW,
    about=st.none() | st.text(CHARACTERS, max_size=5),
    fits=st.booleans(),
)
def test_any_answer_for_any_label_config_is_valid_or_refused(
    text: str, answer: Answer, how: Rendering, about: str | None, fits: bool
) -> None:
    from label_studio_sdk.label_interface.interface import LabelInterface

    checker: Any = LabelInterface
    found: dict[str, Any] = {}
    refused = ""
    try:
        config = parse_label_config(text)
        found = render(config, fitting(config, answer) if fits else answer, how, text=about)
    except LabelConfigError as error:
        refused = str(error)
    # What is drawn is right by itself; Label Studio's checker is there for label configs nobody has thought of.
    assert "would not take" not in refused
    if not refused:
        assert checker(text).validate_prediction(found, return_errors=True) == []
        assert type(found["score"]) is float
        assert 0.0 <= found["score"] <= 1.0
        # What is drawn and its labels are two results of one region; nothing else shares an id.
        own = [region["id"] for region in found["result"] if region["type"] not in DRAWN]
        assert len(set(own)) == len(own)
        drawn = [region["id"] for region in found["result"] if region["type"] in DRAWN]
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= {region["id"] for region in found["result"] if region["type"] == "labels"}


class TestNamedTag:
    TWO = config(
        tag("Choices", '<Choice value="cat"/>', name="first"), tag("Choices", '<Choice value="cat"/>', name="t")
    )
    SAYS = config('<TextArea name="says" toName="it"/>', choices("cat", "dog"))

    def test_of_two_with_the_same_labels_the_one_that_is_named(self) -> None:
        answer = output(cat=1.0)
        assert only(render(self.TWO, answer, Rendering()))["from_name"] == "first"
        assert only(render(self.TWO, answer, Rendering(tag="t")))["from_name"] == "t"
        assert tags_for(self.TWO, answer, Rendering(tag="t")) == {"t"}

    def test_words_choose_a_label_beside_a_text_area(self) -> None:
        answer = findings(Text("Cat."), label="")
        assert only(render(self.SAYS, answer, Rendering()))["from_name"] == "says"
        assert only(render(self.SAYS, answer, Rendering(tag="t")))["value"] == {"choices": ["cat"]}
        assert tags_for(self.SAYS, answer, Rendering(tag="t")) == {"t"}

    def test_nothing_goes_to_another_one(self) -> None:
        asked = config(tag("RectangleLabels", name="boxes"), tag("PolygonLabels", name="outlines"))
        found = render(asked, findings(BOX, TRIANGLE), Rendering(tag="outlines"))
        assert only(found)["from_name"] == "outlines"
        with pytest.raises(
            LabelConfigError, match=r"holds boxes .* the label config has <PolygonLabels name='outlines'>"
        ):
            render(asked, findings(BOX), Rendering(tag="outlines"))

    @pytest.mark.parametrize("name", ["kind", "box"])
    def test_what_draws_and_its_labels_are_named_alike(self, name: str) -> None:
        asked = config(tag("RectangleLabels"), tag("Labels", name="kind"), '<Rectangle name="box" toName="it"/>')
        found = render(asked, findings(BOX), Rendering(tag=name))["result"]
        assert [one["from_name"] for one in found] == ["box", "kind"]

    def test_a_name_that_is_not_there_is_refused_with_those_that_are(self) -> None:
        with pytest.raises(
            LabelConfigError, match="'what', and those that LabelLoop predicts for are called 'says', 't'"
        ):
            render(self.SAYS, output(cat=1.0), Rendering(tag="what"))
