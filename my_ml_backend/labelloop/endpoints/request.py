"""Writing a request for an inference container (docs/inference.md)."""

import re
from base64 import b64encode
from collections.abc import Sequence

from labelloop.types import Input, Target


def request_of(inputs: Sequence[Input], target: Target) -> tuple[bytes, dict[str, str]]:
    """Write the body and headers: one picture as raw bytes, several as JSON instances."""
    headers = {}
    if target.project is not None:
        headers["X-LabelLoop-Project"] = str(target.project)
    if target.version is not None:
        headers["X-LabelLoop-Version"] = target.version
    if len(inputs) == 1:
        return inputs[0].content, headers | {"Content-Type": _picture_type(inputs[0].media_type)}
    items = b",".join(b'{"b64":"' + b64encode(item.content) + b'"}' for item in inputs)
    return b'{"instances":[' + items + b"]}", headers | {"Content-Type": "application/json"}


def _picture_type(media_type: str) -> str:
    """Pass on a picture's type only: any other would be read as something else than a picture."""
    return media_type if re.fullmatch(r"image/[\w.+-]{1,60}", media_type) else "application/octet-stream"
