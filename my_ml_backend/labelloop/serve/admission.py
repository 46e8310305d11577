"""How many requests may be at work, and how many may wait for it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from labelloop.serve.errors import NotReady


class Admission:
    """Lets ``working`` requests compute at a time and ``present`` be there at all; turns away what is beyond that.

    Each at work holds a picture and the network's memory for it, and a server whose every thread waits cannot answer
    /ping. Safe to share between threads.
    """

    def __init__(self, working: int, present: int) -> None:
        self.working = working
        self._present = threading.BoundedSemaphore(present)
        self._working = threading.BoundedSemaphore(working)

    @contextmanager
    def present(self) -> Iterator[None]:
        """Hold a place in the house; raises NotReady when there is none."""
        if not self._present.acquire(blocking=False):
            raise NotReady("the server is busy; ask again in a moment")
        try:
            yield
        finally:
            self._present.release()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Wait for a place to compute, and hold it."""
        with self._working:
            yield
