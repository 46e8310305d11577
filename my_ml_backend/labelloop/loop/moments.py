"""The moments at which jobs of projects are due: planned in one round trip, and kept until a worker makes jobs of them.

Of one job the earliest moment counts. Who plans what comes before all else pushes (Redis' pub/sub), so that nobody has
to ask again and again what is due (loop/waker.py).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.client import Pipeline, PubSub

from labelloop.loop.redis_client import RedisClient, as_text
from labelloop.types import ProjectKey

MOMENTS = "labelloop:moments"
_TRACES = "labelloop:moments:traces"
PUSHED = "labelloop:pushed"

# KEYS[1] the moments, KEYS[2] their traces, ARGV[1] a moment (Unix seconds), ARGV[2] what is due then, ARGV[3] its
# trace, ARGV[4] the channel. An earlier moment stays.
_PLAN = """
local planned = redis.call('zscore', KEYS[1], ARGV[2])
if planned and tonumber(planned) <= tonumber(ARGV[1]) then return end
redis.call('zadd', KEYS[1], ARGV[1], ARGV[2])
redis.call('hset', KEYS[2], ARGV[2], ARGV[3])
if redis.call('zrange', KEYS[1], 0, 0)[1] == ARGV[2] then redis.call('publish', ARGV[4], '') end
"""


@dataclass(frozen=True, slots=True)
class Planned:
    """A job that is due at some moment: the function's name, the project, what else it is given (JSON), its trace."""

    name: str
    project: ProjectKey
    more: tuple[Any, ...] = ()
    trace: str = ""

    @property
    def member(self) -> str:
        """Write it as the sorted set has it: what is planned twice is there once."""
        return json.dumps([self.name, str(self.project), *self.more], sort_keys=True)

    @classmethod
    def read(cls, member: bytes, trace: bytes | None) -> "Planned | None":
        """Read it back; None for what somebody else has put there."""
        try:
            name, project, *more = json.loads(member)
            return cls(str(name), ProjectKey.parse(project), tuple(more), as_text(trace or b""))
        except (ValueError, TypeError):
            return None


def plan(redis: RedisClient, job: Planned, at: float) -> None:
    """Plan a job for the moment ``at`` (Unix seconds), unless it is planned for an earlier one. Raises QueueError."""
    redis.eval(_PLAN, 2, MOMENTS, _TRACES, repr(at), job.member, job.trace, PUSHED)


def ask_when(pipe: Pipeline, job: Planned) -> None:
    """Ask for a job's moment, among what else is asked for; the answer is None where it is not planned."""
    pipe.zscore(MOMENTS, job.member)


def first(redis: RedisClient) -> float | None:
    """Say when something is due first (Unix seconds); None where nothing is planned."""
    found: Any = redis.zrange(MOMENTS, 0, 0, withscores=True)
    return float(found[0][1]) if found else None


def take_due(pipe: Pipeline, now: float) -> list[Planned]:
    """Take what is due by ``now`` out of the plan, with a transaction that fails (WatchError) where somebody else does.

    What the caller adds to it is done or not as one with this.
    """
    pipe.watch(MOMENTS)  # type: ignore[no-untyped-call]
    members: Any = pipe.zrangebyscore(MOMENTS, "-inf", repr(now))
    traces: Any = pipe.hmget(_TRACES, members) if members else []
    pipe.multi()
    _drop(pipe, members)
    return [job for job in map(Planned.read, members, traces) if job is not None]


def planned(redis: RedisClient, by: float = math.inf) -> list[Planned]:
    """Give all that is planned, or what is due by a moment (Unix seconds), first what is due first."""
    members: Any = redis.zrangebyscore(MOMENTS, "-inf", repr(by))
    return [job for member in members if (job := Planned.read(member, None)) is not None]


def forget(redis: RedisClient, project: ProjectKey) -> None:
    """Take what is planned of a project out of the plan."""
    with redis.pipeline() as pipe:
        _drop(pipe, [job.member for job in planned(redis) if job.project == project])
        pipe.execute()


def _drop(pipe: Pipeline, members: Sequence[bytes | str]) -> None:
    if members:
        pipe.zrem(MOMENTS, *members)
        pipe.hdel(_TRACES, *members)


def subscribe(redis: RedisClient) -> PubSub:
    """Listen for pushes: what is planned from now on, and comes before all else."""
    pushes: PubSub = redis.pubsub()  # type: ignore[no-untyped-call]
    pushes.subscribe(PUSHED)
    return pushes
