"""Short notes about a project for ``status`` to show: what is missing, what went wrong last."""

import time

from labelloop.loop import keys
from labelloop.loop.hub import Hub
from labelloop.loop.redis_client import text
from labelloop.types import ProjectKey


def write_note(hub: Hub, project: ProjectKey, name: str, sentence: str) -> None:
    """Note a sentence under ``missing`` or ``trouble``; an empty one takes the note away. Raises QueueError."""
    key = keys.of(project, "note")
    if sentence:
        hub.redis.hset(key, name, f"{time.time():.3f} {sentence}")
    else:
        hub.redis.hdel(key, name)


def read_notes(hub: Hub, project: ProjectKey) -> dict[str, str]:
    """Read all notes of a project, without their moments. Raises QueueError."""
    found = hub.redis.hgetall(keys.of(project, "note"))
    return {text(name): text(value).partition(" ")[2] for name, value in found.items()}
