"""The request format ``json``: inputs at a place of their own in a JSON body, which a path like a mapping's names."""

import re
from collections.abc import Sequence

from labelloop.endpoints.requests.format import (
    Body,
    Parameters,
    Unwritable,
    base64_bytes,
    file_type,
    is_text,
    json_bytes,
    json_value,
    require_one,
    require_writable,
    unwritable_plain,
    usual_name,
    with_option,
)
from labelloop.errors import SettingsError
from labelloop.types import Input, Json

_EACH = "[]"
_NAME = r"[A-Za-z_][\w-]{0,60}"
_PATH = re.compile(rf"({_NAME}(?:\[\])*(?:\.{_NAME}(?:\[\])*){{0,7}})(:data)?", re.ASCII)


class JsonPath:
    """A body such as ``{"instances": [{"image_bytes": {"b64": "..."}}]}``, by ``json:instances[].image_bytes.b64``.

    ``[]`` is a list with an entry for each input; another one behind it is a list of one. The value is a text as it
    is, a file as base64, or, with ``:data`` behind the path, as a ``data:`` URL; at a place called ``b64`` a text is
    base64, too, as TensorFlow Serving reads it. Without a path the field is named after what it holds: ``{"image":
    "..."}``, ``{"text": "..."}``. Parameters stand beside, at the top of the body, and reach into the objects on the
    way. Raises SettingsError for what is no path.
    """

    read_by = (
        "any server that reads JSON; as json:PATH TensorFlow Serving, BlazingText, MLflow, Azure ML, TorchServe, Cog"
    )
    takes_parameters = True

    def __init__(self, option: str = "") -> None:
        read = _PATH.fullmatch(option)
        if option and read is None:
            raise SettingsError(
                "request format json:PATH needs names with dots between, and [] where a list has an entry for each "
                "input, as in json:instances[].data.b64, perhaps with :data behind it, as in json:input.image:data, "
                f"not {option[:80]!r}"
            )
        self._steps = tuple(re.findall(rf"{_NAME}|\[\]", read[1], re.ASCII)) if read else ()
        self._as_url = read is not None and read[2] is not None
        self.name = with_option("json", option)
        self.together = _EACH in self._steps

    def refusal(self, item: Input) -> str:
        """Say why an input cannot be written: there is no place for prompts and addresses."""
        return unwritable_plain(item, self.name)

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write one input, any number of them where the path has a list for them."""
        if not self.together:
            require_one(inputs, self.name)
        require_writable(inputs, self.refusal)
        steps = self._steps or (usual_name(inputs[0]),)
        values = [self._value(item, steps[-1]) for item in inputs]
        return Body(self._placed(steps, values, parameters or {}), "application/json")

    def _value(self, item: Input, name: str) -> bytes:
        if self._as_url and not is_text(item):
            return b'"data:' + file_type(item.media_type).encode() + b";base64," + base64_bytes(item) + b'"'
        return b'"' + base64_bytes(item) + b'"' if name == "b64" else json_value(item)

    def _placed(self, steps: Sequence[str], values: Sequence[bytes], beside: Parameters) -> bytes:
        """Write values, which are JSON already, at a place below; ``beside`` is what else the object here holds."""
        if not steps:
            return values[0]
        first, *rest = steps
        if first == _EACH:
            return b"[" + b",".join(self._placed(rest, [value], {}) for value in values) + b"]"
        others = json_bytes({name: value for name, value in beside.items() if name != first})[1:-1]
        below = self._placed(rest, values, self._below(first, rest, beside))
        return b"{" + json_bytes(first) + b":" + below + (b"," + others if others else b"") + b"}"

    def _below(self, name: str, rest: Sequence[str], beside: Parameters) -> Json:
        """Give what parameters say of an object on the way. Raises Unwritable where they say what an input is."""
        said = beside.get(name, {})
        if not isinstance(said, dict) or (name in beside and (not rest or rest[0] == _EACH)):
            raise Unwritable(f"the parameters hold {name!r}, where request format {self.name} puts the input")
        return said
