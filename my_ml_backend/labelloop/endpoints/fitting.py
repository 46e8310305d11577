"""Keeping a request below what the endpoint takes: pictures are scaled down, anything else is refused."""

from collections.abc import Callable
from dataclasses import replace

from labelloop.endpoints.requests.formats import Body
from labelloop.errors import Unreadable
from labelloop.pictures import shrink
from labelloop.types import Failure, Input

_SHARES = (0.97, 0.85, 0.6)
"""How much of the room a picture is scaled to, one try after the other: what stands around it takes some, too."""


def fitted(
    item: Input, body: Body, write: Callable[[Input], Body], most: int, shown: str
) -> tuple[Input, Body] | Failure:
    """Make one input whose ``body`` is too large fit ``most`` bytes, or say why it cannot be sent."""
    length = len(body.content)
    for share in _SHARES:
        try:
            content = shrink(item.content, int(len(item.content) * most / length * share))
        except Unreadable:
            break
        smaller = replace(item, content=content, media_type="image/jpeg")
        if len((again := write(smaller)).content) <= most:
            return smaller, again
    return Failure(
        f"it is {length} bytes as sent, endpoint {shown} takes at most {most}: raise payload_bytes if the endpoint "
        "takes more, or use request format reference, with which it fetches files by itself"
    )
