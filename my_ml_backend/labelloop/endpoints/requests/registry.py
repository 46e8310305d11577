"""All request formats by their names, and the choice of one where nobody names it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from labelloop.endpoints.requests.files import Raw
from labelloop.endpoints.requests.format import Body, Parameters, RequestFormat
from labelloop.endpoints.requests.instances import AutoMlInstances, Inputs, Instances, ReferenceInstances
from labelloop.errors import SettingsError
from labelloop.types import Input


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
