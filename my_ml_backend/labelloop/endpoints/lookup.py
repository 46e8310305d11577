"""Looking credentials up: slowly, so by one thread for all, and not again at once when there are none."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from labelloop.endpoints.failures import Unwell

T = TypeVar("T")

REST = 5.0
"""Seconds for which a failure is repeated instead of the look-up, which may take as long where it finds nothing."""


class Lookup(Generic[T]):
    """What ``find`` gives, found when first asked for and again when it is no longer ``good``. Safe between threads.

    An Unwell that ``find`` raises is raised for all who ask within ``REST`` seconds. ``clock`` gives seconds.
    """

    def __init__(
        self,
        find: Callable[[], T],
        *,
        good: Callable[[T], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._good = good
        self._clock = clock
        self._lock = threading.Lock()
        self._found: T | None = None
        self._failure: Unwell | None = None
        self._failed_until = 0.0

    def get(self) -> T:
        """Give what was found. Raises what ``find`` raises."""
        with self._lock:
            if self._found is None or not self._good(self._found):
                self._found = self._look()
            return self._found

    def forget(self) -> None:
        """Find it anew when it is asked for next."""
        with self._lock:
            self._found = None

    def _look(self) -> T:
        if self._failure is not None and self._clock() < self._failed_until:
            raise type(self._failure)(str(self._failure))
        try:
            return self._find()
        except Unwell as failure:
            self._failure = failure.with_traceback(None)
            self._failed_until = self._clock() + REST
            raise
