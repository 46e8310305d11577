"""A label config that shows an endpoint's answer, for whoever has none yet."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from labelloop.types import Answer, Box, Input, Mask, Number, Output, Point, Polygon, Shape, Span

_REGIONS: dict[type[Shape], str] = {
    Box: "RectangleLabels",
    Polygon: "PolygonLabels",
    Mask: "BrushLabels",
    Point: "KeyPointLabels",
    Span: "Labels",
}


def suggest_config(item: Input, answer: Answer) -> str:
    """Write a label config whose tags take the answer, with the answer's own classes as labels."""
    view = Element("View")
    tag, key = _object(item)
    SubElement(view, tag, name=key, value=f"${key}")
    if isinstance(answer, Output):
        _add_labels(
            SubElement(view, "Choices", name="label", toName=key, choice=answer.choice), "Choice", answer.scores
        )
    else:
        for shape in dict.fromkeys(type(region.shape) for region in answer.regions):
            labels = [region.label for region in answer.regions if isinstance(region.shape, shape)]
            _add_regions(view, shape, key, dict.fromkeys(labels))
    indent(view)
    return tostring(view, "unicode")


def _object(item: Input) -> tuple[str, str]:
    if item.text is not None:
        return "Text", "text"
    return ("Audio", "audio") if item.media_type.startswith("audio/") else ("Image", "image")


def _add_regions(view: Element, shape: type[Shape], key: str, labels: Iterable[str]) -> None:
    if shape in _REGIONS:
        control = SubElement(view, _REGIONS[shape], name=_REGIONS[shape].lower(), toName=key)
        _add_labels(control, "Label", [label for label in labels if label] or ["object"])
    else:
        SubElement(view, "Number" if shape is Number else "TextArea", name="answer", toName=key)


def _add_labels(control: Element, tag: str, labels: Iterable[str]) -> None:
    for label in labels:
        SubElement(control, tag, value=label)
