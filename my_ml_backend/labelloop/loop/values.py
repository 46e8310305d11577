"""What ``LabelLoop.get`` and ``set`` keep: text by key and project, shared by all processes through Redis."""

from labelloop.loop import keys
from labelloop.loop.hub import Hub
from labelloop.loop.redis_client import text


def get_value(hub: Hub, project_id: str, key: str) -> str | None:
    """Read a value; None when it was never set. Raises QueueError."""
    found = hub.redis.hget(keys.values(hub.project(0).instance, project_id), key)
    return None if found is None else text(found)


def set_value(hub: Hub, project_id: str, key: str, value: str) -> None:
    """Write a value. Raises QueueError."""
    hub.redis.hset(keys.values(hub.project(0).instance, project_id), key, value)
