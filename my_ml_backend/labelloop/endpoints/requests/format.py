"""The interface of every request format, and what several of them share."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from labelloop.errors import EndpointError
from labelloop.types import Input

Parameters = Mapping[str, Any]
"""A JSON object that goes along with the inputs."""


class Unwritable(EndpointError):
    """A request format cannot carry this input or these parameters; the text says which one can."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request as it goes on the wire."""

    content: bytes = field(repr=False)
    media_type: str


class RequestFormat(Protocol):
    """One way to write inputs."""

    @property
    def name(self) -> str:
        """What the setting calls it."""
        ...

    @property
    def read_by(self) -> str:
        """Who reads it, in a line."""
        ...

    @property
    def together(self) -> bool:
        """Whether one body can hold several inputs."""
        ...

    @property
    def takes_parameters(self) -> bool:
        """Whether a body has a place for parameters."""
        ...

    def refusal(self, item: Input) -> str:
        """Say why this format cannot carry an input, and which one can; empty when it can."""
        ...

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write one or more inputs. Raises Unwritable for an input or parameters that this format cannot carry."""
        ...


def with_option(name: str, option: str) -> str:
    """Spell a format's name with its option, as the setting does; empty for none."""
    return f"{name}:{option}" if option else name


def unwritable_text(text: str) -> str:
    """Say why a text cannot be sent; empty when it can. JSON can smuggle half characters into a task."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text is not valid Unicode"
    return ""


def unwritable_plain(item: Input, name: str, address: str = "cannot carry a URI") -> str:
    """Say why the format of this name, which takes files and texts alone, cannot carry an input; empty when it can.

    ``address`` is what is said of an input that is an address.
    """
    if item.prompt:
        return f"request format {name} cannot carry a prompt; instances can"
    if item.text is not None:
        return unwritable_text(item.text)
    return f"request format {name} {address}; reference does" if item.uri is not None and not item.content else ""


def require_one(inputs: Sequence[Input], name: str) -> Input:
    """Take the only input; raises Unwritable for more."""
    if len(inputs) != 1:
        raise Unwritable(f"request format {name} carries one input, not {len(inputs)}; instances carries several")
    return inputs[0]


def require_writable(inputs: Sequence[Input], refusal: Callable[[Input], str]) -> None:
    """Raise Unwritable with the first reason that ``refusal`` gives for an input."""
    for item in inputs:
        if reason := refusal(item):
            raise Unwritable(reason)


_FILES = re.compile(r"(image|audio|video)/[\w.+-]{1,60}|application/(pdf|dicom)")


def file_type(media_type: str) -> str:
    """Pass on the type of a picture, a recording, or what shows like one.

    A task's file that calls itself JSON would be read as a request, with the references to other files in it.
    """
    return media_type if _FILES.fullmatch(media_type) else "application/octet-stream"


def is_text(item: Input) -> bool:
    """Whether an input goes as its text, not as a file's bytes."""
    return item.text is not None and not item.content


def usual_name(item: Input) -> str:
    """Name a field after what it holds: ``text``, ``image``, ``audio``, ``video``, else ``file``."""
    if is_text(item):
        return "text"
    file = _FILES.fullmatch(item.media_type)
    return (file and file[1]) or "file"


def base64_bytes(item: Input) -> bytes:
    """Write a file, or a text's UTF-8, as base64."""
    return b64encode((item.text or "").encode() if is_text(item) else item.content)


def json_value(item: Input) -> bytes:
    """Write a text as a JSON string, a file as one of base64."""
    if is_text(item):
        return json_bytes(item.text)
    return b'"' + base64_bytes(item) + b'"'  # json.dumps would look at every character


def json_bytes(value: object) -> bytes:
    """Write JSON compactly."""
    return json.dumps(value, separators=(",", ":")).encode()
