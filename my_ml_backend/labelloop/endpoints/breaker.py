"""The circuit breaker: an endpoint that keeps failing is left alone for a while; callers are answered at once."""

import threading
import time
from collections.abc import Callable

from labelloop.errors import CircuitOpen


class Breaker:
    """Counts failures in a row; opens after ``limit`` of them, and then lets one call through every ``rest`` seconds.

    Closed: every call is admitted. Open: none is, until ``rest`` seconds have passed; then one call is admitted as a
    probe, and the next one only after another rest. The first success closes it. Safe to share between threads.
    ``clock`` gives seconds and never goes back.
    """

    def __init__(
        self, name: str, *, limit: int = 5, rest: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._limit = limit
        self._rest = rest
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None
        self._reason = ""

    def peek(self) -> None:
        """Raise CircuitOpen if ``admit`` would, without using up the probe."""
        with self._lock:
            self._refuse()

    def admit(self) -> None:
        """Let one call through, or raise CircuitOpen. A call let through while open is the probe of this rest."""
        with self._lock:
            self._refuse()
            if self._open_until is not None:
                # A probe that never reports back must not keep the breaker open for ever: it only restarts the rest.
                self._open_until = self._clock() + self._rest

    def succeeded(self) -> None:
        """Note that the endpoint answered: forget its failures."""
        with self._lock:
            self._failures = 0
            self._open_until = None

    def failed(self, reason: str) -> None:
        """Note that the endpoint failed; ``reason`` is shown to those who are turned away."""
        with self._lock:
            self._failures += 1
            self._reason = reason
            if self._failures >= self._limit:
                self._open_until = self._clock() + self._rest

    def _refuse(self) -> None:
        if self._open_until is None:
            return
        left = self._open_until - self._clock()
        if left > 0:
            raise CircuitOpen(
                f"endpoint {self._name} failed {self._failures} times in a row and is left alone for "
                f"{left:.0f} s more; the last reason: {self._reason}"
            )
