"""The usual format for what is to be sent and where."""

from collections.abc import Sequence

from labelloop.endpoints.requests.body import Body, Parameters, RequestFormat
from labelloop.endpoints.requests.inputs import Inputs
from labelloop.endpoints.requests.instances import Instances
from labelloop.endpoints.requests.raw import Raw
from labelloop.types import Input


class Auto:
    """The request format ``auto``.

    One file goes as its bytes, unless a prompt or parameters go along; to Vertex AI everything goes as instances, which
    is what ``:predict`` reads. Texts go to SageMaker as ``inputs``, the language of its Hugging Face containers. All
    else goes as instances.
    """

    name = "auto"
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
