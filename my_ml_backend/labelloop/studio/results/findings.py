"""What an endpoint found, as results: regions, texts and numbers, each for the control tag that takes it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from labelloop.errors import LabelConfigError
from labelloop.studio.control_tag import DRAWING, TAKEN_BY, ControlTag
from labelloop.studio.mapping import Given, no_label, tag_finder
from labelloop.studio.results.prediction import (
    labels_value,
    least_score,
    of_each,
    of_one,
    of_regions,
    prediction_of,
    probability,
    result_of,
)
from labelloop.studio.results.shapes import (
    box_value,
    mask_value,
    number_value,
    point_value,
    polygon_value,
    span_value,
    text_value,
)
from labelloop.types import (
    Box,
    Findings,
    Json,
    Mask,
    Number,
    Point,
    Polygon,
    Region,
    Rendering,
    Shape,
    Span,
    Text,
    Uncertainty,
    Whole,
)

_CALLED: Mapping[type[Shape], str] = {
    Box: "boxes",
    Polygon: "polygons",
    Mask: "masks",
    Point: "points",
    Span: "parts of a text",
    Text: "texts",
    Number: "numbers",
    Whole: "labels of the whole",
}
_PLACED = frozenset(name for shape in (Box, Polygon, Mask, Point, Span) for name in TAKEN_BY[shape])
UNKNOWN = 0.5
"""How sure a model is that does not say so: neither the first nor the last that annotators are asked."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One thing with the tag it goes to, and its score, if it has one."""

    tag: ControlTag
    label: str
    region: Region
    score: float | None


def draw_findings(
    tags: Sequence[ControlTag], findings: Findings, how: Rendering, *, text: str | None, prompted: str
) -> Json:
    """Make a prediction of all that has a control tag and a label there.

    ``text`` is the task's, where it is one; ``prompted`` the label of the prompt, which regions without one get.
    Raises LabelConfigError when nothing of it has a control tag, LabelMappingError when no label of it is one there.
    """
    served = [region for region in findings.regions if _taking(tags, region)]
    if findings.regions and not served:
        raise no_tag(_holds(findings), tags, _if_class(findings, tags))
    placed = place(tags, served, how.given, prompted)
    enough = [one for one in placed if _is_sure(one, how)]
    written = [one for one in enough if isinstance(one.region.shape, Text)]
    results = [*_regions(enough, findings.size, text), *_numbers(enough)]
    scores = [made["score"] for made in results if "score" in made]
    scores += [one.score for one in written if one.score is not None]
    scores += _choices_sure(placed, how.uncertainty)
    results += [*_texts(written), *_choices(enough)]
    left_out = [one.score for one in placed if one.score is not None and not _is_sure(one, how)]
    # Nothing found is sure where something has a place. What classifies, and finds no class sure enough, is not sure;
    # nor is a model that was asked by the names of tags: it may have overlooked something.
    unknown = results or (not left_out and (findings.tags or not any(tag.tag in _PLACED for tag in tags)))
    sure = of_regions(scores, left_out) if scores or not unknown else UNKNOWN
    # The model knows better: also how likely it is that something was overlooked.
    sure = sure if findings.score is None else findings.score
    return prediction_of(results, sure, findings.model_version)


def place(tags: Sequence[ControlTag], regions: Sequence[Region], given: Given, prompted: str) -> list[Placed]:
    """Give regions, texts and numbers to the tags that take them; what has no label there is left out.

    Raises LabelMappingError when no label is one of the label config and nobody has said what the model's classes
    mean; else a picture may just hold none of the labels.
    """
    placed = [*_with_label(tags, regions, given, prompted), *_written(tags, regions)]
    if regions and not placed and not _is_mapped(tags, given):
        among = dict.fromkeys(tag for region in regions for tag in _taking(tags, region))
        raise no_label(list(among), dict.fromkeys(region.label for region in regions if region.label))
    return placed


def _taking(tags: Sequence[ControlTag], region: Region) -> list[ControlTag]:
    """List the control tags that take a region of this kind, or the one among them that it is for."""
    wanted = TAKEN_BY[type(region.shape)]
    return [tag for tag in tags if tag.tag in wanted and (not region.tag or region.tag in tag.names)]


def _with_label(tags: Sequence[ControlTag], regions: Sequence[Region], given: Given, prompted: str) -> Iterator[Placed]:
    for region in regions:
        if isinstance(region.shape, Text | Number):
            continue
        among = _taking(tags, region)
        placed = ((tag, _label(tag, region, given, prompted)) for tag in among)
        tag, label = next(((tag, label) for tag, label in placed if label is not None), (None, ""))
        if tag is not None:
            yield Placed(tag, label, region, _score(region))
        elif among and isinstance(region.shape, Whole):
            # It says something of the input, and to leave it out would say something else.
            raise no_label(among, [region.label])


def _label(tag: ControlTag, region: Region, given: Given, prompted: str) -> str | None:
    """Find a region's label: without one of its own, that of the prompt, else the only one there is.

    What names the tag knows its labels: the very name of one goes before what ``predicted_values`` say.
    """
    label = region.label
    if region.tag and label not in dict(given) and any(label == known.name for known in tag.labels):
        return label
    found = tag_finder(tag, given)(label or prompted)
    if found is None and not label and len(tag.labels) == 1:
        return tag.labels[0].name
    return found


def _written(tags: Sequence[ControlTag], regions: Sequence[Region]) -> Iterator[Placed]:
    """Give texts and numbers to the tag that their label names; else all texts to one, each number to the next."""
    free = [tag for tag in tags if tag.tag in TAKEN_BY[Number]]
    for region in regions:
        if not isinstance(region.shape, Text | Number):
            continue
        among = _taking(free if isinstance(region.shape, Number) else tags, region)
        tag = next((tag for tag in among if tag.name == region.label), among[0] if among else None)
        if tag is None:
            continue
        if isinstance(region.shape, Number):
            free.remove(tag)
        yield Placed(tag, "", region, _score(region))


def _is_sure(one: Placed, how: Rendering) -> bool:
    return one.score is None or one.score >= (least_score(how, one.tag) or 0.0)


def _is_mapped(tags: Sequence[ControlTag], given: Given) -> bool:
    return bool(given) or any(label.predicted_values for tag in tags for label in tag.labels)


def _score(region: Region) -> float | None:
    return None if region.score is None else probability(region.score)


def no_tag(holds: str, tags: Sequence[ControlTag], hint: str = "") -> LabelConfigError:
    """Make the error for an answer that no control tag of the label config takes; ``holds`` says of what it is."""
    there = ", ".join(tag.shown for tag in tags[:5])
    return LabelConfigError(
        f"the endpoint's answer holds {holds}, and the label config has {there}. Add the control tag that takes it, "
        f"or choose an endpoint that answers with what the label config asks for{hint}"
    )


def _if_class(findings: Findings, tags: Sequence[ControlTag]) -> str:
    """Say what to do where a number may be that of a class."""
    number = len(findings.regions) == 1 and isinstance(findings.regions[0].shape, Number)
    if not number or not any(tag.tag in TAKEN_BY[Whole] for tag in tags):
        return ""
    return (
        ". If it is the number of a class, set the classes, counted from 0, with LABELLOOP_CLASSES or in extra_params"
    )


def _holds(findings: Findings) -> str:
    kinds = dict.fromkeys(type(region.shape) for region in findings.regions)
    taken_by = {kind: [f"<{tag}>" for tag in TAKEN_BY[kind] if tag not in DRAWING] for kind in kinds}
    return " and ".join(f"{_CALLED[kind]} (for {' or '.join(tags)})" for kind, tags in taken_by.items())


def _regions(placed: Sequence[Placed], size: tuple[int, int] | None, text: str | None) -> Iterator[Json]:
    for one in placed:
        value = _shape_value(one.region.shape, size, text)
        if value is None:
            continue
        labelled = value | {"labels" if one.tag.labels_tag else one.tag.type: [one.label]}
        made = result_of(one.tag, labelled, one.score)
        if one.tag.target.tag == "Image":
            made |= _dimensions(one.region.shape, size)
        if one.tag.labels_tag:
            # Label Studio keeps such a region in two results of one id, each with its shape.
            yield made | {"value": value}
            made |= {"from_name": one.tag.labels_tag, "type": "labels"}
        yield made


def _dimensions(shape: Shape, size: tuple[int, int] | None) -> Json:
    known = size or ((shape.width, shape.height) if isinstance(shape, Mask) else None)
    turned: Json = {"image_rotation": 0}
    return turned if known is None else turned | {"original_width": known[0], "original_height": known[1]}


def _shape_value(shape: Shape, size: tuple[int, int] | None, text: str | None) -> Json | None:
    match shape:
        case Box():
            return box_value(shape)
        case Point():
            return point_value(shape)
        case Polygon():
            return polygon_value(shape)
        case Mask():
            return mask_value(shape, size or (shape.width, shape.height))
        case Span():
            return span_value(shape, text)
    return None


def _numbers(placed: Sequence[Placed]) -> Iterator[Json]:
    for one in placed:
        value = number_value(one.tag, one.region.shape.value) if isinstance(one.region.shape, Number) else None
        if value is not None:
            yield result_of(one.tag, value, one.score)


def _choices_sure(placed: Sequence[Placed], measure: Uncertainty) -> list[float]:
    """Say how sure each choice is that has a score, whether it is shown or not."""
    return [
        (of_one if one.tag.choice == "single" else of_each)((one.score,), measure)
        for one in placed
        if isinstance(one.region.shape, Whole) and one.score is not None
    ]


def _choices(placed: Sequence[Placed]) -> Iterator[Json]:
    """Make one result of all labels of a tag, as sure as the least sure of them. Raises LabelConfigError."""
    chosen = [one for one in placed if isinstance(one.region.shape, Whole)]
    for tag in dict.fromkeys(one.tag for one in chosen):
        own = [one for one in chosen if one.tag == tag]
        labels = [label.name for label in tag.labels if any(label.name == one.label for one in own)]
        if len(labels) > 1 and tag.choice == "single":
            raise LabelConfigError(f"the endpoint names {len(labels)} labels of {tag.shown}, which takes one")
        sure = min((one.score for one in own if one.score is not None), default=None)
        yield result_of(tag, labels_value(tag, labels), sure)


def _texts(placed: Sequence[Placed]) -> Iterator[Json]:
    """Make one result of all texts of a tag, as sure as the least sure of them."""
    for tag in dict.fromkeys(one.tag for one in placed):
        own = [one for one in placed if one.tag == tag]
        texts = [one.region.shape.content for one in own if isinstance(one.region.shape, Text)]
        sure = min((one.score for one in own if one.score is not None), default=None)
        yield result_of(tag, text_value(texts), sure)
