"""What an endpoint found, as results: regions, texts and numbers, each for the control tag that takes it."""

from collections.abc import Iterator, Mapping, Sequence

from labelloop.errors import LabelConfigError
from labelloop.studio.control_tag import ControlTag
from labelloop.studio.results.brush import mask_value
from labelloop.studio.results.placing import TAKEN_BY, Asked, Placed, place, tags_for
from labelloop.studio.results.region import Drawn, result_of
from labelloop.studio.results.shapes import box_value, point_value, polygon_value
from labelloop.studio.results.spans import span_value
from labelloop.studio.results.written import number_value, text_value
from labelloop.studio.uncertainty import of_regions
from labelloop.types import Box, Findings, Json, Mask, Number, Point, Polygon, Shape, Span, Text

_CALLED: Mapping[type[Shape], str] = {
    Box: "boxes",
    Polygon: "polygons",
    Mask: "masks",
    Point: "points",
    Span: "parts of a text",
    Text: "texts",
    Number: "numbers",
}
_UNKNOWN = 0.5
"""How sure a model is that does not say so: neither the first nor the last that annotators are asked."""


def draw_findings(tags: Sequence[ControlTag], findings: Findings, asked: Asked) -> Drawn:
    """Draw all that has a control tag and a label there.

    Raises LabelConfigError when nothing of it has a control tag, LabelMappingError when no label of it is one there.
    """
    served = [region for region in findings.regions if tags_for(tags, region)]
    if findings.regions and not served:
        raise no_tag(_holds(findings), tags)
    placed = place(tags, served, asked)
    enough = [one for one in placed if one.score is None or one.score >= asked.least(one.tag)]
    drawn = [*_regions(enough, findings.size, asked.text), *_numbers(enough), *_texts(enough)]
    shown = [score for _, scores in drawn for score in scores]
    left_out = [one.score for one in placed if one.score is not None and one.score < asked.least(one.tag)]
    known = shown or not drawn
    return Drawn([result for result, _ in drawn], of_regions(shown, left_out) if known else _UNKNOWN)


def no_tag(holds: str, tags: Sequence[ControlTag]) -> LabelConfigError:
    """Make the error for an answer that no control tag of the label config takes; ``holds`` says of what it is."""
    there = ", ".join(tag.shown for tag in tags[:5])
    return LabelConfigError(
        f"the endpoint's answer holds {holds}, and the label config has {there}. Add the control tag that takes it, "
        f"or choose an endpoint that answers with what the label config asks for"
    )


def _holds(findings: Findings) -> str:
    kinds = dict.fromkeys(type(region.shape) for region in findings.regions)
    return " and ".join(f"{_CALLED[kind]} (for {' or '.join(f'<{tag}>' for tag in TAKEN_BY[kind])})" for kind in kinds)


def _regions(
    placed: Sequence[Placed], size: tuple[int, int] | None, text: str | None
) -> Iterator[tuple[Json, list[float]]]:
    for one in placed:
        value = _shape_value(one.region.shape, size, text)
        if value is None:
            continue
        made = result_of(one.tag, value | {one.tag.type: [one.label]}, one.score)
        if one.tag.object_tag == "Image":
            made |= _dimensions(one.region.shape, size)
        yield made, [] if one.score is None else [one.score]


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


def _numbers(placed: Sequence[Placed]) -> Iterator[tuple[Json, list[float]]]:
    for one in placed:
        value = number_value(one.tag, one.region.shape.value) if isinstance(one.region.shape, Number) else None
        if value is not None:
            yield result_of(one.tag, value, one.score), [] if one.score is None else [one.score]


def _texts(placed: Sequence[Placed]) -> Iterator[tuple[Json, list[float]]]:
    """Make one result of all texts of a tag, as sure as the least sure of them."""
    texts: dict[ControlTag, list[str]] = {}
    scores: dict[ControlTag, list[float]] = {}
    for one in placed:
        if isinstance(one.region.shape, Text):
            texts.setdefault(one.tag, []).append(one.region.shape.content)
            scores.setdefault(one.tag, []).extend([] if one.score is None else [one.score])
    for tag, written in texts.items():
        yield result_of(tag, text_value(written), min(scores[tag], default=None)), scores[tag]
