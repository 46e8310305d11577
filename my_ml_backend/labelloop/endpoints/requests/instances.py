"""Request formats that hold any number of inputs as JSON: ``instances`` and its variants, and ``inputs``."""

from collections.abc import Sequence
from dataclasses import asdict

from labelloop.endpoints.requests.format import (
    Body,
    Parameters,
    base64_bytes,
    file_type,
    is_text,
    json_bytes,
    json_value,
    require_writable,
    unwritable_plain,
    unwritable_text,
    with_option,
)
from labelloop.errors import SettingsError
from labelloop.types import Box, Input, Json, Prompted, Wanted


class Instances:
    """The request format ``instances``: each is ``{"b64"}``, ``{"text"}`` or ``{"uri"}``, a ``"prompt"`` beside it."""

    name = "instances"
    read_by = "Vertex AI, your own code: several inputs, prompts"
    together = True
    takes_parameters = True

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


def _carrier(item: Input) -> bytes:
    if item.content or (item.text is None and item.uri is None):
        return b'"b64":"' + base64_bytes(item) + b'"'
    if item.text is not None:
        return b'"text":' + json_bytes(item.text)
    return b'"uri":' + json_bytes(item.uri)


class AutoMlInstances:
    """The request format ``automl``: ``{"instances": [{"content", "mimeType"}]}``, a picture as base64, or a text."""

    name = "automl"
    read_by = "Vertex AI AutoML"
    together = True
    takes_parameters = True

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written: there is no place for prompts and addresses."""
        return unwritable_plain(item, self.name)

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write any number of inputs."""
        require_writable(inputs, self.refusal)
        return with_instances([_automl_instance(item) for item in inputs], parameters)


def _automl_instance(item: Input) -> bytes:
    media_type = "text/plain" if is_text(item) else file_type(item.media_type)
    return b'{"content":' + json_value(item) + b',"mimeType":' + json_bytes(media_type) + b"}"


class Inputs:
    """The request format ``inputs``, Hugging Face's: ``{"inputs": ...}``, a text as it is, a file as base64.

    ``inputs:labels`` adds the label config's labels as the ``candidate_labels`` of zero-shot classification, and
    whether several of them may be true; parameters go before. Raises SettingsError for another option.
    """

    read_by = "Hugging Face; as inputs:labels its zero-shot classification, with the label config's labels"
    together = True
    takes_parameters = True

    def __init__(self, option: str = "") -> None:
        if option not in ("", "labels"):
            raise SettingsError(
                f"the request format inputs:{option[:50]} is not known: possible are inputs, inputs:labels"
            )
        self.name = with_option("inputs", option)
        self._with_labels = bool(option)

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written: there is no place for prompts, or not one tag whose labels these are."""
        if reason := unwritable_plain(item, self.name):
            return reason
        tags = _tags_with_labels(item)
        if not self._with_labels or len(tags) == 1:
            return ""
        return (
            f"request format {self.name} sends the labels of one tag of choices, and the label config has "
            f"{len(tags) or 'none'}; inputs with candidate_labels in its parameters sends any"
        )

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write one input, or several as a list."""
        require_writable(inputs, self.refusal)
        written = [json_value(item) for item in inputs]
        value = written[0] if len(written) == 1 else b"[" + b",".join(written) + b"]"
        said = (_candidates(inputs[0]) if self._with_labels else {}) | dict(parameters or {})
        end = b',"parameters":' + json_bytes(said) if said else b""
        return Body(b'{"inputs":' + value + end + b"}", "application/json")


def _tags_with_labels(item: Input) -> list[Wanted]:
    wanted = item.assignment.wanted if item.assignment else ()
    return [one for one in wanted if one.says == "labels" and one.labels]


def _candidates(item: Input) -> Json:
    (wanted,) = _tags_with_labels(item)
    labels = list(dict.fromkeys(label.shown for label in wanted.labels))
    return {"candidate_labels": labels, "multi_label": wanted.choice == "multiple"}
