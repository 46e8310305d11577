"""What ``LabelLoop.get`` and ``set`` keep: text by key and project, shared by all processes through Redis."""

from labelloop.loop import keys
from labelloop.loop.hub import Hub
from labelloop.loop.redis_client import text
from labelloop.types import ProjectKey


def get_value(hub: Hub, owner: ProjectKey | str, key: str) -> str | None:
    """Read a value of a project, or of what else ``owner`` names; None when it was never set. Raises QueueError."""
    found = hub.redis.hget(_hash(hub, owner), key)
    return None if found is None else text(found)


def set_value(hub: Hub, owner: ProjectKey | str, key: str, value: str) -> None:
    """Write a value. Raises QueueError."""
    hub.redis.hset(_hash(hub, owner), key, value)


def _hash(hub: Hub, owner: ProjectKey | str) -> str:
    if isinstance(owner, ProjectKey):
        return keys.values(owner.instance, str(owner.id))
    return keys.values(hub.addresses[0], owner)
