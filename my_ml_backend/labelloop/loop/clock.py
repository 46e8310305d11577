"""What follows where the clock of the loop's machines is set back: what was to be over by now is not waited for again.

Redis keeps its time limits by that clock, and so are the moments that the loop notes. Until they come again no sweep
would be asked for, no project looked at, and the lease of a killed worker stand. All of it may be lost (docs/loop.md).
"""

import logging

from labelloop.loop.lease import LEASE_SECONDS
from labelloop.loop.redis_client import CLOCK, RedisClient, as_text, of_run

_log = logging.getLogger(__name__)

_LEAST_SECONDS = 60.0
"""Less than this is waited out: the clocks of two machines may differ."""

_LEASES = frozenset(of_run("lease", challenger=challenger) for challenger in (False, True))

_MOMENTS = frozenset({"changed", "seen", "swept", "moments", "traces"})
"""Keys that hold moments, and no time limit; the next sweep finds again what they say."""


def note_time(redis: RedisClient, now: float) -> None:
    """Note the moment (Unix seconds); where one was noted that is yet to come, forget what would wait for it."""
    before = redis.get(CLOCK)
    if before is not None and float(before) > now + _LEAST_SECONDS:
        _log.warning(
            "the clock was set back by %.0f s, or those of two workers differ as much: what the queue keeps until some "
            "moment is forgotten, and found again by the next sweep",
            float(before) - now,
        )
        _forget(redis)
    redis.set(CLOCK, repr(now))


def _forget(redis: RedisClient) -> None:
    """Delete what has a time limit, or moments; a lease ends in due time, unless its holder renews it."""
    least = int(LEASE_SECONDS * 1000)
    for key in redis.scan_iter("labelloop:*", count=1000):
        name, left = as_text(key).rpartition(":")[2], redis.pttl(key)
        if name in _LEASES:
            if left > least:
                redis.pexpire(key, least)
        elif left >= 0 or name in _MOMENTS:
            redis.delete(key)
