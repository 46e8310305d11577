"""The label config: what is read of it, how classes become labels, and what annotations say."""

import math
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.errors import LabelConfigError, LabelMappingError
from labelloop.kinds.majority import Truth, settle
from labelloop.studio.interface import value_of
from labelloop.studio.label_config import LabelConfig, parse_trained
from labelloop.studio.label_tag import Label
from labelloop.studio.mapping import known_labels
from labelloop.studio.rendering import classify
from labelloop.studio.votes import vote_reader
from labelloop.types import NO_VERSION, Choice, Output
from support.label_configs import TREES, label_configs

IMAGE = '<Image name="image" value="$image"/>'


def config(choices: str, attributes: str = "", image: str = IMAGE) -> str:
    return f'<View>{image}<Choices name="scene" toName="image" {attributes}>{choices}</Choices></View>'


def labels(*names: str) -> str:
    return "".join(f'<Choice value="{name}"/>' for name in names)


def control(*names: str, kind: Choice = "single") -> LabelConfig:
    return parse_trained(config(labels(*names), f'choice="{kind}"'))


def output(kind: Choice = "single", version: str = "v1", **scores: Any) -> Output:
    best = max(scores, key=lambda name: scores[name] if isinstance(scores[name], float) else -1.0)
    return Output(best, 0.0, scores, version, kind)


def annotation(*chosen: Any, tag: str = "scene", **fields: Any) -> dict[str, Any]:
    region = {"from_name": tag, "to_name": "image", "type": "choices", "value": {"choices": list(chosen)}}
    return {"id": 1, "result": [region] if chosen else [], "was_cancelled": False, **fields}


class TestParsing:
    def test_reads_the_plain_label_config(self) -> None:
        found = parse_trained(config(labels("sea", "forest")))

        tag = found.tags[0]
        assert (tag.name, tag.to_name, tag.target.data_key, tag.choice) == ("scene", "image", "image", "single")
        assert tag.labels == (Label("sea", value="sea"), Label("forest", value="forest"))
        assert found.names == {"image", "scene"}
        assert found.warnings == ()

    @pytest.mark.parametrize(
        ("choice", "kind"),
        [
            ("", "single"),
            ('choice="single"', "single"),
            ('choice="single-radio"', "single"),
            ('choice="multiple"', "multiple"),
        ],
    )
    def test_reads_how_many_labels_a_picture_takes(self, choice: str, kind: str) -> None:
        assert parse_trained(config(labels("a"), choice)).tags[0].choice == kind

    def test_an_alias_is_the_name_and_predicted_values_are_separated_by_commas(self) -> None:
        found = parse_trained(config('<Choice value="Big cat" alias="cat" predicted_values="lynx, puma ,"/>'))

        assert found.tags[0].labels == (Label("cat", ("lynx", "puma", "lynx, puma ,"), "Big cat"),)

    def test_finds_choices_inside_views(self) -> None:
        nested = f"<View><Collapse><Panel>{labels('a')}</Panel></Collapse></View><Header value='h'/>{labels('b')}"
        inside = f"<View><View style='x'>{config(nested)}</View></View>"

        assert [label.name for label in parse_trained(inside).tags[0].labels] == ["a", "b"]

    def test_reads_tag_names_in_any_case(self) -> None:
        text = '<view><IMAGE name="i" value="$i"/><choices name="c" toName="i"><Choice value="a"/></choices></view>'

        assert parse_trained(text).tags[0].name == "c"

    def test_an_image_may_stand_after_its_choices_and_among_several_targets(self) -> None:
        choices = f'<Choices name="c" toName="sound,image">{labels("a")}</Choices>'
        text = f'<View>{choices}<Audio name="sound" value="$s"/>{IMAGE}</View>'

        assert parse_trained(text).tags[0].to_name == "image"

    def test_takes_the_first_choices_that_can_be_predicted_and_tells_of_the_others(self) -> None:
        text = (
            f"<View>{IMAGE}<Audio name='sound' value='$sound'/>"
            f"<Choices name='mood' toName='sound'>{labels('x')}</Choices>"
            f"<Choices name='region' toName='image' perRegion='true'>{labels('x')}</Choices>"
            f"<Choices name='own' toName='image' value='$options'/>"
            f"<Choices name='scene' toName='image' whenTagName='mood'>{labels('a')}</Choices>"
            f"<Choices name='second' toName='image'>{labels('b')}</Choices></View>"
        )

        found = parse_trained(text)

        assert found.tags[0].name == "scene"
        assert [label.name for label in found.tags[0].labels] == ["a"]
        assert [warning.split("=")[1].split("'")[1] for warning in found.warnings] == [
            "mood",
            "region",
            "own",
            "second",
        ]

    def test_choices_that_nobody_can_choose_are_no_labels(self) -> None:
        inner = '<Choice value="animal"><Choice value="cat"/></Choice><Choice/><Choice name="n" value="named"/>'
        text = config(f'{inner}<Choice value="a" predicted_values="A0"/><Choice value="a" predicted_values="A1"/>')

        found = parse_trained(text)

        assert [label.name for label in found.tags[0].labels] == ["animal", "a"]
        assert found.tags[0].labels[1].predicted_values == ("A0", "A1")
        assert len(found.warnings) == 4

    def test_choices_of_another_control_tag_inside_are_not_its_labels(self) -> None:
        other = f'<Choices name="inner" toName="image">{labels("b")}</Choices>'

        assert [label.name for label in parse_trained(config(labels("a") + other)).tags[0].labels] == ["a"]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (None, "must be text"),
            ({"a": 1}, "must be text"),
            ("", "not valid XML"),
            ("no XML at all", "not valid XML"),
            ("<View>", "not valid XML"),
            ("<View>\ud800</View>", "not valid XML"),
            ("<View></View>", "no <Choices>"),
            ('<!DOCTYPE v [<!ENTITY a "b">]><View>&a;</View>', "DOCTYPE"),
            ('<!DOCTYPE v SYSTEM "file:///etc/passwd"><View/>', "DOCTYPE"),
            ("x" * 5_000_001, "at most 5000000"),
            (config(""), "has no label"),
            (config("<choice value='a'/>"), "has no label"),
            (config(labels("a"), 'perRegion="true"'), "perRegion"),
            (config(labels("a"), 'perItem="true"'), "perItem"),
            (config(labels("a"), 'allowNested="true"'), "allowNested"),
            (config("", 'value="$options"'), "from task data"),
            (config('<Choice value="$option"/>'), "from task data"),
            (config(labels("a"), image="<Image name='image' valueList='$images'/>"), "valueList"),
            (config(labels("a"), image="<Image name='image' value='http://x/y.png'/>"), "must name one field"),
            (config(labels("a"), image="<Image name='image' value='$a,$b'/>"), "must name one field"),
            (config(labels("a"), image="<Image name='image' value='$images[{{idx}}]'/>"), "must name one field"),
            (config(labels("a"), image="<Image name='image'/>"), "must name one field"),
            (config(labels("a"), image="<Image value='$image'/>"), "names no <Image>"),
            (config(labels("a"), image="<Audio name='image' value='$sound'/>"), "names no <Image>"),
            (config(labels("a"), image="<Image name='image' value='$i' toName='x'/>"), "names no <Image>"),
            (f"<View>{'<Choices/>' * 1000}</View>", "needs both attributes"),
            (config(labels("a"), image=IMAGE * 2), "several tags"),
            (f'<View>{IMAGE}<Choices toName="image">{labels("a")}</Choices></View>', "needs both attributes"),
            (f'<View>{IMAGE}<Choices name="c">{labels("a")}</Choices></View>', "needs both attributes"),
            (f'<View>{IMAGE}<Choices name="c" toname="image">{labels("a")}</Choices></View>', "needs both attributes"),
        ],
    )
    def test_says_why_it_cannot_predict(self, text: object, why: str) -> None:
        with pytest.raises(LabelConfigError, match=why) as caught:
            parse_trained(text)
        assert len(str(caught.value)) < 1000

    def test_an_entity_bomb_is_refused_before_it_grows(self) -> None:
        entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(20))

        with pytest.raises(LabelConfigError, match="DOCTYPE"):
            parse_trained(f'<!DOCTYPE v [<!ENTITY e0 "x">{entities}]><View>&e20;</View>')

    def test_any_depth_is_read(self) -> None:
        deep = "<View>" * 50_000 + labels("a") + "</View>" * 50_000

        assert [label.name for label in parse_trained(config(deep)).tags[0].labels] == ["a"]

    def test_many_choices_are_read_in_linear_time(self) -> None:
        many = "".join(f'<Choices name="c{n}" toName="nothing"/>' for n in range(20_000))

        assert parse_trained(f"<View>{many}{config(labels('a'))}</View>").tags[0].name == "scene"


class TestPictureUrl:
    @pytest.mark.parametrize(
        ("key", "data", "url"),
        [
            ("image", {"image": "s3://b/k"}, "s3://b/k"),
            ("photo.url", {"photo": {"url": "u"}}, "u"),
            ("photo.url", {"photo.url": "literal", "photo": {"url": "u"}}, "literal"),
            ("photos[1]", {"photos": ["a", "b"]}, "b"),
            ("photos[0].url", {"photos": [{"url": "u"}]}, "u"),
            ("photos[7]", {"photos": ["a"]}, None),
            ("image", {"image": ""}, None),
            ("image", {"image": ["a"]}, None),
            ("image", {}, None),
            ("image", None, None),
            ("image", "text", None),
        ],
    )
    def test_follows_the_data_key(self, key: str, data: object, url: str | None) -> None:
        found = parse_trained(config(labels("a"), image=f'<Image name="image" value="${key}"/>'))

        assert value_of(found.target.data_key, {"data": data}) == url


class TestMapping:
    def test_maps_by_predicted_values_alias_value_and_letter_case(self) -> None:
        text = (
            '<Choice value="Cat" predicted_values="felis, tiger"/><Choice value="Dog" alias="canis"/>'
            '<Choice value="Straße"/><Choice value="car"/><Choice alias="only alias"/>'
            '<Choice value="a, b"/><Choice value="pets" predicted_values="cats, dogs"/>'
        )
        classes = ["felis", "canis", "Dog", "CAT", "STRASSE", "\uff23ar", "a, b", "cats, dogs", "gone", "", " "]

        assert known_labels(parse_trained(config(text)).tags[0], classes) == {
            "felis": "Cat",
            "canis": "canis",
            "Dog": "canis",
            "CAT": "Cat",
            "STRASSE": "Straße",
            "\uff23ar": "car",
            "a, b": "a, b",
            "cats, dogs": "pets",
        }

    def test_predicted_values_come_before_equal_names(self) -> None:
        text = '<Choice value="cat"/><Choice value="animal" predicted_values="cat"/>'

        assert known_labels(parse_trained(config(text)).tags[0], ["cat"]) == {"cat": "animal"}

    def test_an_impossible_mapping_names_both_lists_and_the_fix(self) -> None:
        with pytest.raises(LabelMappingError) as caught:
            known_labels(control("sea", "forest").tags[0], ["0", "1"])

        message = str(caught.value)
        assert "Classes: '0', '1'." in message
        assert "Labels: 'sea', 'forest'." in message
        assert "<Choice value='sea' predicted_values=\"0\"/>" in message

    def test_long_lists_are_cut(self) -> None:
        with pytest.raises(LabelMappingError, match=r"and 980 more") as caught:
            known_labels(control("sea").tags[0], [f"class {n} {'x' * 1000}" for n in range(1000)])
        assert len(str(caught.value)) < 3000

    def test_a_model_without_classes_cannot_be_mapped(self) -> None:
        with pytest.raises(LabelMappingError, match=r"Classes: \(none\)"):
            known_labels(control("sea").tags[0], [])


class TestPrediction:
    def predict(self, asked: LabelConfig, answer: Output) -> dict[str, Any] | None:
        return classify(asked.tags[0], answer, known_labels(asked.tags[0], answer.scores), None, "least_confidence")

    def test_one_label_with_its_probability(self) -> None:
        found = self.predict(control("sea", "forest"), output(sea=0.25, forest=0.75))

        assert found is not None
        region = found["result"][0]
        assert found == {"result": [region], "score": 0.75, "model_version": "v1"}
        assert region == {
            "id": region["id"],
            "from_name": "scene",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": ["forest"]},
            "score": 0.75,
        }
        assert region["id"]

    def test_two_regions_never_share_an_id(self) -> None:
        found = [self.predict(control("sea"), output(sea=1.0)) for _ in range(100)]

        assert len({item["result"][0]["id"] for item in found if item}) == 100

    def test_a_removed_label_leaves_the_best_that_remains_with_its_own_score(self) -> None:
        found = self.predict(control("sea", "forest"), output(glacier=0.7, sea=0.2, forest=0.1))

        assert found is not None
        assert (found["result"][0]["value"]["choices"], found["score"]) == (["sea"], 0.2)

    def test_classes_that_mean_one_label_count_together(self) -> None:
        text = config('<Choice value="animal" predicted_values="cat,dog"/><Choice value="car"/>')

        found = self.predict(parse_trained(text), output(cat=0.3, dog=0.3, car=0.4))

        assert found is not None
        assert found["result"][0]["value"]["choices"] == ["animal"]
        assert found["score"] == pytest.approx(0.6)

    def test_several_labels_from_one_half_on_and_the_least_certain_score(self) -> None:
        asked = control("sea", "forest", "sky", kind="multiple")

        found = self.predict(asked, output("multiple", sky=0.5, sea=0.9, forest=0.2))

        assert found is not None
        assert (found["result"][0]["value"]["choices"], found["score"]) == (["sea", "sky"], 0.5)

    def test_no_label_at_all_is_an_empty_result(self) -> None:
        found = self.predict(control("sea", "sky", kind="multiple"), output("multiple", sea=0.1, sky=0.2))

        assert found == {"result": [], "score": 0.8, "model_version": "v1"}

    def test_a_model_of_one_label_answers_a_config_of_several(self) -> None:
        found = self.predict(control("sea", "sky", "sun", kind="multiple"), output(sea=0.3, sky=0.3, sun=0.4))

        assert found is not None
        assert (found["result"][0]["value"]["choices"], found["score"]) == (["sun"], 0.4)

    def test_a_model_of_several_labels_answers_a_config_of_one(self) -> None:
        found = self.predict(control("sea", "sky"), output("multiple", sea=0.9, sky=0.95))

        assert found is not None
        assert (found["result"][0]["value"]["choices"], found["score"]) == (["sky"], 0.95)

    @pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, None, "text", pytest.param(10**400, id="huge")])
    def test_a_score_that_is_no_number_never_gets_through(self, wrong: object) -> None:
        found = self.predict(control("sea", "sky"), output(sea=wrong, sky=0.3))

        assert found is not None
        assert (found["result"][0]["value"]["choices"], found["score"]) == (["sky"], 0.3)
        assert self.predict(control("sea"), output(sea=wrong, sky=0.3)) is None

    def test_scores_stay_between_0_and_1_and_the_version_is_text(self) -> None:
        found = self.predict(control("sea", "sky"), output(sea=17, sky=-3.0, version=""))

        assert found is not None
        assert (found["score"], found["model_version"]) == (1.0, NO_VERSION)
        assert type(found["score"]) is float

    def test_a_score_below_0_is_0(self) -> None:
        certain = self.predict(control("sea", kind="multiple"), output("multiple", sea=-3.0))

        assert certain == {"result": [], "score": 1.0, "model_version": "v1"}

    def test_nothing_is_left_of_the_model(self) -> None:
        tag, answer = control("sea").tags[0], output(glacier=1.0)

        assert classify(tag, answer, {}, None, "margin") is None
        assert classify(tag, answer, {"glacier": "a label of another label config"}, None, "margin") is None


def labels_of(asked: LabelConfig, annotations: Sequence[object]) -> Truth:
    return settle(vote_reader(asked)(annotations), asked.tags[0].choice)


class TestTruth:
    def test_one_annotation(self) -> None:
        assert labels_of(control("sea", "sky"), [annotation("sea")]) == Truth(("sea",))

    def test_several_labels_are_sorted(self) -> None:
        assert labels_of(control("sky", "sea", kind="multiple"), [annotation("sky", "sea")]) == Truth(("sea", "sky"))

    def test_renamed_labels_are_called_what_they_are_called_today(self) -> None:
        asked = parse_trained(config('<Choice value="ocean" predicted_values="sea"/><Choice value="Sky"/>'))

        assert labels_of(asked, [annotation("sea")]) == Truth(("ocean",))
        assert labels_of(asked, [annotation("sky")]) == Truth(("Sky",))

    def test_what_annotators_chose_is_itself_before_it_is_a_predicted_value(self) -> None:
        asked = parse_trained(config('<Choice value="animal" predicted_values="cat"/><Choice value="cat"/>'))

        assert labels_of(asked, [annotation("cat")]) == Truth(("cat",))

    def test_skips_do_not_count(self) -> None:
        skip = annotation("sky", was_cancelled=True)

        assert labels_of(control("sea", "sky"), [skip, annotation("sea"), skip]) == Truth(("sea",))

    def test_the_majority_decides(self) -> None:
        votes = [annotation("sea"), annotation("sky"), annotation("sea")]

        assert labels_of(control("sea", "sky"), votes) == Truth(("sea",), confirmed=True)

    def test_of_several_labels_each_is_voted_on(self) -> None:
        votes = [annotation("a", "b"), annotation("a"), annotation("b", "c")]

        assert labels_of(control("a", "b", "c", kind="multiple"), votes) == Truth(("a", "b"))

    def test_no_label_is_an_answer_where_several_may_be_chosen(self) -> None:
        assert labels_of(control("a", kind="multiple"), [annotation()]) == Truth()

    def test_ground_truth_outvotes_everybody(self) -> None:
        votes = [annotation("sea"), annotation("sea"), annotation("sky", ground_truth=True)]

        assert labels_of(control("sea", "sky"), votes) == Truth(("sky",))

    def test_answers_to_other_questions_do_not_matter(self) -> None:
        text = f"<View>{config(labels('a', 'b'))}<Choices name='other' toName='image'>{labels('a')}</Choices></View>"
        answer = annotation("b")
        answer["result"] += annotation("a", tag="other")["result"]

        assert labels_of(parse_trained(text), [answer]) == Truth(("b",))
        text = text.replace("toName", 'choice="multiple" toName')
        assert labels_of(parse_trained(text), [annotation("a", tag="other")]) == Truth()

    def test_nested_choices_are_named_by_their_last_step(self) -> None:
        assert labels_of(control("cat"), [annotation(["animal", "cat"])]) == Truth(("cat",))

    @pytest.mark.parametrize(
        ("kind", "annotations", "reason"),
        [
            ("single", [], "not annotated"),
            ("single", [annotation("sea", was_cancelled=True)], "skipped"),
            ("single", [annotation()], "without a label"),
            ("single", [annotation("sea"), annotation("sky")], "disagree: 1 each say 'sea', 'sky'"),
            ("single", [annotation("sea", "sky")], "several labels"),
            ("single", [annotation("sea", "gone")], "several labels"),
            ("single", [annotation("gone")], "no label 'gone'"),
            ("multiple", [annotation("gone")], "no label 'gone'"),
            ("multiple", [annotation("sea"), annotation()], "half of its 2 annotators say 'sea'"),
            ("single", [annotation("sea", tag="replaced")], "control tag 'replaced'"),
            ("multiple", [annotation("sea", tag="replaced")], "control tag 'replaced'"),
        ],
    )
    def test_says_why_there_is_no_truth(self, kind: Choice, annotations: list[Any], reason: str) -> None:
        found = labels_of(control("sea", "sky", kind=kind), annotations)

        assert found.labels == ()
        assert reason in found.reason

    def test_a_removed_label_is_dropped_where_others_remain(self) -> None:
        assert labels_of(control("sea", kind="multiple"), [annotation("sea", "gone")]) == Truth(("sea",))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["from_name", "value", "choices"]), inner)
    ),
    max_leaves=10,
)


@given(text=st.text() | label_configs() | TREES.map(lambda tree: ElementTree.tostring(tree, "unicode")))
def test_any_label_config_is_read_or_refused(text: str) -> None:
    try:
        found = parse_trained(text)
    except LabelConfigError:
        return
    assert found.tags[0].labels
    assert found.target.data_key


@given(result=JUNK, kind=st.sampled_from(["single", "multiple"]), others=st.lists(JUNK, max_size=2))
def test_any_annotation_has_a_truth_or_a_reason(result: object, kind: Choice, others: list[object]) -> None:
    found = labels_of(control("a", "b", kind=kind), [{"result": result}, *others])

    assert not (found.labels and found.reason)
    assert set(found.labels) <= {"a", "b"}
