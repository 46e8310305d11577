"""What an input must be to go on the wire in a format."""

from collections.abc import Callable, Sequence

from labelloop.endpoints.requests.body import Unwritable
from labelloop.types import Input


def unwritable_text(text: str) -> str:
    """Say why a text cannot be sent; empty when it can. JSON can smuggle half characters into a task."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text is not valid Unicode"
    return ""


def unwritable_plain(item: Input, cannot: str, uri: str) -> str:
    """Say why a format that takes files and texts alone cannot carry an input; empty when it can.

    ``cannot`` is how the reason for a prompt begins, ``uri`` the whole reason for an address.
    """
    if item.prompt:
        return f"{cannot} a prompt; instances can"
    if item.text is not None:
        return unwritable_text(item.text)
    return uri if item.uri is not None and not item.content else ""


def require_writable(inputs: Sequence[Input], refusal: Callable[[Input], str]) -> None:
    """Raise Unwritable with the first reason that ``refusal`` gives for an input."""
    for item in inputs:
        if reason := refusal(item):
            raise Unwritable(reason)
