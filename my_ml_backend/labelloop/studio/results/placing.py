"""Which control tag takes what an endpoint found: by its kind, then by its label."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from labelloop.studio.control_tag import ControlTag
from labelloop.studio.mapping import Given, no_label, tag_finder
from labelloop.studio.results.region import probability
from labelloop.types import Box, Mask, Number, Point, Polygon, Region, Shape, Span, Text

TAKEN_BY: Mapping[type[Shape], tuple[str, ...]] = {
    Box: ("RectangleLabels",),
    Polygon: ("PolygonLabels",),
    Mask: ("BrushLabels",),
    Point: ("KeyPointLabels",),
    Span: ("Labels",),
    Text: ("TextArea",),
    Number: ("Rating", "Number"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What decides how findings are drawn, beside them: what the user set, the task's text, the prompt's label."""

    given: Given = ()
    threshold: float | None = None
    text: str | None = None
    prompted: str = ""

    def least(self, tag: ControlTag) -> float:
        """The score from which on a tag's regions are shown."""
        return tag.threshold if tag.threshold is not None else self.threshold or 0.0


@dataclass(frozen=True, slots=True)
class Placed:
    """One thing with the tag it goes to, and its score, if it has one."""

    tag: ControlTag
    label: str
    region: Region
    score: float | None


def place(tags: Sequence[ControlTag], regions: Sequence[Region], asked: Asked) -> list[Placed]:
    """Give regions, texts and numbers to the tags that take them; what has no label there is left out.

    Raises LabelMappingError when no label is one of the label config and nobody has said what the model's classes
    mean; else a picture may just hold none of the labels.
    """
    placed = [*_with_label(tags, regions, asked), *_written(tags, regions)]
    if regions and not placed and not _is_mapped(tags, asked):
        among = dict.fromkeys(tag for region in regions for tag in tags_for(tags, region))
        raise no_label(list(among), dict.fromkeys(region.label for region in regions if region.label))
    return placed


def tags_for(tags: Sequence[ControlTag], region: Region) -> list[ControlTag]:
    """List the control tags that take a region of this kind."""
    wanted = TAKEN_BY[type(region.shape)]
    return [tag for tag in tags if tag.tag in wanted]


def _with_label(tags: Sequence[ControlTag], regions: Sequence[Region], asked: Asked) -> Iterator[Placed]:
    for region in regions:
        if isinstance(region.shape, Text | Number):
            continue
        for tag in tags_for(tags, region):
            label = _label(tag, region.label, asked)
            if label is not None:
                yield Placed(tag, label, region, _score(region))
                break


def _label(tag: ControlTag, label: str, asked: Asked) -> str | None:
    """Find a region's label: without one of its own, that of the prompt, else the only one there is."""
    found = tag_finder(tag, asked.given)(label or asked.prompted)
    if found is None and not label and len(tag.labels) == 1:
        return tag.labels[0].name
    return found


def _written(tags: Sequence[ControlTag], regions: Sequence[Region]) -> Iterator[Placed]:
    """Give texts and numbers to the tag that their label names; else all texts to one, each number to the next."""
    free = [tag for tag in tags if tag.tag in TAKEN_BY[Number]]
    for region in regions:
        if not isinstance(region.shape, Text | Number):
            continue
        among = free if isinstance(region.shape, Number) else tags_for(tags, region)
        tag = next((tag for tag in among if tag.name == region.label), among[0] if among else None)
        if tag is None:
            continue
        if isinstance(region.shape, Number):
            free.remove(tag)
        yield Placed(tag, "", region, _score(region))


def _is_mapped(tags: Sequence[ControlTag], asked: Asked) -> bool:
    return bool(asked.given) or any(label.predicted_values for tag in tags for label in tag.labels)


def _score(region: Region) -> float | None:
    return None if region.score is None else probability(region.score)
