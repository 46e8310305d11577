"""Request formats: how inputs are written for an endpoint (docs/formats.md)."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from labelloop.errors import EndpointError, SettingsError
from labelloop.types import Box, Input, Json, Prompted

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

    def refusal(self, item: Input) -> str:
        """Say why this format cannot carry an input, and which one can; empty when it can."""
        ...

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write one or more inputs. Raises Unwritable for an input or parameters that this format cannot carry."""
        ...


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


def require_writable(inputs: Sequence[Input], refusal: Callable[[Input], str]) -> None:
    """Raise Unwritable with the first reason that ``refusal`` gives for an input."""
    for item in inputs:
        if reason := refusal(item):
            raise Unwritable(reason)


_FILES = re.compile(r"(image|audio|video)/[\w.+-]{1,60}")


class Raw:
    """The request format ``raw``: one input as it is, a file's bytes under its own media type, or a text."""

    name = "raw"
    read_by = "SageMaker's own containers, TorchServe, LabelLoop's own: the bytes of a file, or a text"
    together = False

    def refusal(self, item: Input) -> str:
        """Say why an input cannot go by itself: a prompt or a URI has no place beside the bytes."""
        return unwritable_plain(item, self.name, "carries bytes or text, not a URI")

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write exactly one input."""
        if len(inputs) != 1:
            raise Unwritable(f"request format raw carries one input, not {len(inputs)}; instances carries several")
        if parameters:
            raise Unwritable("request format raw cannot carry parameters; instances can")
        require_writable(inputs, self.refusal)
        (item,) = inputs
        if item.text is not None and not item.content:
            return Body(item.text.encode(), "text/plain; charset=utf-8")
        return Body(item.content, file_type(item.media_type))


def file_type(media_type: str) -> str:
    """Pass on the type of a picture or a recording only.

    A task's file that calls itself JSON would be read as a request, with the references to other files in it.
    """
    return media_type if _FILES.fullmatch(media_type) else "application/octet-stream"


class Instances:
    """The request format ``instances``: each is ``{"b64"}``, ``{"text"}`` or ``{"uri"}``, a ``"prompt"`` beside it."""

    name = "instances"
    read_by = "Vertex AI, your own code: several inputs, prompts"
    together = True

    def refusal(self, item: Input) -> str:
        """Only a text that is no valid Unicode cannot be carried."""
        return unwritable_text(item.text) if item.text is not None else ""

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write any number of inputs."""
        require_writable(inputs, self.refusal)
        return with_instances([self._instance(item) for item in inputs], parameters)

    def _instance(self, item: Input) -> bytes:
        prompt = b',"prompt":' + json_bytes(prompt_on_wire(item.prompt)) if item.prompt else b""
        return b"{" + _carrier(item) + prompt + b"}"


class ReferenceInstances(Instances):
    """The request format ``reference``: ``{"instances": [{"uri": ...}]}`` for a container that fetches by itself."""

    name = "reference"
    read_by = "containers that fetch files by their addresses"

    def refusal(self, item: Input) -> str:
        """Only what has an address can be referred to."""
        return (
            "" if item.uri is not None else "request format reference needs the file's address (s3://, gs://, https://)"
        )

    def _instance(self, item: Input) -> bytes:
        return super()._instance(Input(uri=item.uri, prompt=item.prompt))


def with_instances(instances: Sequence[bytes], parameters: Parameters | None) -> Body:
    """Put instances that are JSON already into one body."""
    end = b',"parameters":' + json_bytes(dict(parameters)) if parameters else b""
    return Body(b'{"instances":[' + b",".join(instances) + b"]" + end + b"}", "application/json")


def prompt_on_wire(prompt: Sequence[Prompted]) -> Json:
    """Write a prompt: ``{"points": [...], "boxes": [...]}``, in fractions of the upright picture."""
    points: list[Json] = []
    boxes: list[Json] = []
    for item in prompt:
        drawn = asdict(item.shape) | {"label": item.label, "positive": item.positive}
        (boxes if isinstance(item.shape, Box) else points).append(drawn)
    return {"points": points, "boxes": boxes}


def json_bytes(value: object) -> bytes:
    """Write JSON compactly."""
    return json.dumps(value, separators=(",", ":")).encode()


def _carrier(item: Input) -> bytes:
    if item.content or (item.text is None and item.uri is None):
        return b'"b64":"' + b64encode(item.content) + b'"'  # json.dumps would look at every character
    if item.text is not None:
        return b'"text":' + json_bytes(item.text)
    return b'"uri":' + json_bytes(item.uri)


class AutoMlInstances:
    """The request format ``automl``: ``{"instances": [{"content", "mimeType"}]}``, a picture as base64, or a text."""

    name = "automl"
    read_by = "Vertex AI AutoML"
    together = True

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written: there is no place for prompts and addresses."""
        return unwritable_plain(item, self.name)

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write any number of inputs."""
        require_writable(inputs, self.refusal)
        return with_instances([_automl_instance(item) for item in inputs], parameters)


def _automl_instance(item: Input) -> bytes:
    if item.text is not None and not item.content:
        return b'{"content":' + json_bytes(item.text) + b',"mimeType":"text/plain"}'
    media_type = json_bytes(file_type(item.media_type))
    return b'{"content":"' + b64encode(item.content) + b'","mimeType":' + media_type + b"}"


class Inputs:
    """The request format ``inputs``, Hugging Face's: ``{"inputs": ...}``, a text as it is, a file as base64."""

    name = "inputs"
    read_by = "Hugging Face"
    together = True

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written: there is no place for prompts."""
        return unwritable_plain(item, self.name)

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write one input, or several as a list."""
        require_writable(inputs, self.refusal)
        written = [_input_value(item) for item in inputs]
        value = written[0] if len(written) == 1 else b"[" + b",".join(written) + b"]"
        end = b',"parameters":' + json_bytes(dict(parameters)) if parameters else b""
        return Body(b'{"inputs":' + value + end + b"}", "application/json")


def _input_value(item: Input) -> bytes:
    if item.text is not None and not item.content:
        return json_bytes(item.text)
    return b'"' + b64encode(item.content) + b'"'


class Auto:
    """The request format ``auto``.

    One file goes as its bytes, unless a prompt or parameters go along; to Vertex AI everything goes as instances, which
    is what ``:predict`` reads. Texts go to SageMaker as ``inputs``, the language of its Hugging Face containers. All
    else goes as instances.
    """

    name = "auto"
    read_by = "chosen by the kind of endpoint and of input"
    together = True

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written."""
        return self._choose([item], None).refusal(item)

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write any number of inputs."""
        return self._choose(inputs, parameters).write(inputs, parameters)

    def _choose(self, inputs: Sequence[Input], parameters: Parameters | None) -> RequestFormat:
        if self._kind == "vertex" or any(item.prompt for item in inputs):
            return Instances()
        if self._kind == "sagemaker" and all(item.text is not None and not item.content for item in inputs):
            return Inputs()
        alone = len(inputs) == 1 and not parameters and inputs[0].text is None
        return Raw() if alone and (inputs[0].content or inputs[0].uri is None) else Instances()


EndpointKind = Literal["http", "sagemaker", "vertex", "loop"]

REQUEST_FORMATS: Mapping[str, RequestFormat] = {
    form.name: form for form in (Raw(), Instances(), AutoMlInstances(), Inputs(), ReferenceInstances())
}

REQUESTS = ("auto", *REQUEST_FORMATS)


def request_format(name: str, *, kind: EndpointKind) -> RequestFormat:
    """Find a format by its name; ``auto`` writes what an endpoint of that kind usually reads.

    Raises SettingsError, listing the names, for any other name.
    """
    if name == "auto":
        return Auto(kind)
    if name not in REQUEST_FORMATS:
        raise SettingsError(f"the request format {name[:50]!r} is not known. Possible are {', '.join(REQUESTS)}.")
    return REQUEST_FORMATS[name]
