"""The sample of what was predicted lately that is kept in Redis, and by which drift is judged (loop/drift.py)."""

import json
from collections.abc import Iterable

from labelloop.loop.redis_client import RedisClient, as_text, key_of
from labelloop.types import ProjectKey, chunks
from labelloop.watch.sample import SIZE, Predicted, rounded, sampled

_KEPT_SECONDS = 90 * 24 * 3600
"""How long a sample stays to which nothing is added."""

_AT_ONCE = 100
"""Predictions in one command."""

# KEYS[1] ranks by picture, KEYS[2] predictions by picture, ARGV[1] how many are kept, ARGV[2] for how many seconds,
# then picture, rank and prediction in turn. Adds them and removes those whose ranks are too high.
_KEEP = """
for at = 3, #ARGV, 3 do
  redis.call('zadd', KEYS[1], ARGV[at + 1], ARGV[at])
  redis.call('hset', KEYS[2], ARGV[at], ARGV[at + 2])
end
for _, picture in ipairs(redis.call('zrange', KEYS[1], ARGV[1], -1)) do
  redis.call('zrem', KEYS[1], picture)
  redis.call('hdel', KEYS[2], picture)
end
redis.call('expire', KEYS[1], ARGV[2])
redis.call('expire', KEYS[2], ARGV[2])
"""


class Window:
    """The sample of a project's predictions since the last look at them; found at ``ProjectState.window``."""

    def __init__(self, redis: RedisClient, project: ProjectKey) -> None:
        self._redis, self._project = redis, project
        self._keys = key_of(project, "watched"), key_of(project, "predicted")

    def add(self, predicted: Iterable[Predicted]) -> None:
        """Add predictions; of all that were ever added, a random sample of SIZE pictures stays."""
        for some in chunks(sampled(predicted), _AT_ONCE):
            told = [part for one in some for part in (_named(one), one.rank, _written(one))]
            self._redis.eval(_KEEP, 2, *self._keys, SIZE, _KEPT_SECONDS, *told)

    def count(self) -> int:
        """Say how many predictions it holds."""
        return int(self._redis.zcard(self._keys[0]))

    def read(self) -> list[Predicted]:
        """Read them, in order of rank."""
        found = self._redis.hgetall(self._keys[1])
        return sampled(self._read(as_text(key), as_text(content)) for key, content in found.items())

    def remove(self, predicted: Iterable[Predicted]) -> None:
        """Take some of them out, so that others have their places."""
        if names := [_named(one) for one in predicted]:
            with self._redis.pipeline() as pipe:
                pipe.zrem(self._keys[0], *names)
                pipe.hdel(self._keys[1], *names)
                pipe.execute()

    def clear(self) -> None:
        """Begin anew."""
        self._redis.delete(*self._keys)

    def _read(self, key: str, content: str) -> Predicted:
        kept = json.loads(content)
        return Predicted(
            self._project, kept["version"], bytes.fromhex(key), kept["task"], kept["scores"], float(kept["at"])
        )


def _named(one: Predicted) -> str:
    return one.key[:16].hex()


def _written(one: Predicted) -> str:
    return json.dumps({"version": one.version, "task": one.task, "at": round(one.at, 1), "scores": rounded(one.scores)})
