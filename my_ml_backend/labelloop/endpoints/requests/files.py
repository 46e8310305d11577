"""Request formats whose body is one file, or one text."""

from collections.abc import Sequence

from labelloop.endpoints.requests.format import (
    Body,
    Parameters,
    Unwritable,
    file_type,
    require_writable,
    unwritable_plain,
)
from labelloop.types import Input


class Raw:
    """The request format ``raw``: one input as it is, a file's bytes under its own media type, or a text."""

    name = "raw"
    read_by = "SageMaker's own containers, TorchServe, LabelLoop's own: the bytes of a file, or a text"
    together = False

    def refusal(self, item: Input) -> str:
        """Say why an input cannot go by itself: a prompt or a URI has no place beside the bytes."""
        return unwritable_plain(item, self.name, "carries bytes or text, not a URI")

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
