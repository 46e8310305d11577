"""Reading answers in tests."""

import io
import json
from typing import Any

from PIL import Image

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.types import Answer, Failure, Findings, Input, Region


def png(width: int, height: int, mode: str = "RGB", pixels: bytes | None = None) -> bytes:
    """A PNG of that size, black unless ``pixels`` are given."""
    image = Image.new(mode, (width, height)) if pixels is None else Image.frombytes(mode, (width, height), pixels)
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


PICTURE = Input(png(200, 100), "image/png")


def answered(
    body: object, *inputs: Input, classes: tuple[str, ...] = (), response: str = "auto", mapping: str = ""
) -> list[Answer | Failure]:
    """Read a body, JSON unless it is bytes, of an endpoint that was sent the inputs, else a text."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = Asked(inputs or (Input(text="a text"),), "v1", classes)
    return read_answer(content, asked, response=response, mapping=mapping)


def regions(body: object, *inputs: Input, **form: Any) -> list[Region]:
    """The regions that were found in one input."""
    (answer,) = answered(body, *inputs, **form)
    assert isinstance(answer, Findings), answer
    return list(answer.regions)


def reason(body: object, *inputs: Input, **form: Any) -> str:
    """Why one input has no answer."""
    (answer,) = answered(body, *inputs, **form)
    assert isinstance(answer, Failure), answer
    return answer.reason
