"""The store's small JSON objects, as dataclasses."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from labelloop.errors import Damaged

_log = logging.getLogger(__name__)

T = TypeVar("T")


def now() -> str:
    """Tell the time as the store's records do: UTC, ISO 8601, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def to_bytes(record: Any) -> bytes:
    """Write a dataclass as JSON; raises ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(asdict(record), indent=2, allow_nan=False).encode()


def from_bytes(kind: type[T], content: bytes, path: str) -> T:
    """Read a dataclass back; fields of newer releases are passed over. Raises Damaged naming the object."""
    try:
        raw = json.loads(content)
        known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
        given = {name: value for name, value in raw.items() if name in known}
        _require_types(kind, given)
        return kind(**given)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{path} is damaged ({error}): restore it from a backup of the store, or remove it") from error


def readable(kind: type[T], content: bytes, path: str) -> T | None:
    """Read a dataclass that is written anew where it is damaged: until then it counts as missing, which is logged."""
    try:
        return from_bytes(kind, content, path)
    except Damaged as error:
        _log.warning("%s; until then it counts as missing", error)
        return None


def _require_types(kind: type, given: Mapping[str, object]) -> None:
    """Raise TypeError for a value that is not of its field's type; what containers hold is not looked at."""
    hints = get_type_hints(kind)
    for name, value in given.items():
        if not isinstance(value, _classes(hints[name])):
            raise TypeError(f"{name} is {type(value).__name__}")


def _classes(hint: Any) -> tuple[type, ...]:
    """Give the classes that JSON has for a field's type: any, where the type is none of the simple ones."""
    if isinstance(hint, UnionType):
        return tuple(one for part in get_args(hint) for one in _classes(part))
    if hint is float:
        return int, float
    return (hint,) if hint in (str, int, bool, type(None)) and get_origin(hint) is None else (object,)
