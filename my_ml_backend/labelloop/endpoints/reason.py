"""Finding the words of an error answer, whoever wrote it."""

import json
from typing import Any

_LONGEST = 300
_KEYS = ("error", "message", "Message", "detail")


def reason_of(content: bytes | str) -> str:
    """What an error answer says, as one short printable line; empty when it says nothing.

    Known forms: ``{"error": "..."}`` (LabelLoop, Hugging Face), ``{"error": {"message": "..."}}`` (Google),
    ``{"message": "..."}`` (AWS), ``{"detail": "..."}`` (FastAPI).
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    return _words(answer)


def one_line(text: object) -> str:
    """Make a short printable line of a foreign text; empty for anything else."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in text[:_LONGEST]).strip()


def _words(answer: Any, depth: int = 2) -> str:
    if not isinstance(answer, dict) or depth == 0:
        return one_line(answer)
    return next((words for key in _KEYS if (words := _words(answer.get(key), depth - 1))), "")
