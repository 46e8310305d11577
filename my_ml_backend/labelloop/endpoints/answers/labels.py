"""Hugging Face classification: ``[{"label", "score"}, ...]``, or one of them alone."""

from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.classified import classified
from labelloop.endpoints.answers.format import entries
from labelloop.endpoints.answers.values import class_name, score
from labelloop.types import Output


class Labels:
    """The answer format ``labels``."""

    name = "labels"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is one or more objects with a label and a score and no place."""
        if isinstance(item, list):
            return bool(item) and all(map(_is_label, item))
        return _is_label(item)

    def read(self, item: Any, one: One) -> Output:
        """Read one input's classes; see ``classified`` for single and multiple. Raises Malformed."""
        pairs = [(class_name(entry.get("label"), one), score("score", entry.get("score"))) for entry in entries(item)]
        return classified(pairs, one.version)


def _is_label(entry: Any) -> bool:
    return (
        isinstance(entry, dict) and "label" in entry and "score" in entry and "box" not in entry and "mask" not in entry
    )
