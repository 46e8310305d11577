"""What a control tag is about: the object tag that shows a task's picture, text, page or sound."""

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from labelloop.errors import LabelConfigError
from labelloop.studio.choices import shown_name

_TASK_FIELD = re.compile(r"\$([^\s,${}]+)")


@dataclass(frozen=True, slots=True)
class ObjectTag:
    """An object tag, such as ``Image``; a task has its data under ``data_key``, an address unless it is ``inline``."""

    tag: str
    name: str
    data_key: str
    inline: bool = False


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
            f'{shown} has value={shown_name(value)}; it must name one field of task data, as in "$image"'
        )
    inline = tag in ("Text", "HyperText") and element.get("valueType", "text") != "url"
    return ObjectTag(tag, element.get("name", ""), field[1], inline)
