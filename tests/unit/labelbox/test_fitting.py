"""Which part of an ontology an endpoint's answer is for, in which of its classes, and what is said where none is."""

import pytest

from labelloop.errors import LabelConfigError, LabelMappingError
from labelloop.labelbox.answers import of_results, regions_of, to_results
from labelloop.labelbox.fitting import fitted
from labelloop.labelbox.ontology import Ontology
from labelloop.types import (
    Answer,
    Box,
    Findings,
    Json,
    Number,
    Output,
    Point,
    Polygon,
    Region,
    Rendering,
    Span,
    Text,
    Whole,
)
from support.labelbox import checklist, entity, ontology, radio, rectangle

NESTED = {"forest": (radio("season", ("winter", "summer")),), "sea": ()}
PARTS = Ontology.all_of(
    ontology(
        radio("scene", NESTED), checklist("things", ("tree", "boat")), rectangle("car"), entity("PER"), entity("LOC")
    )
)
ANY = Rendering()


def output(choice: str = "single", **scores: float) -> Output:
    best = max(scores, key=scores.__getitem__)
    return Output(best, scores[best], scores, "m", choice)  # type: ignore[arg-type]


def found(*regions: Region) -> Findings:
    return Findings(regions, "m")


def told(answer: Answer, how: Rendering = ANY) -> dict[str, object]:
    """What is said of each part: a class, or classes with their scores; or labels and shapes."""
    made: dict[str, object] = {}
    for part, fits in fitted(PARTS, answer, how):
        regions = () if isinstance(fits, Output) else fits.regions
        made[part.type.feature] = fits.label if isinstance(fits, Output) else [one.label for one in regions]
    return made


def test_a_classification_answers_the_first_question_that_shares_a_class() -> None:
    assert told(output(SEA=0.8, winter=0.2)) == {"radio": "sea"}
    assert told(output(tree=0.8, car=0.2)) == {"checklist": "tree"}


def test_the_last_step_of_a_path_is_enough() -> None:
    ((_, answer),) = fitted(PARTS, output(winter=0.5, summer=0.3, sea=0.2), ANY)
    assert isinstance(answer, Output)
    assert dict(answer.scores) == {"forest/winter": 0.5, "forest/summer": 0.3, "sea": 0.2}


def test_classes_that_mean_one_count_together() -> None:
    how = Rendering(label_map={"beach": "sea", "ocean": "sea"})
    ((_, answer),) = fitted(PARTS, output(beach=0.35, ocean=0.25, winter=0.4), how)
    assert isinstance(answer, Output)
    assert answer.label == "sea"
    assert answer.score == pytest.approx(0.6)


def test_what_is_not_sure_enough_is_not_answered() -> None:
    assert told(output(sea=0.6, winter=0.4), Rendering(threshold=0.7)) == {"radio": []}
    ((_, several),) = fitted(PARTS, output("multiple", tree=0.6, boat=0.3), Rendering(threshold=0.2))
    assert isinstance(several, Output)
    assert several.gives("tree")
    assert several.gives("boat")
    boxes = found(Region("car", Box(0, 0, 1, 1), 0.9), Region("car", Box(0, 0, 1, 1), 0.1))
    assert told(boxes, Rendering(threshold=0.5)) == {"rectangle": ["car"]}


def test_everything_that_is_found_goes_where_it_belongs() -> None:
    regions = (
        Region("car", Box(0.1, 0.1, 0.2, 0.2), 0.9),
        Region("truck", Box(0.1, 0.1, 0.2, 0.2), 0.9),
        Region("per", Span(0, 3)),
        Region("boat", Whole(), 0.8),
        Region("tree", Whole(), 0.7),
        Region("sea", Whole(), tag="scene"),
    )
    assert told(found(*regions)) == {
        "rectangle": ["car"],
        "named-entity": ["PER"],
        "checklist": ["boat", "tree"],
        "radio": ["sea"],
    }


def test_nothing_found_is_an_answer() -> None:
    assert told(found()) == {}


def test_of_a_question_with_one_answer_the_surest_counts() -> None:
    assert told(found(Region("sea", Whole(), 0.4), Region("winter", Whole(), 0.6))) == {"radio": ["forest/winter"]}


@pytest.mark.parametrize(
    ("said", "made"),
    [
        (Text(" Sea. "), {"radio": ["sea"]}),
        (Text("boat, tree"), {"checklist": ["boat", "tree"]}),
    ],
)
def test_a_text_names_classes(said: Text, made: Json) -> None:
    assert told(found(Region("", said, 0.9))) == made
    assert told(found(Region("sea", Number(2)))) == {"radio": ["sea"]}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (output(cat=0.9, dog=0.1), "The endpoint's: 'cat', 'dog'"),
        (found(Region("cat", Box(0, 0, 1, 1))), "The endpoint's: 'cat'. The ontology's: 'car'"),
        (found(Region("", Text("I cannot tell"))), "The endpoint's: 'I cannot tell'"),
    ],
)
def test_classes_that_are_none_of_the_ontology_are_told_with_a_way_out(answer: Answer, says: str) -> None:
    with pytest.raises(LabelMappingError) as refused:
        fitted(PARTS, answer, ANY)
    assert says in str(refused.value)
    assert '"label_map": {"' in str(refused.value)


def test_what_no_part_takes_is_told_with_what_there_is() -> None:
    triangle = Polygon((Point(0, 0), Point(1, 0), Point(0, 1)))
    with pytest.raises(LabelConfigError, match="holds polygons, and the ontology has bounding-box tool 'car' and"):
        fitted(PARTS, found(Region("car", triangle)), ANY)
    boxes = [one for one in PARTS if one.type.feature == "rectangle"]
    with pytest.raises(LabelConfigError, match="holds a classification, and the ontology has bounding-box tool 'car'"):
        fitted(boxes, output(car=1.0), ANY)


def test_an_option_chooses_the_part() -> None:
    assert told(output(sea=0.1, tree=0.9), Rendering(tag="things")) == {"checklist": "tree"}
    with pytest.raises(LabelConfigError, match="the option tag names 'mood'"):
        fitted(PARTS, output(sea=1.0), Rendering(tag="mood"))


@pytest.mark.parametrize(
    "answer",
    [
        output(sea=0.7, winter=0.3),
        Output("tree", 0.9, {"tree": 0.9, "boat": 0.4}, "m", "multiple", {"boat": 0.3}),
        Findings((Region("car", Box(0.1, 0.2, 0.3, 0.4, 30.0), 0.5), Region("PER", Span(1, 4))), "m", (640, 480)),
        found(Region("tree", Whole(), 0.5)),
    ],
)
def test_answers_are_read_back_as_they_were(answer: Answer) -> None:
    before = fitted(PARTS, answer, ANY)
    written = to_results(before)
    assert list(of_results(written, PARTS, "m")) == before
    placed = () if isinstance(answer, Output) else answer.regions
    assert regions_of(written) == tuple(one for one in placed if not isinstance(one.shape, Whole))
    # What the ontology has no more is left out.
    assert list(of_results(written, [], "m")) == []
