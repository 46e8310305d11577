"""How often annotators keep what the announced version predicts, task by task, in Redis.

Each task counts as it was read last, so that an edit replaces what was counted before; one whose annotations were all
deleted stays counted. A wiped Redis is counted anew from the version's beginning.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from labelloop.data.site import Judged
from labelloop.loop.redis_client import RedisClient, as_text
from labelloop.types import chunks

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Agreed:
    """Of a version: how many annotations ``begun`` with its predictions, and how many of them ``kept`` what they say.

    Tasks are not chosen at random: those that a version is least certain of are annotated first.
    """

    version: str
    begun: int
    kept: int

    @property
    def share(self) -> float:
        """The share that was kept."""
        return self.kept / self.begun


class Agreement:
    """What is counted of one project's announced version."""

    def __init__(self, redis: RedisClient, key: str) -> None:
        self._redis, self._key = redis, key

    def begin(self, version: str, began: Callable[[], str]) -> tuple[str, str]:
        """Count for a version, from nothing where it is another one; gives since when, and what was ``seen`` last.

        ``began`` tells when another one began, as ``Site.judged`` takes it.
        """
        stored = [as_text(one or b"") for one in self._redis.hmget(self._key, ["version", "since", "seen"])]
        if stored[0] == version:
            return stored[1], stored[2]
        since = began()
        self._redis.delete(self._key)
        self._redis.hset(self._key, mapping={"version": version, "since": since})
        return since, ""

    def note(self, judged: Iterable[Judged], version: str, since: str, seen: str) -> None:
        """Replace what is known of these tasks; ``seen`` is what told that there are any."""
        for some in chunks(judged, _AT_ONCE):
            since = max(since, *(one.at for one in some))
            kept = {one.task: [begun.kept for begun in one.begun if begun.version == version] for one in some}
            self._redis.hset(
                self._key, mapping={f"t{task}": f"{len(counted)} {sum(counted)}" for task, counted in kept.items()}
            )
        self._redis.hset(self._key, mapping={"since": since, "seen": seen})

    def read(self) -> Agreed | None:
        """Say how annotators agree with the version that is counted for; None while none of them has said."""
        found = {as_text(name): as_text(value) for name, value in self._redis.hgetall(self._key).items()}
        counts = [value.split() for name, value in found.items() if name.startswith("t")]
        begun = sum(int(one) for one, _ in counts)
        return Agreed(found["version"], begun, sum(int(one) for _, one in counts)) if begun else None
