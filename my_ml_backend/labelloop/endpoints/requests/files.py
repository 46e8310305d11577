"""Request formats whose body is one input: ``raw``, ``base64``, and a form with a file in it, ``multipart``."""

import re
from collections.abc import Sequence
from hashlib import sha256

from labelloop.endpoints.requests.format import (
    Body,
    Parameters,
    Unwritable,
    base64_bytes,
    file_type,
    is_text,
    json_bytes,
    require_one,
    require_writable,
    unwritable_plain,
    usual_name,
    with_option,
)
from labelloop.errors import SettingsError
from labelloop.sources.media import ending_of
from labelloop.types import Input

_MEDIA_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9][a-z0-9.+-]{0,60}")
_OF_TEXTS = re.compile(r"text/.+|application/x-text")
_OF_FILES = re.compile(r"(image|audio|video)/.+|application/x-(image|audio|video)")


def media_type_of(option: str, name: str) -> str:
    """Read the media type that a format is told to use.

    Raises SettingsError for what is none, and for JSON: what a task holds would be read as a request of its own.
    """
    if not _MEDIA_TYPE.fullmatch(option) or "json" in option:
        raise SettingsError(
            f"request format {name}:TYPE needs a media type that is not JSON's, as in {name}:application/x-image, not "
            f"{option[:50]!r}; json:PATH writes JSON"
        )
    return option


class Raw:
    """The request format ``raw``: one input as it is, a file's bytes under its own media type, or a text.

    ``raw:TYPE`` sends them under that type. Raises SettingsError for one that it cannot be.
    """

    read_by = "SageMaker's own containers, TorchServe, LabelLoop's own; as raw:TYPE JumpStart, XGBoost, Custom Vision"
    together = False
    takes_parameters = False

    def __init__(self, option: str = "") -> None:
        self._type = media_type_of(option, "raw") if option else ""
        self.name = with_option("raw", option)

    def refusal(self, item: Input) -> str:
        """Say why an input cannot go by itself: a prompt or a URI has no place beside the bytes."""
        if reason := unwritable_plain(item, self.name, "carries bytes or text, not a URI"):
            return reason
        if is_text(item) and _OF_FILES.fullmatch(self._type):
            return f"request format {self.name} carries files; raw carries a text"
        if not is_text(item) and _OF_TEXTS.fullmatch(self._type):
            return f"request format {self.name} carries texts; raw carries a file"
        return ""

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write exactly one input."""
        item = require_one(inputs, self.name)
        if parameters:
            raise Unwritable(f"request format {self.name} cannot carry parameters; instances can")
        require_writable(inputs, self.refusal)
        if is_text(item):
            return Body((item.text or "").encode(), self._type or "text/plain; charset=utf-8")
        return Body(item.content, self._type or file_type(item.media_type))


class Base64:
    """The request format ``base64``: the base64 of one file is the whole body, under a form's type or ``base64:TYPE``.

    Raises SettingsError for a type that it cannot be.
    """

    read_by = "Roboflow"
    together = False
    takes_parameters = False

    def __init__(self, option: str = "") -> None:
        self._type = media_type_of(option, "base64") if option else "application/x-www-form-urlencoded"
        self.name = with_option("base64", option)

    def refusal(self, item: Input) -> str:
        """Say why an input cannot go by itself: only a file needs base64."""
        if reason := unwritable_plain(item, self.name):
            return reason
        return f"request format {self.name} carries files; raw carries a text" if is_text(item) else ""

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write exactly one input."""
        item = require_one(inputs, self.name)
        if parameters:
            raise Unwritable(f"request format {self.name} cannot carry parameters; multipart and instances can")
        require_writable(inputs, self.refusal)
        return Body(base64_bytes(item), self._type)


class Multipart:
    """The request format ``multipart``: a form with a field ``file``, or ``text``, and one for each parameter.

    ``multipart:FIELD`` names the field. Raises SettingsError for what is no field's name.
    """

    read_by = "upload forms: FastAPI, YOLO, BentoML"
    together = False
    takes_parameters = True

    def __init__(self, option: str = "") -> None:
        if option and not re.fullmatch(r"[\w.\[\]-]{1,60}", option, re.ASCII):
            raise SettingsError(
                f"request format multipart:FIELD needs a form field's name, as in multipart:image, not {option[:50]!r}"
            )
        self._field = option
        self.name = with_option("multipart", option)

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written: there is no place for prompts and addresses."""
        return unwritable_plain(item, self.name)

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write exactly one input."""
        item = require_one(inputs, self.name)
        require_writable(inputs, self.refusal)
        return _form(self._field or ("text" if is_text(item) else "file"), item, parameters or {})


def _form(name: str, item: Input, parameters: Parameters) -> Body:
    """Write a form; a file in it has a name, whose suffix tells its type, and a parameter's list is a field for each.

    The boundary is a hash of what is sent: nothing that a task holds can end a field, and the same input is the same
    form each time, by which an asynchronous endpoint's upload is known.
    """
    import httpx  # late: commands that send nothing do without

    fields = {key: _form_values(value) for key, value in parameters.items()}
    if is_text(item):
        sent: tuple[str | None, bytes, str | None] = (None, (item.text or "").encode(), None)
    else:
        media_type = file_type(item.media_type)
        sent = (usual_name(item) + ending_of(media_type), item.content, media_type)
    boundary = sha256(repr((name, fields)).encode(errors="surrogatepass") + sent[1]).hexdigest()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = httpx.Request("POST", "http://form/", data=fields, files={name: sent}, headers=kind)
    return Body(request.read(), request.headers["Content-Type"])


def _form_values(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one if isinstance(one, str) else json_bytes(one).decode() for one in values]
