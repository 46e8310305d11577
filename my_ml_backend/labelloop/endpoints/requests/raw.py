"""One input as it is: a file's bytes under its own media type, or a text."""

import re
from collections.abc import Sequence

from labelloop.endpoints.requests.body import Body, Parameters, Unwritable
from labelloop.endpoints.requests.checks import require_writable, unwritable_plain
from labelloop.types import Input

_FILES = re.compile(r"(image|audio|video)/[\w.+-]{1,60}")


class Raw:
    """The request format ``raw``."""

    name = "raw"
    together = False

    def refusal(self, item: Input) -> str:
        """Say why an input cannot go by itself: a prompt or a URI has no place beside the bytes."""
        return unwritable_plain(
            item,
            "request format raw cannot carry",
            "request format raw carries bytes or text, not a URI; reference does",
        )

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write exactly one input."""
        if len(inputs) != 1:
            raise Unwritable(f"request format raw carries one input, not {len(inputs)}; instances carries several")
        if parameters:
            raise Unwritable("request format raw cannot carry parameters; instances can")
        require_writable(inputs, self.refusal)
        (item,) = inputs
        if item.text is not None and not item.content:
            return Body(item.text.encode(), "text/plain; charset=utf-8")
        return Body(item.content, file_type(item.media_type))


def file_type(media_type: str) -> str:
    """Pass on the type of a picture or a recording only.

    A task's file that calls itself JSON would be read as a request, with the references to other files in it.
    """
    return media_type if _FILES.fullmatch(media_type) else "application/octet-stream"
