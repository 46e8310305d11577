"""Reads the label config: for which control tag LabelLoop predicts, on which picture, with which labels.

What counts is what Label Studio's import of predictions accepts and its labeling interface shows. Both read tag names
in any case; attributes and ``Choice`` must be spelled as its documentation spells them, or the import drops the
predictions without a word (contract, section 2).
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from labelloop.errors import LabelConfigError
from labelloop.studio.choices import Label, labels_in, shown_name
from labelloop.types import Json, Kind

_MAX_CHARACTERS = 5_000_000
_REASONS = 3
_TASK_FIELD = re.compile(r"\$([^\s,${}]+)")
_UNSUPPORTED = {
    "perRegion": "LabelLoop classifies whole pictures",
    "perItem": "LabelLoop classifies whole pictures",
    "allowNested": "Label Studio imports no predictions of nested choices",
}
_EXAMPLE = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)


@dataclass(frozen=True, slots=True)
class Control:
    """The ``Choices`` tag LabelLoop predicts for; its pictures are in the task's data under ``data_key``.

    ``tags`` are the names of all tags of the label config; ``warnings`` say what of it is not predicted for.
    """

    name: str
    to_name: str
    kind: Kind
    data_key: str
    labels: tuple[Label, ...]
    tags: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def parse_control(label_config: object) -> Control:
    """Find the first ``Choices`` tag that classifies whole pictures.

    Raises LabelConfigError, whatever is given: no text, no XML, or nothing in it that LabelLoop can predict for.
    """
    elements = list(_read(label_config).iter())
    names = Counter(name for element in elements if (name := element.get("name")))
    twice = [shown_name(name) for name, count in names.items() if count > 1]
    if twice:
        raise LabelConfigError(f"the label config gives the name {twice[0]} to several tags; each needs its own")
    # As for Label Studio's import: what has a toName is a control tag, never an object tag.
    images = {
        element.attrib["name"]: element
        for element in elements
        if element.tag.lower() == "image" and element.get("name") and not element.get("toName")
    }
    found: list[Control] = []
    refused: list[str] = []
    for element in elements:
        if element.tag.lower() == "choices":
            try:
                found.append(_control(element, images))
            except LabelConfigError as error:
                refused.append(str(error))
    if not found:
        why = "; ".join(refused[:_REASONS]) or "it has no <Choices> tag"
        raise LabelConfigError(f"LabelLoop cannot predict for this label config: {why}. One that works: {_EXAMPLE}")
    others = [f"<Choices name={shown_name(other.name)}>: LabelLoop predicts for the first only" for other in found[1:]]
    return replace(found[0], tags=frozenset(names), warnings=(*found[0].warnings, *refused, *others))


def picture_url(control: Control, task: Json) -> str | None:
    """Give the address of a task's picture as its data has it, None where there is none.

    A ``data_key`` such as ``photo.url`` or ``photos[0]`` leads into nested data, as in Label Studio's interface.
    """
    data = task.get("data")
    found = data.get(control.data_key, None) if isinstance(data, dict) else None
    if found is None:
        found = data
        for step in re.split(r"[.\[\]]+", control.data_key.rstrip("]")):
            found = _step(found, step)
    return found if isinstance(found, str) and found else None


def _step(found: object, step: str) -> object:
    if isinstance(found, dict):
        return found.get(step)
    if isinstance(found, list) and re.fullmatch(r"[0-9]{1,9}", step) and int(step) < len(found):
        return found[int(step)]
    return None


def _read(label_config: object) -> Element:
    if not isinstance(label_config, str):
        raise LabelConfigError(f"the label config must be text (XML), not {type(label_config).__name__}")
    if len(label_config) > _MAX_CHARACTERS:
        raise LabelConfigError(
            f"the label config has {len(label_config)} characters; at most {_MAX_CHARACTERS} are read"
        )
    try:
        root: Element = fromstring(label_config, forbid_dtd=True)
    except DefusedXmlException:
        raise LabelConfigError("the label config has a DOCTYPE, which Label Studio refuses too; remove it") from None
    except (ParseError, ValueError) as error:
        raise LabelConfigError(f"the label config is not valid XML: {error}") from None
    return root


def _control(element: Element, images: Mapping[str, Element]) -> Control:
    name, targets = element.get("name", ""), element.get("toName", "")
    shown = f"<Choices name={shown_name(name)}>"
    if not name or not targets:
        raise LabelConfigError(f"{shown} needs both attributes, name and toName")
    for attribute, why in _UNSUPPORTED.items():
        if element.get(attribute, "").lower() == "true":
            raise LabelConfigError(f'{shown} has {attribute}="true": {why}')
    if element.get("value", "").startswith("$"):
        raise LabelConfigError(f"{shown} takes its labels from task data; a model needs the same labels for every task")
    image = next((target for target in targets.split(",") if target in images), None)
    if image is None:
        raise LabelConfigError(f"{shown} has toName={shown_name(targets)}, which names no <Image> tag")
    labels, warnings = labels_in(shown, element)
    kind: Kind = "multiple" if element.get("choice", "").strip().lower() == "multiple" else "single"
    return Control(name, image, kind, _data_key(images[image]), labels, warnings=warnings)


def _data_key(image: Element) -> str:
    shown = f"<Image name={shown_name(image.get('name', ''))}>"
    if "valueList" in image.attrib:
        raise LabelConfigError(f"{shown} shows a list of pictures (valueList); LabelLoop takes one picture per task")
    value = image.get("value", "")
    field = _TASK_FIELD.fullmatch(value)
    if field is None:
        raise LabelConfigError(
            f'{shown} has value={shown_name(value)}; it must name one field of task data, as in "$image"'
        )
    return field[1]
