"""A control tag of a label config, and the object tag it is about: what is read of them, and which are refused."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from labelloop.errors import LabelConfigError
from labelloop.studio.label_tag import Label, labels_in, paths_in, shown_name
from labelloop.types import Box, Choice, Mask, Number, Point, Polygon, Shape, Span, Text, Whole

OBJECTS: Mapping[str, tuple[str, ...]] = {
    "Choices": ("Image", "Text", "HyperText", "Audio"),
    "Taxonomy": ("Image", "Text", "HyperText", "Audio"),
    "RectangleLabels": ("Image",),
    "PolygonLabels": ("Image",),
    "BrushLabels": ("Image",),
    "KeyPointLabels": ("Image",),
    "Labels": ("Image", "Text"),
    "TextArea": ("Image", "Text", "HyperText", "Audio"),
    "Rating": ("Image", "Text", "HyperText", "Audio"),
    "Number": ("Image", "Text", "HyperText", "Audio"),
}
"""The control tags LabelLoop predicts for, and the object tags of each."""

DRAWING = ("Rectangle", "Polygon", "Brush", "KeyPoint")
"""The control tags that draw on a picture what ``Labels`` beside them give a label."""

TAKEN_BY: Mapping[type[Shape], tuple[str, ...]] = {
    Box: ("Rectangle", "RectangleLabels"),
    Polygon: ("Polygon", "PolygonLabels"),
    Mask: ("Brush", "BrushLabels"),
    Point: ("KeyPoint", "KeyPointLabels"),
    Span: ("Labels",),
    Text: ("TextArea",),
    Number: ("Rating", "Number"),
    Whole: ("Taxonomy", "Choices"),
}
"""The control tags that take each shape an endpoint may find."""

_WITHOUT_LABELS = ("TextArea", "Rating", "Number")
_UNSUPPORTED = {
    "perRegion": "LabelLoop predicts for whole tasks, not for regions that an annotator has drawn",
    "perItem": "LabelLoop predicts for whole tasks",
    "allowNested": "Label Studio imports no predictions of nested choices; a <Taxonomy> does that",
    "labeling": "LabelLoop labels parts of a text with <Labels>",
}
_TASK_FIELD = re.compile(r"\$([^\s,${}\[\].]+(?:\.[^\s,${}\[\].]+|\[[0-9]{1,9}\])*)")
"""A field of task data, or a place within one: ``$image``, ``$photo.url``, ``$photos[0].url``."""


@dataclass(frozen=True, slots=True)
class ObjectTag:
    """An object tag, such as ``Image``; a task has its data under ``data_key``, an address unless it is ``inline``."""

    tag: str
    name: str
    data_key: str
    inline: bool = False


@dataclass(frozen=True, slots=True)
class ControlTag:
    """A control tag: its ``tag`` as Label Studio's documentation spells it, its name, labels and object tag.

    ``kind`` says how many labels a ``Choices`` or ``Taxonomy`` takes. ``threshold`` is its ``model_score_threshold``,
    in [0, 1]. ``minimum``, ``maximum`` and ``step`` bound a ``Number``, ``maximum`` a ``Rating``. ``labels_tag`` names
    the ``Labels`` that a ``Rectangle`` or the like has its labels from; they stand in a result of their own. ``hint``
    is what stands in an empty ``TextArea``.
    """

    tag: str
    name: str
    target: ObjectTag
    labels: tuple[Label, ...] = ()
    choice: Choice = "single"
    threshold: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    labels_tag: str = ""
    hint: str = ""

    def __hash__(self) -> int:
        # What is made of a tag is remembered by it; to hash a thousand labels for each prediction would cost more.
        return hash((self.tag, self.name, self.target, self.labels_tag))

    @property
    def type(self) -> str:
        """What a result of this tag calls itself, and the key of its labels."""
        return self.tag.lower()

    @property
    def names(self) -> frozenset[str]:
        """The names that its results are from."""
        return frozenset({self.name, self.labels_tag} - {""})

    @property
    def to_name(self) -> str:
        """The name of its object tag."""
        return self.target.name

    @property
    def shown(self) -> str:
        """Its name in a message."""
        return shown_tag(self.tag, self.name)


def shown_tag(tag: str, name: str) -> str:
    """Name a tag in a message."""
    return f"<{tag} name={shown_name(name)}>"


def read_object(element: Element, tag: str) -> ObjectTag:
    """Read one object tag, ``tag`` being its name as Label Studio's documentation spells it.

    Raises LabelConfigError where a task has more or less than one thing to show there, or it has to be decoded.
    """
    shown = f"<{tag} name={shown_name(element.get('name', ''))}>"
    if "valueList" in element.attrib:
        raise LabelConfigError(f"{shown} shows a list of pictures (valueList); LabelLoop takes one picture per task")
    if element.get("encoding", "none") != "none":
        raise LabelConfigError(f"{shown} has an encoding; LabelLoop reads text as it is")
    value = element.get("value", "")
    field = _TASK_FIELD.fullmatch(value)
    if field is None:
        raise LabelConfigError(
            f'{shown} has value={shown_name(value)}; it must name one field of task data, as in "$image", '
            f'"$photo.url" or "$photos[0]"'
        )
    inline = tag in ("Text", "HyperText") and element.get("valueType", "text") != "url"
    return ObjectTag(tag, element.get("name", ""), field[1], inline)


def read_control(element: Element, tag: str, target: ObjectTag) -> tuple[ControlTag, tuple[str, ...]]:
    """Read one control tag, and what of it is not predicted for; raises LabelConfigError where nothing can be."""
    name = element.get("name", "")
    shown = shown_tag(tag, name)
    for attribute, why in _UNSUPPORTED.items():
        if element.get(attribute, "").lower() == "true":
            raise LabelConfigError(f'{shown} has {attribute}="true": {why}')
    labels, warnings = _labels(shown, element, tag)
    numbers = {key: _number(element, key) for key in ("min", "max", "step")}
    return ControlTag(
        tag,
        name,
        target,
        labels,
        _kind(element, tag),
        threshold=_threshold(shown, element),
        minimum=numbers["min"],
        maximum=_stars(shown, element) if tag == "Rating" else numbers["max"],
        step=numbers["step"],
        hint=element.get("placeholder", ""),
    ), warnings


def drawn_by(labels: ControlTag, drawing: Element) -> ControlTag:
    """Read a tag that draws what ``labels``, which are about the same picture, give a label."""
    name = drawing.get("name", "")
    tag = next(tag for tag in DRAWING if tag.lower() == drawing.tag.lower())
    own = _threshold(shown_tag(tag, name), drawing)
    threshold = labels.threshold if own is None else own
    return replace(labels, tag=tag, name=name, threshold=threshold, labels_tag=labels.name)


def _labels(shown: str, element: Element, tag: str) -> tuple[tuple[Label, ...], tuple[str, ...]]:
    if tag in _WITHOUT_LABELS:
        return (), ()
    if element.get("value", "").startswith("$") or element.get("apiUrl"):
        raise LabelConfigError(
            f"{shown} takes its labels from task data or an address; a model needs the same labels for every task"
        )
    if tag == "Taxonomy":
        return paths_in(shown, element, leaves_only=element.get("leafsOnly", "").lower() == "true")
    return labels_in(shown, element, "Choice" if tag == "Choices" else "Label")


def _kind(element: Element, tag: str) -> Choice:
    if tag == "Taxonomy":
        return "single" if element.get("maxUsages", "").strip() == "1" else "multiple"
    return "multiple" if element.get("choice", "").strip().lower() == "multiple" else "single"


def _threshold(shown: str, element: Element) -> float | None:
    text = element.get("model_score_threshold")
    if text is None:
        return None
    found = _number(element, "model_score_threshold")
    if found is None or not 0.0 <= found <= 1.0:
        raise LabelConfigError(f"{shown} has model_score_threshold={shown_name(text)}; it must be from 0 to 1")
    return found


def _stars(shown: str, element: Element) -> float:
    text = element.get("maxRating", "5").strip()
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 6 and int(text)):
        raise LabelConfigError(f"{shown} has maxRating={shown_name(text)}; it must be a whole number from 1 on")
    return float(text)


def _number(element: Element, attribute: str) -> float | None:
    """Read a number; None for none, which is what Label Studio makes of a wrong one."""
    try:
        found = float(element.get(attribute, ""))
    except ValueError:
        return None
    return found if math.isfinite(found) else None
