"""The store's small JSON objects, as dataclasses."""

import json
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from labelloop.errors import StoreError

T = TypeVar("T")


def now() -> str:
    """Tell the time as the store's records do: UTC, ISO 8601, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def to_bytes(record: Any) -> bytes:
    """Write a dataclass as JSON; raises ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(asdict(record), indent=2, allow_nan=False).encode()


def from_bytes(kind: type[T], content: bytes, path: str) -> T:
    """Read a dataclass back; fields of newer releases are passed over. Raises StoreError naming the object."""
    try:
        raw = json.loads(content)
        known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
        return kind(**{name: value for name, value in raw.items() if name in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}): restore it from a backup of the store, or remove it") from error
