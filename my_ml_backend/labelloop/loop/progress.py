"""What is being done for a project, and how the process died that did it, in Redis: whoever asks is told of it."""

import json
from dataclasses import asdict, dataclass

from labelloop.loop.redis_client import RedisClient, as_text, key_of, may_be_lost, of_run
from labelloop.types import ProjectKey

_KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class StageProgress:
    """One moment of a run: the stage, what in it, how many of how many (0: unknown), since when (Unix seconds).

    What goes on ``elsewhere`` needs no worker to be true.
    """

    stage: str
    what: str
    done: int
    total: int
    since: float
    at: float
    elsewhere: bool = False


class RunProgress:
    """That of one project, or of its ``challenger``; found at ``ProjectState.progress``."""

    def __init__(self, redis: RedisClient, project: ProjectKey, *, challenger: bool) -> None:
        self._redis, self._project, self._challenger = redis, project, challenger

    def tell(self, step: StageProgress | None) -> None:
        """Tell what a worker is doing; None when it is done."""
        with may_be_lost(f"progress of project {self._project}"):
            if step is None:
                self._redis.delete(self._key("progress"))
            else:
                told = asdict(step)
                if not step.elsewhere:
                    # As releases read it that know no other way.
                    del told["elsewhere"]
                self._redis.set(self._key("progress"), json.dumps(told), ex=_KEPT_SECONDS)

    def step(self) -> StageProgress | None:
        """Read what is being done; None when no worker has the project: a killed one leaves its last step."""
        found = self._last()
        return found if found and (found.elsewhere or self._redis.exists(self._key("lease"))) else None

    def note_death(self, how: str) -> None:
        """Note that the process of a run ended by itself (``how``), and where; the run's next attempt counts it."""
        step = self._last()
        self._redis.set(self._key("died"), f"{how} in stage {step.stage if step else 'begin'}")

    def death(self) -> str:
        """Say how a run's process died; empty where none did since the last attempt began."""
        found = self._redis.get(self._key("died"))
        return as_text(found) if found else ""

    def forget_death(self) -> None:
        """A run's record counts it now."""
        self._redis.delete(self._key("died"))

    def _last(self) -> StageProgress | None:
        found = self._redis.get(self._key("progress"))
        return StageProgress(**json.loads(found)) if found else None

    def _key(self, name: str) -> str:
        return key_of(self._project, of_run(name, challenger=self._challenger))
