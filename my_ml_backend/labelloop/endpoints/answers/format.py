"""The interface of every answer format."""

from typing import Any, Protocol

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.values import Malformed
from labelloop.types import Answer


class AnswerFormat(Protocol):
    """One way to say what was found in one input. ``item`` is JSON, except that a PNG picture is ``bytes``."""

    @property
    def name(self) -> str:
        """What the setting calls it."""
        ...

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:
        """Whether one input's answer has this shape, whatever its values; ``[]`` does where it can mean: nothing."""
        ...

    def read(self, item: Any, one: One) -> Answer:
        """Read one input's answer, of whatever shape. Raises Malformed saying what is wrong with it."""
        ...


def objects(item: Any, *keys: str) -> bool:
    """Whether an item is a list of objects, perhaps empty, each of which has one of the keys."""
    return isinstance(item, list) and all(
        isinstance(entry, dict) and any(key in entry for key in keys) for entry in item
    )


def entries(item: Any) -> list[dict[str, Any]]:
    """Read a list of objects, one alone as a list of one; raises Malformed."""
    listed = [item] if isinstance(item, dict) else item
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise Malformed("it is not a list of objects")
    return listed
