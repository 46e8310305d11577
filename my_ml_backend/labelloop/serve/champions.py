"""Following the champion pointer of many projects, without asking the store for every request."""

import logging
import threading
import time
from collections.abc import Callable

from labelloop.errors import StoreError
from labelloop.types import ProjectKey

log = logging.getLogger(__name__)


class _Seen:
    """What was last read for one project."""

    def __init__(self) -> None:
        self.reading = threading.Lock()
        self.version: str | None = None
        self.at = float("-inf")


class Champions:
    """Remembers each project's champion for ``fresh`` seconds; ``read`` asks the store. Safe to share between threads.

    While one request reads anew, the others go on with what is known; a store that fails leaves the known champion.
    """

    def __init__(
        self,
        read: Callable[[ProjectKey], str | None],
        fresh: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._fresh = fresh
        self._clock = clock
        self._lock = threading.Lock()
        self._projects: dict[ProjectKey, _Seen] = {}

    def current(self, project: ProjectKey) -> str | None:
        """Name the project's champion; None when it has none. Raises StoreError when nothing is known yet."""
        with self._lock:
            seen = self._projects.get(project)
        if seen is None:
            return self._first(project)
        if self._clock() - seen.at >= self._fresh and seen.reading.acquire(blocking=False):
            try:
                self._renew(project, seen)
            finally:
                seen.reading.release()
        return seen.version

    def _first(self, project: ProjectKey) -> str | None:
        """Read a project that is not known; one without a champion stays unknown, whatever names are tried."""
        seen = _Seen()
        seen.version, seen.at = self._read(project), self._clock()
        if seen.version is not None:
            with self._lock:
                self._projects.setdefault(project, seen)
        return seen.version

    def _renew(self, project: ProjectKey, seen: _Seen) -> None:
        try:
            seen.version = self._read(project)
        except StoreError as error:
            log.warning("the champion of %s stays %s: %s", project, seen.version, error)
        seen.at = self._clock()
