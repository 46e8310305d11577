"""The request format ``tensors``, of the Open Inference Protocol (KServe v2, Triton; its HTTP/REST part)."""

import re
from collections.abc import Sequence

from labelloop.endpoints.requests.format import (
    Body,
    Parameters,
    Unwritable,
    json_bytes,
    json_value,
    require_writable,
    unwritable_plain,
    usual_name,
    with_option,
)
from labelloop.errors import SettingsError
from labelloop.types import Input


class Tensors:
    """One input tensor of BYTES, an element for each input: a text as it is, a file as base64.

    It is named ``image``, ``text`` and the like, after what it holds; ``tensors:INPUT`` names it as the model does, and
    ``tensors:INPUT[1]`` gives it the shape [n, 1] instead of [n]. Raises SettingsError for what is no name.
    """

    read_by = "Triton, KServe v2, MLServer"
    together = True
    takes_parameters = True

    def __init__(self, option: str = "") -> None:
        named = re.fullmatch(r"([^\[\]\s]{1,100})(\[1\])?", option)
        if option and named is None:
            raise SettingsError(
                "request format tensors:INPUT needs the name of the model's input, perhaps with [1] behind it where "
                f"its shape is [n, 1], as in tensors:image[1], not {option[:50]!r}"
            )
        self._input = named[1] if named else ""
        self._wide = named is not None and named[2] is not None
        self.name = with_option("tensors", option)

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written: there is no place for prompts and addresses."""
        return unwritable_plain(item, self.name)

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write any number of inputs; parameters stand beside ``inputs``: ``outputs``, ``id``, ``parameters``."""
        require_writable(inputs, self.refusal)
        if "inputs" in (parameters or {}):
            raise Unwritable(f"the parameters hold 'inputs', where request format {self.name} puts the input")
        name, shape = self._input or usual_name(inputs[0]), [len(inputs), 1] if self._wide else [len(inputs)]
        head = json_bytes({"name": name, "shape": shape, "datatype": "BYTES"})[:-1]
        tensor = head + b',"data":[' + b",".join(map(json_value, inputs)) + b"]}"
        others = json_bytes(dict(parameters or {}))[1:-1]
        return Body(b'{"inputs":[' + tensor + b"]" + (b"," + others if others else b"") + b"}", "application/json")
