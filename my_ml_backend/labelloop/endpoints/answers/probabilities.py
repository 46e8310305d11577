"""A list of probabilities, one for each class of the model, as SageMaker image classification answers.

They must be probabilities: raw outputs of a network (logits) are refused, because whether they want a softmax or a
sigmoid cannot be seen in them.
"""

from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.classified import classified
from labelloop.endpoints.answers.values import ROUNDING, Malformed, is_number, score
from labelloop.types import Output


class Probabilities:
    """The answer format ``probabilities``."""

    name = "probabilities"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:
        """Whether it is a list of several numbers, or of as many as there are classes."""
        return isinstance(item, list) and len(item) >= min(2, len(classes) or 2) and all(map(is_number, item))

    def read(self, item: Any, one: One) -> Output:
        """Give the numbers the names of the classes. Raises Malformed."""
        if not isinstance(item, list) or not item or not all(map(is_number, item)):
            raise Malformed("it is not a list of numbers")
        if not one.classes:
            raise Malformed(
                f"it is a list of {len(item)} numbers: set the {len(item)} classes that they are for, in the model's "
                "order, with LABELLOOP_CLASSES, or classes in extra_params"
            )
        if len(item) != len(one.classes):
            raise Malformed(f"it is a list of {len(item)} numbers, and classes lists {len(one.classes)}")
        if not all(-ROUNDING <= value <= 1 + ROUNDING for value in item):
            raise Malformed(
                "its numbers are not all between 0 and 1: let the endpoint answer probabilities, not logits"
            )
        return classified(
            ((name, score(name, value)) for name, value in zip(one.classes, item, strict=True)), one.version
        )
