"""Label configs: read, and made as no human would write them: trees of Label Studio's tags with any attributes."""

from collections.abc import Callable
from xml.etree import ElementTree

from hypothesis import strategies as st

from labelloop.data.labeling import Subject
from labelloop.loop.hub import Hub
from labelloop.studio.interface import LabelStudioInterface
from labelloop.types import ProjectKey

CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
NAMES = st.sampled_from(["a", "b", "A", "choices", "a,b", "ß"]) | st.text(CHARACTERS, min_size=1, max_size=6)
REGION_TAGS = ["RectangleLabels", "PolygonLabels", "BrushLabels", "KeyPointLabels"]
_WRITTEN_TAGS = ["TextArea", "Rating", "Number"]
_DRAWING_TAGS = ["Rectangle", "Polygon", "Brush", "KeyPoint"]
_TAGS = ["View", "Image", "Choices", "Choice", "choices", "choice", "Text", "Label", "Repeater", "Taxonomy"]
_TAGS += ["Labels", "HyperText", "Audio", "EllipseLabels", *REGION_TAGS, *_WRITTEN_TAGS, *_DRAWING_TAGS]
_ATTRIBUTES = ["name", "toName", "value", "valueList", "choice", "alias", "predicted_values", "perRegion", "toname"]
_ATTRIBUTES += ["valueType", "maxRating", "min", "max", "step", "model_score_threshold", "maxUsages", "leafsOnly"]
_VALUES = st.sampled_from(["scene", "image", "$image", "$a.b", "$", "true", "multiple", "", "0.5", "3", "nan"]) | NAMES


def interface(hub: Hub, config: object) -> Callable[[ProjectKey, Subject | None], LabelStudioInterface]:
    """Read a label config for a project, as the class of ``model.py`` does."""
    return lambda project, subject: LabelStudioInterface.of(config, hub.media, project.id, subject)


def _element(children: st.SearchStrategy[list[ElementTree.Element]]) -> st.SearchStrategy[ElementTree.Element]:
    return st.builds(
        element, st.sampled_from(_TAGS), st.dictionaries(st.sampled_from(_ATTRIBUTES), _VALUES, max_size=4), children
    )


def element(tag: str, attributes: dict[str, str], inside: list[ElementTree.Element]) -> ElementTree.Element:
    """Make one element of a label config."""
    made = ElementTree.Element(tag, attributes)
    made.extend(inside)
    return made


TREES = st.recursive(_element(st.just([])), lambda inner: _element(st.lists(inner, max_size=3)), max_leaves=8)


@st.composite
def label_configs(draw: st.DrawFn) -> str:
    """Draw a label config with one good control tag, any labels, and wild trees before, in and behind it."""
    name, image = draw(NAMES), draw(NAMES)
    kind = draw(st.sampled_from(["single", "single-radio", "multiple"]))
    control = element(
        draw(st.sampled_from(["Choices", "choices"])), {"name": name, "toName": image, "choice": kind}, []
    )
    holder = ElementTree.SubElement(control, "View") if draw(st.booleans()) else control
    holder.extend(draw(st.lists(_CHOICES | TREES, min_size=1, max_size=4)))
    picture = element("Image", {"name": image, "value": "$image"}, [])
    parts = [control, picture, *draw(st.lists(TREES, max_size=2))]
    return ElementTree.tostring(element("View", {}, draw(st.permutations(parts))), "unicode")


def _choice(value: str, alias: str, predicted: list[str], inner: list[ElementTree.Element]) -> ElementTree.Element:
    attributes = {"value": value, "predicted_values": ",".join(predicted)}
    return element("Choice", attributes | ({"alias": alias} if alias else {}), inner)


_CHOICES = st.builds(_choice, NAMES, NAMES | st.just(""), st.lists(NAMES, max_size=2), st.lists(TREES, max_size=1))


@st.composite
def rich_label_configs(draw: st.DrawFn) -> str:
    """Draw a label config with some good control tags of any kind for one object tag, among wild trees."""
    name = draw(NAMES.filter(lambda name: "," not in name))
    shows = draw(st.sampled_from(["Image", "Image", "Image", "Text", "HyperText", "Audio"]))
    kinds = ["Labels", *(REGION_TAGS if shows == "Image" else []), "Choices", "Taxonomy", *_WRITTEN_TAGS]
    kinds += _DRAWING_TAGS
    made = [
        element(kind, {"name": f"control {number}", "toName": name, **draw(_SETTINGS)}, draw(_children(kind)))
        for number, kind in enumerate(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)))
    ]
    shown = element(shows, {"name": name, "value": "$data"}, [])
    parts = [*made, shown, *draw(st.lists(TREES, max_size=2))]
    return ElementTree.tostring(element("View", {}, draw(st.permutations(parts))), "unicode")


_SETTINGS = st.dictionaries(
    st.sampled_from(["choice", "model_score_threshold", "maxRating", "min", "max", "step", "maxUsages", "leafsOnly"]),
    st.sampled_from(["multiple", "0.5", "1", "3", "-2.5", "true", "1e300"]),
    max_size=3,
)


def _children(kind: str) -> st.SearchStrategy[list[ElementTree.Element]]:
    if kind in (*_WRITTEN_TAGS, *_DRAWING_TAGS):
        return st.just([])
    if kind in ("Choices", "Taxonomy"):
        return st.lists(_CHOICES, min_size=1, max_size=3)
    return st.lists(_LABELS, min_size=1, max_size=3)


_LABELS = st.builds(lambda value: element("Label", {"value": value}, []), NAMES)
