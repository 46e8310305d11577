"""Hugging Face: ``{"inputs": ...}``."""

from base64 import b64encode
from collections.abc import Sequence

from labelloop.endpoints.requests.body import Body, Parameters
from labelloop.endpoints.requests.checks import require_writable, unwritable_plain
from labelloop.endpoints.requests.instances import json_bytes
from labelloop.types import Input


class Inputs:
    """The request format ``inputs``: a text as it is, a file as base64; several as a list."""

    name = "inputs"
    together = True

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written: there is no place for prompts."""
        return unwritable_plain(
            item, "request format inputs cannot carry", "request format inputs cannot carry a URI; reference does"
        )

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write one input, or several as a list."""
        require_writable(inputs, self.refusal)
        written = [_value(item) for item in inputs]
        value = written[0] if len(written) == 1 else b"[" + b",".join(written) + b"]"
        end = b',"parameters":' + json_bytes(dict(parameters)) if parameters else b""
        return Body(b'{"inputs":' + value + end + b"}", "application/json")


def _value(item: Input) -> bytes:
    if item.text is not None and not item.content:
        return json_bytes(item.text)
    return b'"' + b64encode(item.content) + b'"'
