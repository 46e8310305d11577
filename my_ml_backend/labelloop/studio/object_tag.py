"""What a control tag is about: the object tag that shows a task's picture, text, page or sound."""

import codecs
import json
import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from labelloop.errors import LabelConfigError
from labelloop.studio.choices import shown_name
from labelloop.types import Json

_MEDIA = ("Image", "Audio", "Video", "PDF")
"""Object tags whose files are no text."""

_BLANK = b" \t\r\n\f\v\0"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BEGINNINGS = frozenset(bytes([byte]) for byte in b'<{["tfn-0123456789')
"""What pages and JSON begin with, behind blanks."""

_LOOKED_AT = 65536
"""Bytes: a comment or a preamble may stand before what tells an SVG picture from a page."""

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


def shown_instead(tag: str, content: bytes) -> str | None:
    """Say what a file is when it is recognisably not what its object tag shows: nothing, HTML, XML or JSON.

    A login page, an error document or an API's answer stands for a file that could not be had; it is not to be sent to
    an endpoint. Formats are not asked for: an endpoint may take what this machine cannot decode. What shows text
    (``Text``, ``HyperText``) is not judged.
    """
    if tag not in _MEDIA:
        return None
    # A picture is told by its first byte: nothing more of it is looked at.
    first = content[:_LOOKED_AT].removeprefix(codecs.BOM_UTF8).lstrip(_BLANK)[:2]
    if first and first[:1] not in _BEGINNINGS and first not in _UTF16:
        return None
    text = _beginning(content)
    if text == "":
        return "empty"
    if text.startswith("<"):
        return None if _is_svg(text) else "HTML or XML"
    return "JSON" if (text[0] in "{[" and text.isprintable()) or _is_json(text) else None


def _beginning(content: bytes) -> str:
    """Read what a file begins with as text, whatever it is, without what only looks like nothing.

    An error page may be in any encoding; what tells it stands in ASCII.
    """
    head = content[:_LOOKED_AT]
    if head.startswith(_UTF16):
        text = head.decode("utf-16", errors="replace")
    else:
        text = head.removeprefix(codecs.BOM_UTF8).decode("latin-1")
    return re.sub(r"\s+", " ", text).strip(" \0").lower()


def _is_svg(text: str) -> bool:
    """Whether the first element, behind comments, processing instructions and a doctype, is a drawing."""
    return re.match(r"(<!--.*?-->|<\?.*?\?>|<!doctype[^>\[]*(\[.*?\])?[^>]*>|\s)*<(\w+:)?svg[\s>]", text) is not None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _step(found: object, step: str) -> object:
    if isinstance(found, dict):
        return found.get(step)
    if isinstance(found, list) and re.fullmatch(r"[0-9]{1,9}", step) and int(step) < len(found):
        return found[int(step)]
    return None
