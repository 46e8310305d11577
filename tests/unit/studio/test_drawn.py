"""What annotators draw, as regions, for a kind that learns regions."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.errors import LabelConfigError
from labelloop.kinds import base
from labelloop.kinds.majority import Vote
from labelloop.regions import read_regions, write_regions
from labelloop.studio.label_config import parse_label_config, parse_trained
from labelloop.studio.mapping import label_finder
from labelloop.studio.rendering import render
from labelloop.studio.results.drawn import drawn_with
from labelloop.studio.votes import begun_with, region_reader
from labelloop.types import Box, Findings, Region, Rendering, Span
from support import outlined_kind
from support.examples import examples

CELLS = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image"><Label value="RBC"/>'
    '<Label value="WBC" predicted_values="leukocyte"/></RectangleLabels></View>'
)
WORDS = (
    '<View><Image name="image" value="$image"/><Labels name="kind" toName="image"><Label value="word"/>'
    '<Label value="line"/></Labels><Rectangle name="box" toName="image"/>'
    '<Polygon name="outline" toName="image"/></View>'
)
NAMES = (
    '<View><Text name="text" value="$text"/><Labels name="ner" toName="text"><Label value="PER"/><Label value="ORG"/>'
    "</Labels></View>"
)


def vote(config: str, *results: object, **more: Any) -> Vote:
    [found] = region_reader(parse_label_config(config))([{"result": list(results)} | more])
    return found


def regions(config: str, *results: object) -> list[Region]:
    found = vote(config, *results)
    assert not found.reason
    assert found.labels == {region.label for region in read_regions(found.result)}
    return list(read_regions(found.result))


def box(*labels: str, x: float = 10, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0}
    said = {"from_name": "box", "to_name": "image", "type": "rectanglelabels", "image_rotation": 0}
    return said | {"value": value | {"rectanglelabels": list(labels)}} | more


def drawn(number: str, *labels: str, x: float = 10) -> list[dict[str, Any]]:
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0}
    shape = {"id": number, "from_name": "box", "to_name": "image", "type": "rectangle", "value": value}
    named = shape | {"from_name": "kind", "type": "labels", "value": value | {"labels": list(labels)}}
    return [shape, named] if labels else [shape]


def span(label: str, start: object, end: object) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": "x", "labels": [label]}
    return {"from_name": "ner", "to_name": "text", "type": "labels", "value": value}


def test_boxes_are_fractions_from_the_top_to_the_bottom_and_turned_ones_stay_turned() -> None:
    turned = box("WBC", value={"x": 5, "y": 2.5, "width": 1, "height": 1, "rotation": -30, "rectanglelabels": ["WBC"]})
    assert regions(CELLS, box("RBC"), turned) == [
        Region("WBC", Box(0.05, 0.025, 0.01, 0.01, 330.0)),
        Region("RBC", Box(0.1, 0.2, 0.3, 0.4)),
    ]


def test_parts_of_a_text_are_characters() -> None:
    assert regions(NAMES, span("ORG", 9, 12), span("PER", 0, 4)) == [
        Region("PER", Span(0, 4)),
        Region("ORG", Span(9, 12)),
    ]


def test_a_region_of_several_labels_is_a_region_of_each() -> None:
    assert [one.label for one in regions(CELLS, box("RBC", "WBC", "RBC"))] == ["RBC", "WBC"]
    assert [one.label for one in regions(WORDS, *drawn("a", "word", "line"))] == ["line", "word"]


def test_what_is_drawn_is_brought_together_with_its_labels() -> None:
    outline = {"id": "c", "from_name": "outline", "to_name": "image", "type": "polygon", "value": {"points": []}}
    labels = {"id": "c", "from_name": "kind", "to_name": "image", "type": "labels", "value": {"labels": ["word"]}}
    found = regions(WORDS, *drawn("b", "line", x=50), *reversed(drawn("a", "word")), outline, labels)
    assert [(one.label, one.shape.x) for one in found if isinstance(one.shape, Box)] == [("word", 0.1), ("line", 0.5)]


def test_labels_are_those_of_today_and_one_that_is_gone_goes_with_its_region() -> None:
    assert [one.label for one in regions(CELLS, box("leukocyte"), box("platelet", x=1))] == ["WBC"]
    assert vote(CELLS, box("platelet")).reason == "the label config has no label 'platelet' any more"


def test_an_annotation_without_a_region_says_that_there_is_none() -> None:
    for config in (CELLS, WORDS, NAMES):
        assert vote(config) == Vote(result="[]")
    # What was answered beside it is another question.
    assert vote(CELLS.replace("</View>", '<Rating name="stars" toName="image"/></View>'), {"from_name": "stars"}) == (
        Vote(result="[]")
    )
    assert "control tag 'older'" in vote(CELLS, box("RBC") | {"from_name": "older"}).reason


def test_a_skipped_annotation_says_nothing_and_an_emptied_one_that_was_made_in_bulk_is_marked() -> None:
    assert vote(CELLS, was_cancelled=True) == Vote(skipped=True)
    assert vote(CELLS, parent_prediction=5) == Vote(result="[]", unseen=True)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (CELLS, box()),
        (CELLS, box("RBC", type="polygonlabels")),
        (CELLS, box("RBC", value={"x": 1, "y": 2, "width": 0, "height": 3, "rectanglelabels": ["RBC"]})),
        (CELLS, box("RBC", value={"x": 1, "y": 2, "width": 1e-9, "height": 3, "rectanglelabels": ["RBC"]})),
        (CELLS, box("RBC", value={"x": "1", "y": 2, "width": 3, "height": 3, "rectanglelabels": ["RBC"]})),
        (CELLS, box("RBC", value=None)),
        (WORDS, drawn("z")[0]),
        (WORDS, drawn("z", "word")[0] | {"id": None}),
        (NAMES, span("PER", 4, 4)),
        (NAMES, span("PER", "0", "4")),
        (NAMES, span("PER", -1, 4)),
    ],
)
def test_what_is_damaged_is_passed_over_only_beside_what_is_whole(config: str, wrong: dict[str, Any]) -> None:
    assert vote(config, wrong).reason == "nothing that is drawn there has both an extent and a label"
    whole = {CELLS: [box("RBC")], WORDS: drawn("a", "word"), NAMES: [span("PER", 0, 4)]}[config]
    assert regions(config, wrong, *whole) == regions(config, *whole)


def test_what_was_drawn_on_a_turned_picture_is_not_guessed_at() -> None:
    assert "turned in the editor" in vote(CELLS, box("RBC"), box("RBC", image_rotation=90)).reason
    assert regions(CELLS, box("RBC", image_rotation=360)) == regions(CELLS, box("RBC"))


def test_an_annotation_keeps_a_prediction_whose_regions_it_has() -> None:
    read = region_reader(parse_label_config(CELLS))
    predictions = [{"id": 5, "model_version": "v1", "result": [box("RBC", score=0.7), box("WBC", x=50)]}]
    kept = {"parent_prediction": 5, "result": [box("leukocyte", x=50, id="q"), box("RBC", origin="prediction")]}
    moved = {"parent_prediction": 5, "result": [box("WBC", x=51), box("RBC")]}
    assert [one.kept for one in begun_with([kept, moved], predictions, read)] == [True, False]


FRACTIONS = st.integers(1, 99).map(lambda number: number / 100)
BOXES = st.builds(lambda x, y, w, h: Box(x, y, (1 - x) * w, (1 - y) * h), FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS)
FOUND = {
    CELLS: st.lists(st.builds(Region, st.sampled_from(["RBC", "WBC"]), BOXES, FRACTIONS), max_size=3),
    WORDS: st.lists(st.builds(Region, st.sampled_from(["word", "line"]), BOXES, FRACTIONS), max_size=3),
    NAMES: st.lists(st.just(Region("PER", Span(0, 3), 0.5)), max_size=1),
}


@given(st.data(), st.sampled_from(list(FOUND)))
@settings(max_examples=examples(60))
def test_a_prediction_shows_the_regions_that_were_found_and_says_them_to_whoever_keeps_it(
    data: st.DataObject, config: str
) -> None:
    found = data.draw(FOUND[config])
    read = parse_label_config(config)
    shown = render(read, Findings(tuple(found), "v1"), Rendering(), text="abcdef")["result"]
    tag = read.tags[0]
    again = drawn_with(tag, label_finder(tag.labels), shown).regions
    assert sorted(one.score or 0.0 for one in again) == pytest.approx(sorted(one.score or 0.0 for one in found))
    assert sorted(one.label for one in again) == sorted(one.label for one in found)
    bare = [Region(one.label, one.shape) for one in again]
    assert vote(config, *shown) == Vote(frozenset(one.label for one in found), result=write_regions(bare))
    for one in found:
        close = [other for other in again if other.label == one.label and near(other, one)]
        assert close


def near(one: Region, other: Region) -> bool:
    if not isinstance(one.shape, Box) or not isinstance(other.shape, Box):
        return one.shape == other.shape
    pairs = zip(
        (one.shape.x, one.shape.y, one.shape.width, one.shape.height),
        (other.shape.x, other.shape.y, other.shape.width, other.shape.height),
        strict=True,
    )
    return all(abs(first - second) < 1e-7 for first, second in pairs)


@pytest.fixture
def outlined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "KINDS", {outlined_kind.NAME: outlined_kind.__name__})


@pytest.mark.usefixtures("outlined")
def test_what_draws_and_what_names_are_learned_as_one() -> None:
    # Texts that no other test reads: what was read of a label config is remembered.
    words, cells, names = (text.replace("<View>", "<View ><Header value='x'/>") for text in (WORDS, CELLS, NAMES))
    assert [(tag.tag, tag.name, tag.labels_tag) for tag in parse_trained(words).tags] == [("Rectangle", "box", "kind")]
    assert [tag.tag for tag in parse_trained(cells).tags] == ["RectangleLabels"]
    assert [tag.tag for tag in parse_trained(names).tags] == ["Labels"]
    # Of a picture whose labels something else draws nothing is learned.
    with pytest.raises(LabelConfigError, match="nothing draws there what it labels: put a <Rectangle> beside it"):
        parse_trained(words.replace('<Rectangle name="box" toName="image"/>', ""))
