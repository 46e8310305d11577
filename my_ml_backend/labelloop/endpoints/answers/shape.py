"""Describing the shape of an unknown answer without its values, which may be anybody's."""

from collections.abc import Sequence
from typing import Any

from labelloop.endpoints.answers.values import is_number
from labelloop.endpoints.reason import one_line

_MOST_KEYS = 12
_LONGEST_KEY = 40


def describe(value: Any, depth: int = 4) -> str:
    """Say what a JSON value is: ``a list of 2 objects with keys id: text, conf: number``."""
    if isinstance(value, bytes):
        return "a PNG picture"
    if isinstance(value, dict):
        return f"an object {_keys(value, depth)}" if value else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)} {_plural(value, depth)}" if value else "an empty list"
    return {"text": "a text", "number": "a number"}.get(_kind(value, depth), _kind(value, depth))


def _kind(value: Any, depth: int) -> str:
    if isinstance(value, dict | list):
        return describe(value, depth - 1) if depth > 1 else ("an object" if isinstance(value, dict) else "a list")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "number" if is_number(value) else "text"


def _plural(values: Sequence[Any], depth: int) -> str:
    """Describe the entries of a list by the first; only whether the others are of its kind is looked at."""
    first = values[0]
    if any(_family(value) != _family(first) for value in values):
        return f"values of several kinds, the first {describe(first, depth - 1)}"
    if isinstance(first, dict):
        return f"object{_s(values)} {_keys(first, depth)}" if first else f"empty object{_s(values)}"
    if isinstance(first, list):
        inner = f" of {len(first)} {_plural(first, depth - 1)}" if first and depth > 1 else ""
        return f"list{_s(values)}{inner}"
    return f"{_family(first)}{_s(values)}"


def _keys(value: dict[str, Any], depth: int) -> str:
    shown = [f"{one_line(str(key)[:_LONGEST_KEY])}: {_kind(value[key], depth)}" for key in list(value)[:_MOST_KEYS]]
    more = f" and {len(value) - _MOST_KEYS} more" if len(value) > _MOST_KEYS else ""
    return f"with keys {', '.join(shown)}{more}"


def _family(value: Any) -> str:
    if isinstance(value, dict | list):
        return "object" if isinstance(value, dict) else "list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    return "number" if is_number(value) else "text"


def _s(values: Sequence[Any]) -> str:
    return "" if len(values) == 1 else "s"
