"""The state of a version, read off the store's objects (docs/versions.md, "States")."""

from typing import Literal

from labelloop.models.champion import Pointers
from labelloop.models.versions import VersionRecord

State = Literal["trained", "rejected", "published", "champion", "announced", "retired"]


def state_of(version: str, record: VersionRecord | None, pointers: Pointers) -> State:
    """Derive the state; ``record`` is None for a version that is claimed and not published."""
    if record is None:
        return "trained"
    if version == pointers.announced:
        return "announced"
    if version == pointers.champion:
        return "champion"
    if any(version == reign.version for reign in pointers.history):
        return "retired"
    return "published" if record.promoted else "rejected"
