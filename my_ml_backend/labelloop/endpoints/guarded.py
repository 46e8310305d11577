"""A service behind a circuit breaker, with a bound on how many calls run at a time, and with retries."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from labelloop.endpoints.breaker import Breaker
from labelloop.endpoints.failures import Busy, Late, Refused, TooSlow, Unwell
from labelloop.endpoints.requests.formats import Body
from labelloop.endpoints.service import Call, Service, Told
from labelloop.errors import CircuitOpen
from labelloop.types import Input, Target

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
