"""Vertex AutoML: ``{"instances": [{"content", "mimeType"}]}``."""

from base64 import b64encode
from collections.abc import Sequence

from labelloop.endpoints.requests.body import Body, Parameters
from labelloop.endpoints.requests.checks import require_writable, unwritable_plain
from labelloop.endpoints.requests.instances import json_bytes, with_instances
from labelloop.endpoints.requests.raw import file_type
from labelloop.types import Input


class AutoMl:
    """The request format ``automl``: a picture as base64, or a text, as ``content``."""

    name = "automl"
    together = True

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written: there is no place for prompts and addresses."""
        return unwritable_plain(
            item, "request format automl cannot carry", "request format automl cannot carry a URI; reference does"
        )

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write any number of inputs."""
        require_writable(inputs, self.refusal)
        return with_instances([_instance(item) for item in inputs], parameters)


def _instance(item: Input) -> bytes:
    if item.text is not None and not item.content:
        return b'{"content":' + json_bytes(item.text) + b',"mimeType":"text/plain"}'
    media_type = json_bytes(file_type(item.media_type))
    return b'{"content":"' + b64encode(item.content) + b'","mimeType":' + media_type + b"}"
