"""A service behind a circuit breaker, with a bound on how many calls run at a time, and with retries.

An endpoint that keeps failing is left alone for a while; callers are answered at once.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from labelloop.endpoints.base import Call, Service, Told
from labelloop.endpoints.failures import Busy, Late, Refused, TooSlow, Unwell
from labelloop.endpoints.requests.format import Body
from labelloop.errors import CircuitOpen
from labelloop.types import Input, Target


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


T = TypeVar("T")

FIRST_PAUSE = 0.25
"""Seconds before a second try, where the endpoint names none; doubles with each, give or take a half."""


class Guarded:
    """Makes calls in the calling thread, ``concurrency`` at a time; ``timeout``: seconds for one with its retries."""

    def __init__(self, service: Service, breaker: Breaker, concurrency: int, timeout: float) -> None:
        self.service = service
        self._breaker = breaker
        self._slots = threading.BoundedSemaphore(concurrency)
        self._timeout = timeout

    def call(
        self, inputs: Sequence[Input], body: Body, target: Target, deadline: float | None, read: Callable[[Told], T]
    ) -> T:
        """Make one call and ``read`` its answer. Raises Refused, Unwell, Late, or CircuitOpen."""
        with self._slot(deadline):
            now = time.monotonic()
            until = now + self._timeout if deadline is None else min(now + self._timeout, deadline)
            if until <= now:
                raise Late("deadline")
            self._breaker.admit()
            try:
                answer = self._insist(Call(inputs, body, target, until), read)
            except Refused:
                self._breaker.succeeded()
                raise
            except Unwell as unwell:
                if isinstance(unwell, TooSlow) and deadline is not None and time.monotonic() >= deadline:
                    raise Late("deadline") from None
                self._breaker.failed(str(unwell))
                raise
            self._breaker.succeeded()
            return answer

    @contextmanager
    def _slot(self, deadline: float | None) -> Iterator[None]:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._slots.acquire(timeout=left):
            raise Late("deadline")
        try:
            yield
        finally:
            self._slots.release()

    def _insist(self, call: Call, read: Callable[[Told], T]) -> T:
        """Try as often as each failure is worth, while there is time and nobody else has opened the breaker."""
        for tried in itertools.count(1):
            try:
                return read(self.service.call(call))
            except Unwell as unwell:
                pause = _pause(unwell, tried)
                if tried >= unwell.tries or time.monotonic() + pause >= call.until or self._is_open():
                    raise
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _is_open(self) -> bool:
        """Tell whether the breaker is open; it is while a probe is under way, so that a probe is one call."""
        try:
            self._breaker.peek()
        except CircuitOpen:
            return True
        return False


def _pause(unwell: Unwell, tried: int) -> float:
    """Seconds before the next try; a connection that broke is replaced at once."""
    if not isinstance(unwell, Busy):
        return 0.0
    if unwell.pause is not None:
        return unwell.pause
    return FIRST_PAUSE * 2.0 ** (tried - 1) * random.uniform(0.5, 1.5)
