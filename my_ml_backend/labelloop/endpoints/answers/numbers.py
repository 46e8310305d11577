"""One number for each input: ``3.5``, ``{"value": 3.5}`` (Vertex AI), ``{"score": 3.5}`` (SageMaker linear learner)."""

from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.values import Malformed, is_number, number
from labelloop.types import Findings, Number, Region


class Numbers:
    """The answer format ``numbers``."""

    name = "numbers"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - there are no classes
        """Whether it is a number, or an object that holds one and nothing that could be a class."""
        return is_number(_value(item))

    def read(self, item: Any, one: One) -> Findings:
        """Read one input's number. Raises Malformed."""
        value = _value(item)
        if value is None:
            raise Malformed("it holds no number")
        return Findings((Region("", Number(number("value", value))),), one.version)


def _value(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return item["score"] if item.keys() == {"score"} else item.get("value")
