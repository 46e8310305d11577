"""The store's small JSON objects, as dataclasses; and changing one that others change too."""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from labelloop.errors import Conflict, Damaged, NotFound, StoreAway
from labelloop.models.store import Store, Versioned
from labelloop.retries import retries
from labelloop.types import T

_log = logging.getLogger(__name__)

_TRIES = 60
"""With the pauses below about ten seconds: far beyond what any number of workers on one project needs."""


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


def read_record(store: Store, path: str, kind: type[T]) -> T | None:
    """Read one object as a dataclass, None where there is none; raises Damaged."""
    found = find_object(store, path)
    return None if found is None else from_bytes(kind, found.content, path)


def readable_record(store: Store, path: str, kind: type[T]) -> T | None:
    """Read one object as a dataclass; None where there is none, or it is damaged, which is logged."""
    found = find_object(store, path)
    return None if found is None else readable(kind, found.content, path)


def update(store: Store, path: str, change: Callable[[bytes | None], bytes | None], tries: int = _TRIES) -> None:
    """Replace an object by what ``change`` makes of its content, as one atomic step.

    ``change`` gets None where there is no object yet, and answers None to leave all as it is. It is called again with
    newer content after a conflict, and may raise to give up. Raises StoreAway when others are faster ``tries`` times.
    """
    for _ in retries(tries, 0.001, most=0.15, spread=1.0):
        current = find_object(store, path)
        content = change(current.content if current else None)
        if content is None:
            return
        with suppress(Conflict):
            if current is None:
                store.create(path, content)
            else:
                store.swap(path, content, current.tag)
            return
    raise StoreAway(f"{path} is being changed by others all the time: see which processes write to this project")


def find_object(store: Store, path: str) -> Versioned | None:
    """Read one object; None where there is none."""
    try:
        return store.read(path)
    except NotFound:
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
