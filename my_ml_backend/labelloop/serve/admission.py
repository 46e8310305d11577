"""How many requests may be at work, and how many may wait for it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from labelloop.pictures import MAX_PIXELS
from labelloop.serve.refusal import NotReady

_BUSY = "the server is busy; ask again in a moment"


class PixelBudget:
    """Lets pictures of ``most`` pixels in all be at work at a time: decoded, each pixel takes four to eight bytes.

    Who comes first goes first; a picture beyond the budget is alone at work. Who waits longer than ``seconds`` is
    turned away. Safe to share between threads.
    """

    def __init__(self, most: int, seconds: float = 60.0) -> None:
        self._most, self._seconds = most, seconds
        self._turn = threading.Lock()
        self._free = threading.Condition()
        self._held = 0

    @contextmanager
    def holding(self, pixels: int) -> Iterator[None]:
        """Wait for room for so many pixels, and hold it; raises NotReady when none comes."""
        give_up = time.monotonic() + self._seconds
        if not self._turn.acquire(timeout=self._seconds):
            raise NotReady(_BUSY)
        try:
            with self._free:
                left = max(0.0, give_up - time.monotonic())
                if not self._free.wait_for(lambda: self._held == 0 or self._held + pixels <= self._most, left):
                    raise NotReady(_BUSY)
                self._held += pixels
        finally:
            self._turn.release()
        try:
            yield
        finally:
            with self._free:
                self._held -= pixels
                self._free.notify_all()


class Admission:
    """Lets ``working`` requests compute at a time and ``present`` be there at all; turns away what is beyond that.

    Each at work holds a picture and the network's memory for it, and a server whose every thread waits cannot answer
    /ping. Safe to share between threads.
    """

    def __init__(self, working: int, present: int) -> None:
        self.working = working
        self._present = threading.BoundedSemaphore(present)
        self._working = threading.BoundedSemaphore(working)
        self._pixels = PixelBudget(MAX_PIXELS)

    @contextmanager
    def present(self) -> Iterator[None]:
        """Hold a place in the house; raises NotReady when there is none."""
        if not self._present.acquire(blocking=False):
            raise NotReady(_BUSY)
        try:
            yield
        finally:
            self._present.release()

    @contextmanager
    def at_work(self, pixels: int = 0) -> Iterator[None]:
        """Wait for a place to compute on pictures of at most so many pixels, one after the other, and hold it."""
        with self._pixels.holding(pixels), self._working:
            yield
