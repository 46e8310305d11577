"""Label configs of all kinds: which control tags are read, what of them, and what is refused."""

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.data.labeling import Subject
from labelloop.errors import LabelConfigError
from labelloop.kinds import base
from labelloop.studio.interface import value_of
from labelloop.studio.label_config import parse_label_config, parse_trained
from labelloop.studio.mapping import class_labels
from labelloop.studio.rendering import tags_for
from labelloop.types import Answer, Box, Findings, Output, Region, Rendering, Text
from support import outlined_kind
from support.label_configs import TREES, rich_label_configs

IMAGE = '<Image name="image" value="$image"/>'
TEXT = '<Text name="text" value="$text"/>'
LABELS = '<Label value="cat"/><Label value="dog"/>'


def labelled(tag: str, attributes: str = "", labels: str = LABELS) -> str:
    return f'<View>{IMAGE}<{tag} name="t" toName="image" {attributes}>{labels}</{tag}></View>'


@pytest.mark.parametrize("tag", ["RectangleLabels", "PolygonLabels", "BrushLabels", "KeyPointLabels"])
def test_reads_the_tags_that_label_parts_of_a_picture(tag: str) -> None:
    found = parse_label_config(labelled(tag))

    assert [(one.tag, one.name, one.to_name, one.type) for one in found.tags] == [(tag, "t", "image", tag.lower())]
    assert [label.name for label in found.tags[0].labels] == ["cat", "dog"]
    assert (found.target.tag, found.target.data_key, found.target.inline) == ("Image", "image", False)


@pytest.mark.parametrize(("attributes", "inline"), [("", True), ('valueType="text"', True), ('valueType="url"', False)])
def test_says_whether_a_text_is_in_the_task_or_has_to_be_fetched(attributes: str, inline: bool) -> None:
    text = f'<View><Text name="x" value="$x" {attributes}/><Labels name="t" toName="x">{LABELS}</Labels></View>'

    assert parse_label_config(text).target.inline is inline


@pytest.mark.parametrize("shows", ["Image", "Text", "HyperText", "Audio"])
def test_classifies_everything_it_can_send(shows: str) -> None:
    found = parse_label_config(
        f'<View><{shows} name="x" value="$x"/><Choices name="c" toName="x"><Choice value="a"/></Choices></View>'
    )

    assert (found.target.tag, found.target.data_key) == (shows, "x")


def test_keeps_all_tags_about_the_first_ones_object_and_tells_of_the_others() -> None:
    found = parse_label_config(
        f'<View>{IMAGE}{TEXT}<RectangleLabels name="boxes" toName="image">{LABELS}</RectangleLabels>'
        f'<Labels name="parts" toName="text">{LABELS}</Labels><TextArea name="says" toName="image"/>'
        f'<EllipseLabels name="round" toName="image">{LABELS}</EllipseLabels></View>'
    )

    assert [tag.name for tag in found.tags] == ["boxes", "says"]
    assert found.names == {"image", "text", "boxes", "parts", "says", "round"}
    assert len(found.warnings) == 2
    assert "<EllipseLabels name='round'>: LabelLoop does not predict for it" in found.warnings
    assert any(warning.startswith("<Labels name='parts'> is about 'text'") for warning in found.warnings)


OCR = (
    f'<View>{IMAGE}<Labels name="kind" toName="image">{LABELS}</Labels><Rectangle name="box" toName="image"/>'
    f'<Polygon name="outline" toName="image"/><Ellipse name="round" toName="image"/>'
    f'<TextArea name="says" toName="image" perRegion="true"/></View>'
)


def test_labels_of_a_picture_are_those_of_what_other_tags_draw() -> None:
    found = parse_label_config(OCR)

    assert [(tag.tag, tag.name, tag.labels_tag, tag.to_name) for tag in found.tags] == [
        ("Rectangle", "box", "kind", "image"),
        ("Polygon", "outline", "kind", "image"),
    ]
    assert [label.name for label in found.tags[1].labels] == ["cat", "dog"]
    assert [warning.partition(":")[0] for warning in found.warnings] == [
        "<Ellipse name='round'>",
        "<TextArea name='says'> has perRegion=\"true\"",
    ]


def test_what_draws_has_a_threshold_of_its_own_or_that_of_its_labels() -> None:
    text = OCR.replace('name="kind"', 'name="kind" model_score_threshold="0.25"')
    text = text.replace('name="outline"', 'name="outline" model_score_threshold="0.5"')
    assert [tag.threshold for tag in parse_label_config(text).tags] == [0.25, 0.5]


def test_what_draws_without_labels_is_left_out_with_a_reason() -> None:
    text = labelled("RectangleLabels").replace("</View>", '<Rectangle name="box" toName="image"/></View>')
    assert parse_label_config(text).warnings == ("<Rectangle name='box'>: no <Labels> say what it draws",)
    with pytest.raises(
        LabelConfigError, match="nothing draws there what it labels: put a <Rectangle>, <Polygon>, <Brush>"
    ):
        parse_label_config(labelled("Labels"))


def test_only_of_a_hypertext_the_characters_are_spoken_of() -> None:
    text = f'<View><Audio name="a" value="$a"/><Labels name="l" toName="a">{LABELS}</Labels></View>'
    with pytest.raises(LabelConfigError, match=r"names no <Image> or <Text> tag\. One that works"):
        parse_label_config(text)


def test_training_keeps_to_what_a_kind_learns() -> None:
    text = (
        f'<View><Audio name="sound" value="$sound"/>{IMAGE}<Choices name="mood" toName="sound"><Choice value="a"/>'
        f"</Choices>"
        f'<Choices name="scene" toName="image"><Choice value="b"/></Choices></View>'
    )

    assert [tag.name for tag in parse_trained(text).tags] == ["scene"]
    assert [tag.name for tag in parse_label_config(text).tags] == ["mood"]


def test_reads_thresholds_and_bounds() -> None:
    found = parse_label_config(
        f'<View>{IMAGE}<Number name="n" toName="image" min="-1.5" max="4" step="0.5"/>'
        f'<Rating name="r" toName="image" maxRating="10"/><Rating name="five" toName="image"/>'
        f'<RectangleLabels name="b" toName="image" model_score_threshold="0.25">{LABELS}</RectangleLabels></View>'
    )
    number, rating, five, boxes = found.tags

    assert (number.minimum, number.maximum, number.step) == (-1.5, 4.0, 0.5)
    assert (rating.maximum, five.maximum) == (10.0, 5.0)
    assert (boxes.threshold, number.threshold) == (0.25, None)


def test_names_the_choices_of_a_taxonomy_by_their_paths() -> None:
    text = taxonomy('<Choice value="animal"><Choice value="Cat" alias="cat"/></Choice><Choice value="stone"/>')

    found = parse_label_config(text).tags[0]

    assert [(label.name, label.path) for label in found.labels] == [
        ("animal", ("animal",)),
        ("animal/cat", ("animal", "cat")),
        ("stone", ("stone",)),
    ]
    assert found.choice == "multiple"


def test_only_the_leaves_of_a_taxonomy_where_annotators_may_choose_no_others() -> None:
    text = taxonomy('<Choice value="animal"><Choice value="cat"/></Choice>', 'leafsOnly="true" maxUsages="1"')

    found = parse_label_config(text).tags[0]

    assert [label.name for label in found.labels] == ["animal/cat"]
    assert found.choice == "single"


def test_a_class_names_a_path_or_the_end_of_one_that_no_other_has() -> None:
    text = taxonomy(
        '<Choice value="animal"><Choice value="Cat" alias="c"/><Choice value="other"/></Choice>'
        '<Choice value="plant"><Choice value="other"/><Choice value="rose" predicted_values="flower"/></Choice>'
    )
    classes = ("animal/c", "c", "cat", "Other", "plant/other", "PLANT/OTHER", "flower", "rose", "plant")

    assert class_labels(parse_label_config(text).tags[0], (), classes) == {
        "animal/c": "animal/c",
        "c": "animal/c",
        "cat": "animal/c",
        "plant/other": "plant/other",
        "PLANT/OTHER": "plant/other",
        "flower": "plant/rose",
        "rose": "plant/rose",
        "plant": "plant",
    }


@pytest.mark.parametrize("tag", ["Choices", "Taxonomy"])
def test_labels_that_are_nearly_the_same_are_named(tag: str) -> None:
    labels = "".join(f'<Choice value="{name}"/>' for name in ("cat", "Cat", "dog"))
    [warning] = parse_label_config(f'<View>{IMAGE}<{tag} name="c" toName="image">{labels}</{tag}></View>').warnings
    assert warning.startswith(f"<{tag} name='c'>: 'cat' and 'Cat' are different classes")


def test_what_the_user_says_of_a_class_goes_before_the_label_config() -> None:
    tag = parse_label_config(
        labelled("RectangleLabels", labels='<Label value="cat" predicted_values="x"/><Label value="dog"/>')
    ).tags[0]

    assert class_labels(tag, (("x", "DOG"), ("cat", "bird")), ("x", "cat", "dog")) == {"x": "dog", "dog": "dog"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "must be text"),
        ("<View/>", "it has no <Choices>, <Taxonomy>, "),
        (labelled("RectangleLabels", labels=""), 'has no label; write each as <Label value="..."/>'),
        (labelled("RectangleLabels", 'value="$labels"'), "from task data"),
        (labelled("RectangleLabels", 'perRegion="true"'), "perRegion"),
        (labelled("RectangleLabels", 'model_score_threshold="2"'), "must be from 0 to 1"),
        (labelled("RectangleLabels", 'model_score_threshold="nan"'), "must be from 0 to 1"),
        (labelled("Labels"), "which names no <Text> tag"),
        (labelled("EllipseLabels"), "does not predict for it"),
        (f'<View>{IMAGE}<Rating name="r" toName="image" maxRating="many"/></View>', "maxRating='many'"),
        (f'<View>{IMAGE}<Rating name="r" toName="image" maxRating="0"/></View>', "maxRating='0'"),
        (f'<View>{IMAGE}<Taxonomy name="r" toName="image"/></View>', "has no label"),
        (f'<View>{IMAGE}<Taxonomy name="r" toName="image" apiUrl="http://x"/></View>', "or an address"),
        (f'<View>{TEXT}<Taxonomy name="r" toName="text" labeling="true"/></View>', "labels parts of a text with"),
        (
            f'<View><HyperText name="h" value="$h"/><Labels name="l" toName="h">{LABELS}</Labels></View>',
            "Label Studio counts the characters that are shown",
        ),
        ('<View><Video name="v" value="$v"/><TextArea name="t" toName="v"/></View>', "names no <Image>, <Text>, "),
        (
            f'<View><Text name="x" value="$x" encoding="base64"/><Labels name="t" toName="x">{LABELS}</Labels></View>',
            "encoding",
        ),
    ],
)
def test_says_why_it_cannot_predict(text: object, why: str) -> None:
    with pytest.raises(LabelConfigError, match=r"LabelLoop cannot predict|must be text") as caught:
        parse_label_config(text)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_any_depth_of_a_taxonomy_is_read() -> None:
    depth = 500
    text = taxonomy('<Choice value="a">' * depth + "</Choice>" * depth)

    assert len(parse_label_config(text).tags[0].labels) == depth


@pytest.mark.parametrize(
    ("shown", "data"),
    [
        ("$a", {"a": "it"}),
        ("$a.b", {"a": {"b": "it"}}),
        ("$a.b", {"a.b": "it"}),
        ("$a[1]", {"a": ["not", "it"]}),
        ("$a[0].b[1]", {"a": [{"b": ["not", "it"]}]}),
    ],
)
def test_an_object_tag_shows_a_field_of_task_data_or_a_place_in_one(shown: str, data: Any) -> None:
    text = f'<View><Text name="x" value="{shown}"/><Labels name="t" toName="x">{LABELS}</Labels></View>'

    assert value_of(parse_label_config(text).target.data_key, {"data": data}) == "it"


@pytest.mark.parametrize(
    "shown", ["$images[idx].url", "$images[{{idx}}].url", "$a[]", "$a[-1]", "$a.", "$a..b", "$a]", "$"]
)
def test_what_is_no_place_in_task_data_is_refused(shown: str) -> None:
    with pytest.raises(LabelConfigError, match="it must name one field of task data"):
        parse_label_config(labelled("RectangleLabels").replace("$image", shown))


@pytest.mark.parametrize("flag", ["idx", "{{idx}}"])
@pytest.mark.parametrize("shown", ["$images", "$images[0]", "$images[FLAG].url"])
def test_what_a_repeater_repeats_is_refused(flag: str, shown: str) -> None:
    inside = labelled("RectangleLabels").replace("$image", shown.replace("FLAG", flag))
    with pytest.raises(LabelConfigError, match="inside a <Repeater>, which shows it once for each entry of a list"):
        parse_label_config(f'<View><Repeater on="$images" indexFlag="{flag}">{inside}</Repeater></View>')


def test_what_stands_beside_a_repeater_is_read() -> None:
    repeated = '<Repeater on="$images" indexFlag="idx"><Image name="page_idx" value="$images[idx]"/></Repeater>'
    found = parse_label_config(labelled("RectangleLabels").replace(IMAGE, repeated + IMAGE))
    assert found.target.name == "image"
    about = labelled("RectangleLabels").replace('toName="image"', 'toName="page_idx"')
    with pytest.raises(LabelConfigError, match="names no <Image> tag"):
        parse_label_config(about.replace(IMAGE, repeated))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ({"a": "text"}, "text"),
        ({"a": " "}, " "),
        ({"a": ""}, None),
        ({"a": ["text"]}, None),
        ({"a": 5}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_tasks_value_is_a_text_that_is_not_empty(data: Any, value: str | None) -> None:
    assert value_of("a", {"data": data}) == value


@given(text=st.text() | rich_label_configs() | TREES.map(lambda tree: ElementTree.tostring(tree, "unicode")))
def test_any_label_config_is_read_or_refused(text: str) -> None:
    try:
        found = parse_label_config(text)
    except LabelConfigError:
        return
    assert len({tag.to_name for tag in found.tags}) == 1
    assert found.target.data_key


def taxonomy(choices: str, attributes: str = "") -> str:
    return f'<View>{IMAGE}<Taxonomy name="t" toName="image" {attributes}>{choices}</Taxonomy></View>'


SEVERAL = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image"><Label value="car"/>'
    '</RectangleLabels><Rating name="stars" toName="image"/><Choices name="sky" toName="image"><Choice value="clear"/>'
    '</Choices><Choices name="road" toName="image"><Choice value="wet"/></Choices></View>'
)


@pytest.mark.parametrize(
    ("answer", "tags"),
    [
        (Output("wet", 1.0, {"wet": 1.0}, "v1"), {"road"}),
        (Output("wet", 1.0, {"wet": 1.0, "clear": 0.0}, "v1"), {"sky"}),
        (Output("dry", 1.0, {"dry": 1.0}, "v1"), set()),
        (Findings((), "v1"), {"box", "stars"}),
        (Findings((Region("car", Box(0, 0, 1, 1)),), "v1"), {"box", "stars"}),
        (Findings((Region("", Text("wet")),), "v1"), {"road"}),
    ],
)
def test_an_answer_either_classifies_for_one_control_tag_or_fills_all_others(answer: Answer, tags: set[str]) -> None:
    assert tags_for(parse_label_config(SEVERAL), answer, Rendering()) == tags


def test_what_is_drawn_fills_its_labels_too() -> None:
    assert tags_for(parse_label_config(OCR), Findings((), "v1"), Rendering()) == {"box", "outline", "kind"}


SKY = (
    f'<View>{IMAGE}<RectangleLabels name="box" toName="image"><Label value="car"/></RectangleLabels>'
    '<Choices name="sky" toName="image"><Choice value="clear"/></Choices>'
    '<Choices name="road" toName="image"><Choice value="wet"/></Choices></View>'
)


def test_of_several_tags_the_first_is_learned_or_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parse_trained(SKY, Subject("road"))
    assert [tag.name for tag in found.tags] == ["road"]
    assert "sky" in [tag.name for tag in found.others]
    assert "<Choices name='sky'>: LabelLoop learns <Choices name='road'> alone" in found.warnings
    with pytest.raises(LabelConfigError, match=r"names the control tag 'lane', .* name one of .*'sky', 'road', or"):
        parse_trained(SKY, Subject("lane"))

    monkeypatch.setattr(base, "KINDS", {outlined_kind.NAME: outlined_kind.__name__, **base.KINDS})
    text = SKY.replace("<View>", "<View >")  # what was read of a label config is remembered
    assert [tag.name for tag in (parse_trained(text).tags[0], *parse_trained(text).others)] == ["box", "sky", "road"]
    # What a trainer of one's own has always learned stays, unless a tag is named.
    assert [tag.name for tag in parse_trained(text, Subject(foreign=True)).tags] == ["sky"]
    assert [tag.name for tag in parse_trained(text, Subject("box", foreign=True)).tags] == ["box"]
