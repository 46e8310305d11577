"""What a control tag is about: the object tag that shows a task's picture, text, page or sound."""

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from labelloop.errors import LabelConfigError
from labelloop.studio.choices import shown_name
from labelloop.types import Json

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


def value_of(data_key: str, task: Json) -> str | None:
    """Give what a task's data has under ``data_key``, a text or an address; None where there is none or it is empty.

    A ``data_key`` such as ``photo.url`` or ``photos[0]`` leads into nested data, as in Label Studio's interface.
    """
    data = task.get("data")
    found = data.get(data_key, None) if isinstance(data, dict) else None
    if found is None:
        found = data
        for step in re.split(r"[.\[\]]+", data_key.rstrip("]")):
            found = _step(found, step)
    return found if isinstance(found, str) and found else None


def _step(found: object, step: str) -> object:
    if isinstance(found, dict):
        return found.get(step)
    if isinstance(found, list) and re.fullmatch(r"[0-9]{1,9}", step) and int(step) < len(found):
        return found[int(step)]
    return None
