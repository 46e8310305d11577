"""All request formats by their names, and the choice of one where nobody names it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from labelloop.endpoints.requests.chat import Chat
from labelloop.endpoints.requests.files import Base64, Multipart, Raw
from labelloop.endpoints.requests.format import Body, Parameters, RequestFormat, is_text
from labelloop.endpoints.requests.instances import AutoMlInstances, Inputs, Instances, ReferenceInstances
from labelloop.endpoints.requests.json_paths import JsonPath
from labelloop.endpoints.requests.tensors import Tensors
from labelloop.errors import SettingsError
from labelloop.types import Input

EndpointKind = Literal["http", "sagemaker", "vertex", "loop"]


@dataclass(frozen=True, slots=True)
class Spoken:
    """What an endpoint usually reads: one format for files, one for texts."""

    files: RequestFormat
    texts: RequestFormat


_OF_KINDS: Mapping[EndpointKind, Spoken] = {
    "http": Spoken(Raw(), Instances()),
    "loop": Spoken(Raw(), Instances()),
    "sagemaker": Spoken(Raw(), Inputs()),  # its Hugging Face containers
    "vertex": Spoken(Instances(), Instances()),  # all that :predict reads
}

_OF_ADDRESSES: tuple[tuple[str, Spoken], ...] = (
    (r"/v1/models/[^/:]+(/(versions|labels)/[^/:]+)?:predict$", Spoken(Instances(), JsonPath("instances[]"))),
    (r"/v2/models/[^/]+(/versions/[^/]+)?/infer$", Spoken(Tensors(), Tensors())),
    (r"/predictions/[^/]+(/[^/]+)?$", Spoken(Raw(), Raw())),  # TorchServe
    (r"/invocations$", _OF_KINDS["sagemaker"]),
    (r"^[^/]+\.huggingface\.(co|cloud)/", Spoken(Raw(), Inputs())),
    (
        r"/customvision/v[\d.]+/prediction/.+/image(/nostore)?$",
        Spoken(Raw("application/octet-stream"), Raw("application/octet-stream")),
    ),
    (r"^(detect|classify|serverless)\.roboflow\.com/[^/]+/\d+$", Spoken(Base64(), Base64())),
)
"""What an HTTP server reads whose host and path match."""

_GENERAL = ("raw", "inputs", "instances")
"""Where these have no place for several inputs, parameters or a prompt, ``instances`` has."""


class Auto:
    """The request format ``auto``: what such an endpoint, at such an address, usually reads (docs/formats.md)."""

    name = "auto"
    read_by = "chosen by the endpoint's kind and address, and by the input"

    def __init__(self, kind: EndpointKind, address: str = "") -> None:
        self._spoken = _OF_KINDS[kind]
        if kind == "http":
            parts = urlsplit(address)
            place = f"{(parts.hostname or '').lower()}{parts.path}"
            told = (spoken for where, spoken in _OF_ADDRESSES if re.search(where, place, re.IGNORECASE))
            self._spoken = next(told, self._spoken)
        forms = (self._spoken.files, self._spoken.texts)
        self.together = all(form.together or form.name in _GENERAL for form in forms)
        self.takes_parameters = all(form.takes_parameters or form.name in _GENERAL for form in forms)

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written."""
        return self._choose([item], None).refusal(item)

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write any number of inputs."""
        return self._choose(inputs, parameters).write(inputs, parameters)

    def _choose(self, inputs: Sequence[Input], parameters: Parameters | None) -> RequestFormat:
        form = self._spoken.texts if all(map(is_text, inputs)) else self._spoken.files
        first = inputs[0]
        alone = len(inputs) == 1 and not parameters and (first.content or is_text(first) or first.uri is None)
        other = any(item.prompt for item in inputs) or (form.name == "raw" and not alone)
        return Instances() if other and form.name in _GENERAL else form


REQUEST_FORMATS: Mapping[str, RequestFormat] = {
    form.name: form
    for form in (
        *(Raw(), Instances(), AutoMlInstances(), Inputs(), ReferenceInstances()),
        *(JsonPath(), Multipart(), Base64(), Tensors(), Chat()),
    )
}

_WITH_OPTION: Mapping[str, Callable[[str], RequestFormat]] = {
    "raw": Raw,
    "json": JsonPath,
    "multipart": Multipart,
    "base64": Base64,
    "tensors": Tensors,
    "chat": Chat,
    "inputs": Inputs,
}
"""Those that take an option behind a colon, as in ``multipart:image``."""

REQUESTS = ("auto", *REQUEST_FORMATS)


def request_format(name: str, *, kind: EndpointKind, address: str = "") -> RequestFormat:
    """Find a format by its name; ``auto`` writes what an endpoint of that kind, at that address, usually reads.

    Raises SettingsError, listing the names, for any other name, and for an option that the format does not take.
    """
    if name == "auto":
        return Auto(kind, address)
    known, colon, option = name.partition(":")
    if known not in REQUESTS:
        raise SettingsError(f"the request format {name[:50]!r} is not known. Possible are {', '.join(REQUESTS)}.")
    if not colon:
        return REQUEST_FORMATS[known]
    if known not in _WITH_OPTION or not option:
        raise SettingsError(
            f"the request format {name[:50]!r} is not known: an option behind a colon, as in json:instances[].data, is "
            f"for {', '.join(_WITH_OPTION)}"
        )
    return _WITH_OPTION[known](option)
