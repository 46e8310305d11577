"""Lines of predictions and metrics: each form as Labelbox takes it, and the same each time."""

import uuid
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.errors import LabelConfigError
from labelloop.labelbox.lines import MOST, RESERVED, metric_lines, prediction_lines, withdrawn
from labelloop.labelbox.ontology import Ontology
from labelloop.labelbox.rows import Row, read_row
from labelloop.regions import read_regions
from labelloop.types import Answer, Box, Findings, Json, Output, Point, Region, Span, Whole
from support.examples import examples
from support.labelbox.checking import Checker
from support.labelbox.ontologies import checklist, entity, ontology, radio, rectangle
from support.labelbox.rows import Row as Held

from .test_ontology import take
from .test_rows import RUN, exported, label
from .test_rows import box as drawn_box
from .test_rows import entity as drawn_entity

SIZE = (200, 100)
TEXT = "Lorem ipsum dolor sit"
PICTURE = Row(7, "cl0000000000000000000001", "https://storage.example/1.jpg", size=SIZE)
WORDS = Row(7, "cl0000000000000000000001", text=TEXT)

PLACES = ontology(
    rectangle("car"),
    rectangle("bus"),
    entity("PER"),
    entity("LOC"),
    radio(
        "scene", {"outdoor": [radio("place", {"forest": [radio("trees", ("fir", "oak"))], "sea": []})], "indoor": []}
    ),
    checklist("things", {"tree": [checklist("with", ("fruit", "snow")), radio("age", ("old", "new"))], "dog": []}),
)


def single(**scores: float) -> Output:
    return of_paths({name.replace("_", "/"): score for name, score in scores.items()})


def of_paths(scores: Mapping[str, float]) -> Output:
    best = max(scores, key=scores.__getitem__)
    return Output(best, scores[best], scores, "v1")


def several(scores: Mapping[str, float], **thresholds: float) -> Output:
    best = max(scores, key=scores.__getitem__)
    return Output(best, scores[best], scores, "v1", "multiple", thresholds)


def found(*regions: Region, size: tuple[int, int] | None = None) -> Findings:
    return Findings(regions, "v1", size)


def written(name: str, answer: Answer, row: Row = PICTURE) -> list[Json]:
    """Give the lines without what is the same of all; each passes what Labelbox checks."""
    lines = prediction_lines(answer, row, take(name, PLACES), RUN)
    held = Held(row.data_row, row.text, "" if row.text else "1.png", sides=None if row.text else SIZE)
    checker = Checker(lambda _: held, PLACES)
    for line in lines:
        checker.check(line)
        assert line.pop("dataRow") == {"id": row.data_row}
        assert uuid.UUID(line.pop("uuid")).version == 5
    return lines


# Questions


def test_one_answer_is_as_sure_as_its_class() -> None:
    assert written("image_single_classification", single(indoor=0.6, outdoor=0.4)) == [
        {"name": "scene", "answer": {"name": "indoor", "confidence": 0.6}}
    ]


def test_an_answer_below_answers_is_nested_and_each_as_probable_as_all_below_it() -> None:
    scores = {"outdoor/forest/fir": 0.4, "outdoor/forest/oak": 0.2, "outdoor/sea": 0.1, "indoor": 0.3, "outdoor": 0.0}

    (line,) = written("text_single_classification", of_paths(scores), WORDS)

    trees = {"name": "trees", "answer": {"name": "fir", "confidence": 0.4}}
    place = {"name": "place", "answer": {"name": "forest", "confidence": 0.6, "classifications": [trees]}}
    assert line == {
        "name": "scene",
        "answer": {"name": "outdoor", "confidence": 0.7, "classifications": [place]},
    }


def test_answers_of_a_checklist_are_those_that_the_model_gives() -> None:
    answer = several(
        {"tree/fruit": 0.7, "tree/snow": 0.4, "tree/old": 0.2, "dog": 0.9, "tree": 0.1}, **{"tree/snow": 0.3}
    )

    assert written("image_multi_classification", answer) == [
        {
            "name": "things",
            "answer": [
                {"name": "dog", "confidence": 0.9},
                {
                    "name": "tree",
                    "confidence": 0.7,
                    "classifications": [
                        {
                            "name": "with",
                            "answer": [{"name": "fruit", "confidence": 0.7}, {"name": "snow", "confidence": 0.4}],
                        }
                    ],
                },
            ],
        }
    ]


def test_of_a_radio_question_below_a_checklist_the_best_answer_is_written() -> None:
    (line,) = written("text_multi_classification", several({"tree/old": 0.6, "tree/new": 0.8}), WORDS)

    (tree,) = line["answer"]
    assert tree["classifications"] == [{"name": "age", "answer": {"name": "new", "confidence": 0.8}}]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("image_multi_classification", several({"dog": 0.4, "tree": 0.1})),
        ("image_multi_classification", several({"cat": 0.9})),
        ("image_single_classification", single(roof=0.9, indoor=0.1)),
        ("image_single_classification", found()),
        ("bounding_box", found()),
    ],
)
def test_where_nothing_is_given_nothing_is_written(name: str, answer: Answer) -> None:
    assert written(name, answer) == []


def test_regions_of_the_whole_answer_a_question() -> None:
    answer = found(Region("indoor", Whole()), Region("outdoor/sea", Whole(), 0.4))

    assert written("image_single_classification", answer) == [{"name": "scene", "answer": {"name": "indoor"}}]


# Boxes and parts of texts


def test_boxes_are_pixels_of_the_upright_picture_cut_at_its_edges() -> None:
    answer = found(Region("car", Box(0.1, 0.2, 0.3, 0.5), 0.9), Region("bus", Box(0.9, -0.1, 0.3, 0.3), 0.8))

    assert written("bounding_box", answer) == [
        {"name": "car", "confidence": 0.9, "bbox": {"top": 20.0, "left": 20.0, "height": 50.0, "width": 60.0}},
        {"name": "bus", "confidence": 0.8, "bbox": {"top": 0.0, "left": 180.0, "height": 20.0, "width": 20.0}},
    ]


def test_the_size_that_the_answer_tells_goes_before_the_rows() -> None:
    (line,) = prediction_lines(
        found(Region("car", Box(0.1, 0.2, 0.3, 0.5)), size=(1000, 10)), PICTURE, take("bounding_box", PLACES), RUN
    )

    assert line["bbox"] == {"top": 2.0, "left": 100.0, "height": 5.0, "width": 300.0}
    assert "confidence" not in line


def test_without_any_size_boxes_are_refused() -> None:
    row = Row(7, "cl1", "https://storage.example/1.jpg")

    with pytest.raises(LabelConfigError, match="the boxes of data row cl1 cannot be drawn in pixels"):
        prediction_lines(found(Region("car", Box(0.1, 0.2, 0.3, 0.5))), row, take("bounding_box", PLACES), RUN)


def test_a_turned_box_is_written_as_the_upright_one_around_it() -> None:
    (line,) = written("bounding_box", found(Region("car", Box(0.5, 0.5, 0.2, 0.2, 90.0), 0.5)))

    assert line["bbox"] == {"top": 50.0, "left": 80.0, "height": 40.0, "width": 20.0}


def test_spans_end_with_their_last_character_and_where_the_text_does() -> None:
    answer = found(Region("PER", Span(10, 21), 0.8), Region("LOC", Span(18, 99), 0.7), Region("LOC", Span(40, 50), 0.6))

    assert written("ner", answer, WORDS) == [
        {"name": "PER", "confidence": 0.8, "location": {"start": 10, "end": 20}},
        {"name": "LOC", "confidence": 0.7, "location": {"start": 18, "end": 20}},
    ]


def test_classes_that_the_ontology_lacks_are_left_out() -> None:
    answer = found(Region("truck", Box(0.1, 0.2, 0.3, 0.5), 0.9), Region("car", Box(0.1, 0.2, 0.3, 0.5), 0.8))

    assert [line["name"] for line in written("bounding_box", answer)] == ["car"]


def test_the_surest_are_kept_of_more_than_labelbox_takes() -> None:
    regions = [Region("PER", Span(0, 3), (one % 100) / 100) for one in range(MOST + 100)]

    lines = written("ner", found(*regions), WORDS)

    assert len(lines) == MOST
    assert min(line["confidence"] for line in lines) == 0.01


@pytest.mark.parametrize(
    ("name", "answer", "sentence"),
    [
        ("bounding_box", single(car=1.0), "the model gives classes, and the ontology is asked for bounding-box tools"),
        ("bounding_box", found(Region("car", Point(0.1, 0.1))), "the model's answer holds no boxes"),
        ("ner", found(Region("PER", Box(0.1, 0.1, 0.1, 0.1))), "the model's answer holds no parts of a text"),
        ("image_single_classification", found(Region("indoor", Box(0.1, 0.1, 0.1, 0.1))), "the model finds regions"),
    ],
)
def test_answers_of_another_form_are_refused(name: str, answer: Answer, sentence: str) -> None:
    with pytest.raises(LabelConfigError, match=sentence):
        written(name, answer)


SHARES = st.floats(0.0, 1.0)
BOXES = st.builds(Box, SHARES, SHARES, st.floats(0.001, 1.0), st.floats(0.001, 1.0))
SIZES = st.tuples(st.integers(1, 20_000), st.integers(1, 20_000))


@given(box=BOXES, size=SIZES)
@settings(max_examples=examples(100))
def test_a_box_that_was_written_is_read_where_it_was_to_a_thousandth_of_a_pixel(
    box: Box, size: tuple[int, int]
) -> None:
    lines = prediction_lines(found(Region("car", box), size=size), PICTURE, take("bounding_box", PLACES), RUN)

    for line in lines:
        told = line["bbox"]
        assert told["left"] + told["width"] <= size[0] + 1e-9
        assert told["top"] + told["height"] <= size[1] + 1e-9
        row = read_row(
            exported(label(drawn_box("car", told["left"], told["top"], told["width"], told["height"])), size=size),
            RUN,
            take("bounding_box", PLACES),
        )
        for one in read_regions(row.votes[0].result or "[]"):
            assert isinstance(one.shape, Box)
            assert abs(one.shape.x - box.x) * size[0] <= 2e-3 + 1e-8 * size[0]
            assert abs(one.shape.y - box.y) * size[1] <= 2e-3 + 1e-8 * size[1]


@given(ends=st.tuples(st.integers(0, 20), st.integers(0, 20)).filter(lambda ends: ends[0] < ends[1]))
@settings(max_examples=examples(30))
def test_a_span_that_was_written_is_read_as_it_was(ends: tuple[int, int]) -> None:
    (line,) = prediction_lines(found(Region("PER", Span(*ends))), WORDS, take("ner", PLACES), RUN)

    told = label(drawn_entity("PER", line["location"]["start"], line["location"]["end"]))
    row = read_row(exported(told, row_data=TEXT), RUN, take("ner", PLACES))

    assert read_regions(row.votes[0].result) == (Region("PER", Span(*ends)),)


MULTI = take("image_multi_classification", PLACES)


@given(scores=st.dictionaries(st.sampled_from(MULTI.classes), SHARES, min_size=1), least=SHARES)
@settings(max_examples=examples(100))
def test_any_answer_of_a_checklist_is_one_that_labelbox_takes(scores: dict[str, float], least: float) -> None:
    answer = several(scores, **dict.fromkeys(scores, least))

    lines = written("image_multi_classification", answer)

    assert bool(lines) == any(map(answer.gives, scores))


SINGLE = take("image_single_classification", PLACES)


@given(weights=st.lists(st.floats(0.001, 1.0), min_size=len(SINGLE.classes), max_size=len(SINGLE.classes)))
@settings(max_examples=examples(50))
def test_an_answer_is_never_surer_than_the_one_above_it(weights: list[float]) -> None:
    total = sum(weights)
    answer = of_paths({name: weight / total for name, weight in zip(SINGLE.classes, weights, strict=True)})

    (line,) = written("image_single_classification", answer)

    path: list[str] = []
    told, before = line["answer"], 1.0
    while told:
        assert told["confidence"] <= before
        before, path = told["confidence"], [*path, told["name"]]
        told = told["classifications"][0]["answer"] if "classifications" in told else None
    assert "/".join(path) == answer.label


# Repeated uploads


def uuids(answer: Answer, row: Row = PICTURE, run: str = RUN, part: Ontology | None = None) -> list[str]:
    return [line["uuid"] for line in prediction_lines(answer, row, part or take("bounding_box", PLACES), run)]


def test_a_repeat_overrides_and_another_row_class_place_or_model_run_does_not() -> None:
    two = found(Region("car", Box(0.1, 0.2, 0.3, 0.5), 0.9), Region("car", Box(0.3, 0.2, 0.3, 0.5), 0.8))
    other = found(Region("bus", Box(0.1, 0.2, 0.3, 0.5), 0.9))

    assert uuids(two) == uuids(two)
    assert uuids(two)[0] == "5a84735b-9f13-550f-9c6b-bde5afeefbd9"
    every = [
        *uuids(two),
        *uuids(other),
        *uuids(two, Row(8, "cl2", size=SIZE)),
        *uuids(two, run="another-model-run"),
        *(line["uuid"] for line in metric_lines({"car": 0.0}, PICTURE, RUN)),
    ]
    assert len(set(every)) == len(every) == 8


def test_numbers_go_by_how_sure_the_model_is() -> None:
    sure, unsure = Region("car", Box(0.1, 0.2, 0.3, 0.5), 0.9), Region("car", Box(0.3, 0.2, 0.3, 0.5), 0.8)

    assert prediction_lines(found(sure, unsure), PICTURE, take("bounding_box", PLACES), RUN) == prediction_lines(
        found(unsure, sure), PICTURE, take("bounding_box", PLACES), RUN
    )


@pytest.mark.parametrize(
    ("name", "answer", "row"),
    [
        ("bounding_box", found(Region("car", Box(0.1, 0.2, 0.3, 0.5))), PICTURE),
        ("ner", found(Region("PER", Span(0, 3), 0.8)), WORDS),
        (
            "image_single_classification",
            of_paths({"outdoor/forest/fir": 0.4, "indoor": 0.3, "outdoor/sea": 0.3}),
            PICTURE,
        ),
        ("image_multi_classification", several({"tree/fruit": 0.7, "tree/old": 0.6, "dog": 0.9}), PICTURE),
    ],
)
def test_a_line_is_withdrawn_in_its_place_with_no_confidence_at_all(name: str, answer: Answer, row: Row) -> None:
    (line,) = prediction_lines(answer, row, take(name, PLACES), RUN)

    told = withdrawn(line)

    assert told is not None
    held = Held(row.data_row, row.text, "" if row.text else "1.png", sides=None if row.text else SIZE)
    Checker(lambda _: held, PLACES).check(told)
    assert told["uuid"] == line["uuid"]
    assert set(confidences(told)) == {0.0}
    assert len(list(confidences(told))) == max(1, len(list(confidences(line))))


def confidences(told: object) -> Iterator[float]:
    """Give all confidences of a line, those of nested answers too."""
    if isinstance(told, dict):
        yield from (told[name] for name in told if name == "confidence")
        told = list(told.values())
    for one in told if isinstance(told, list) else ():
        yield from confidences(one)


def test_a_metric_is_not_withdrawn() -> None:
    (line,) = metric_lines({"loss": 0.5}, PICTURE, RUN)

    assert withdrawn(line) is None


# Metrics


def test_metrics_are_lines_of_their_own_and_means() -> None:
    (line, *rest) = metric_lines({"loss": 0.1234567, "entropy": float("inf"), "margin": float("nan")}, PICTURE, RUN)

    assert not rest
    Checker(lambda _: Held(PICTURE.data_row), PLACES).check(line)
    assert line | {"uuid": ""} == {
        "uuid": "",
        "dataRow": {"id": PICTURE.data_row},
        "metricName": "loss",
        "metricValue": 0.123457,
        "aggregation": "ARITHMETIC_MEAN",
    }


@pytest.mark.parametrize("name", [*sorted(RESERVED), " F1 ", "IoU", ""])
def test_names_that_labelbox_keeps_for_itself_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Labelbox takes no metric called"):
        metric_lines({"loss": 0.1, name: 0.5}, PICTURE, RUN)
