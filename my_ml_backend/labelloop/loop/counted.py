"""What is counted of a project between two times that figures are sent, in Redis."""

from labelloop.loop.redis_client import RedisClient, as_text, may_be_lost


class Counted:
    """One project's counts. A wiped Redis loses them, and the last run is told once more."""

    def __init__(self, redis: RedisClient, key: str) -> None:
        self._redis, self._key = redis, key

    def endpoint_failed(self) -> None:
        """Count one call that the endpoint did not answer."""
        with may_be_lost(f"an endpoint error ({self._key})"):
            self._redis.hincrby(self._key, "errors", 1)

    def endpoint_errors(self) -> int:
        """Say how many such calls there were that ``told`` has not taken away."""
        return int(self._read("errors") or 0)

    def outcome(self) -> str:
        """Read how the last run ended that figures were sent of; empty where none were."""
        return self._read("outcome")

    def told(self, outcome: str, errors: int) -> None:
        """Note that figures were sent: how the last run ended, and so many endpoint errors."""
        if outcome:
            self._redis.hset(self._key, "outcome", outcome)
        if errors:
            self._redis.hincrby(self._key, "errors", -errors)

    def _read(self, name: str) -> str:
        found = self._redis.hget(self._key, name)
        return "" if found is None else as_text(found)
