"""The tasks that wait for predictions of a version, listed when they are asked for, or while the version is trained.

While a run trains its tool has nothing to do. All tasks that wait for an annotator will wait for its version, whatever
that is called. So they are listed meanwhile, and the version does not wait for that. A task that is annotated meanwhile
may still get a prediction, one whose annotation is deleted meanwhile gets it with the next version; a webhook tells of
new tasks.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from types import TracebackType
from typing import Self

from labelloop.data.site import Sampling, Site
from labelloop.tracing import DOING
from labelloop.types import Json

_log = logging.getLogger(__name__)

_LISTED, _PLACES, _EACH = 5000, 8, 250
"""Beyond so many waiting tasks those that need no call of an endpoint are not listed: a sample of them is so many from
each of so many places, which chance chooses."""

MOST_BYTES = 64_000_000
"""Of tasks, or of their predictions, that are held in memory."""

_FRESH = 30.0
"""Seconds: what was looked at longer ago is looked at again."""


def bytes_of(task: Json) -> int:
    """Say about how much memory a task takes."""
    return len(json.dumps(task))


class Waiting:
    """The tasks of a site that wait for a version. Each is asked for at first use; raises StudioError then."""

    def __init__(self, site: Site, version: str) -> None:
        self._site, self.version = site, version
        self._listed: list[Json] | None = None

    @cached_property
    def total(self) -> int:
        """About how many there are."""
        return self._site.count_waiting(self.version)

    @property
    def many(self) -> bool:
        """Whether they are so many that it takes the tool seconds to list them, or to import predictions."""
        return self.total > _LISTED

    @cached_property
    def sampling(self) -> Sampling:
        """In which order annotators get them."""
        return self._site.overview().sampling

    @cached_property
    def some(self) -> list[Json]:
        """Those of a few places, which chance chooses; none where only a list of all could tell."""
        return [*{task["id"]: task for task in self._site.some_waiting(self.version, _PLACES, _EACH)}.values()]

    def all(self) -> Iterator[Json]:
        """All of them, in order; those that were listed before, if they were."""
        return self.now() if self._listed is None else iter(self._listed)

    def now(self) -> Iterator[Json]:
        """All that wait now, in order."""
        return self._site.waiting(self.version)

    def look(self, ended: threading.Event) -> None:
        """Ask for what a version is announced by: of very many some, else all, as far as memory holds them."""
        if self.many:
            if self.sampling == "uncertainty":
                _ = self.some
            return
        _ = self.sampling
        listed, room = list[Json](), MOST_BYTES
        for task in self.now():
            room -= bytes_of(task)
            if room < 0 or ended.is_set():
                return
            listed.append(task)
        self._listed = listed


class EarlyLook:
    """Looks, in a thread of its own, at what waits in a site while a run is made; ends with the block.

    ``run`` is the run's key: it names no version, and decides what chance chooses.
    """

    def __init__(self, site: Site, run: str) -> None:
        self._waiting, self._began = Waiting(site, run), 0.0
        self._pool = ThreadPoolExecutor(1, "look", initializer=DOING.set, initargs=(DOING.get(),))
        self._looking: Future[None] | None = None
        self._ended = threading.Event()

    def begin(self) -> None:
        """Begin to look. From here on nothing of the run's version may be imported but by what is found."""
        self._began = time.monotonic()
        self._looking = self._pool.submit(self._waiting.look, self._ended)

    def found(self, version: str) -> Waiting | None:
        """Give what waits for the run's version; None where nobody has looked, that failed, or was long ago."""
        if self._looking is None:
            return None
        left = self._began + _FRESH - time.monotonic()
        try:
            self._looking.result(max(0.0, left))
        except Exception as error:  # noqa: BLE001 - border: whatever this look met, the version is to be announced
            self._ended.set()
            _log.info("what waits for %s is asked for again: %s", version, str(error) or type(error).__name__)
            return None
        if left <= 0:
            return None
        self._waiting.version = version
        return self._waiting

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking; an answer that is still to come is not waited for."""
        self._ended.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
