"""Written words: a text, ``{"generated_text": "..."}`` (Hugging Face), ``{"text": "..."}`` (speech recognition)."""

from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.values import Malformed, optional_score, unicode_text
from labelloop.types import Findings, Region, Text

_KEYS = ("generated_text", "text", "translation_text", "summary_text", "answer")


class Texts:
    """The answer format ``text``."""

    name = "text"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - there are no classes
        """Whether it is a text, an object that holds one, or a list of such objects."""
        if isinstance(item, list):
            return bool(item) and all(isinstance(entry, dict) and _words(entry) is not None for entry in item)
        return _words(item) is not None

    def read(self, item: Any, one: One) -> Findings:
        """Read one input's text, the first of several. Raises Malformed."""
        first = item[0] if isinstance(item, list) and item else item
        words = _words(first)
        if words is None:
            raise Malformed("it holds no text")
        score = optional_score(first.get("score")) if isinstance(first, dict) else None
        return Findings((Region("", Text(unicode_text("text", words)), score),), one.version)


def _words(item: Any) -> str | None:
    if isinstance(item, dict):
        return next((item[key] for key in _KEYS if isinstance(item.get(key), str)), None)
    return item if isinstance(item, str) else None
