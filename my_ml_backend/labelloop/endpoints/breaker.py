"""A service behind a circuit breaker, with a bound on how many calls run at a time, and with retries.

An endpoint that keeps failing is left alone for a while; callers are answered at once. Inputs that it cannot bear are
no outage: before it is left alone for failures that inputs may be the reason of, a call that it has answered is made
once more.
"""

import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from labelloop.endpoints.base import Call, Service, Told
from labelloop.endpoints.failures import Busy, Late, Refused, TooSlow, Unwell
from labelloop.endpoints.requests.format import Body
from labelloop.errors import CircuitOpen
from labelloop.types import Input, Target


class Breaker:
    """Counts failures in a row; opens after ``limit`` of them, and then lets one call through every ``rest`` seconds.

    Closed: every call is admitted. Open: none is, until ``rest`` seconds have passed; then one call is admitted as a
    probe, and the next one only after another rest. The first success closes it. Where all but the last failure are
    there and somebody asks whether the endpoint is well, it opens by what comes of that. Safe to share between threads.
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
        self._asked_until = -math.inf
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
            self._asked_until = -math.inf

    def failed(self, reason: str, *, asks: bool = False) -> bool:
        """Note that the endpoint failed; ``reason`` is shown to those who are turned away.

        Gives whether the caller, who ``asks``, is to find out now whether the endpoint is well, and to note that:
        ``succeeded``, ``failed``, or ``unknown``.
        """
        with self._lock:
            self._failures += 1
            self._reason = reason
            now = self._clock()
            if asks and now >= self._asked_until and 1 < self._limit <= self._failures + 1:
                # One who never reports back must not keep it closed for ever: it does so only for a rest.
                self._asked_until = now + self._rest
                return True
            if not asks:
                self._asked_until = -math.inf
            self._open_if_due()
            return False

    def unknown(self) -> None:
        """Note that it was not found out whether the endpoint is well."""
        with self._lock:
            self._asked_until = -math.inf
            self._open_if_due()

    def _open_if_due(self) -> None:
        now = self._clock()
        if self._failures >= self._limit and now >= self._asked_until:
            self._open_until = now + self._rest

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

_KEPT_BYTES = 4_000_000
"""Most of a request that is kept to be sent once more."""

FIRST_PAUSE = 0.25
"""Seconds before a second try, where the endpoint names none; doubles with each, give or take a half."""


_Answered = tuple[Call, Callable[[Told], object]]
"""A call that was answered, and what reads its answer."""


class Guarded:
    """Makes calls in the calling thread, ``concurrency`` at a time; ``timeout``: seconds for one with its retries."""

    def __init__(self, service: Service, breaker: Breaker, concurrency: int, timeout: float) -> None:
        self.service = service
        self._breaker = breaker
        self._slots = threading.BoundedSemaphore(concurrency)
        self._timeout = timeout
        self._answered: _Answered | None = None

    def call(
        self, inputs: Sequence[Input], body: Body, target: Target, deadline: float | None, read: Callable[[Told], T]
    ) -> T:
        """Make one call and ``read`` its answer. Raises Refused, Unwell, Late, or CircuitOpen."""
        with self._slot(deadline):
            call = Call(inputs, body, target, self._until(deadline))
            self._breaker.admit()
            try:
                answer = self._insist(call, read)
            except Refused:
                self._breaker.succeeded()
                raise
            except Unwell as unwell:
                if isinstance(unwell, TooSlow) and deadline is not None and time.monotonic() >= deadline:
                    raise Late("deadline") from None
                if self._breaker.failed(str(unwell), asks=unwell.by_input and self.has_answered):
                    self.is_well(deadline)
                raise
            self._breaker.succeeded()
            if len(body.content) <= _KEPT_BYTES:
                self._answered = (call, read)
            return answer

    def _until(self, deadline: float | None) -> float:
        """Give when a call that begins now is over; raises Late when there is no time for one."""
        now = time.monotonic()
        until = now + self._timeout if deadline is None else min(now + self._timeout, deadline)
        if until <= now:
            raise Late("deadline")
        return until

    @property
    def has_answered(self) -> bool:
        """Whether there is a call that was answered."""
        return self._answered is not None

    def is_well(self, deadline: float | None) -> bool:
        """Make a call once more that was answered before; tell the breaker, too, whether the endpoint is well."""
        if self._answered is None:
            return False
        call, read = self._answered
        try:
            read(self.service.call(replace(call, until=self._until(deadline))))
        except Refused:
            pass
        except Late:
            self._breaker.unknown()
            return False
        except Unwell as unwell:
            if isinstance(unwell, TooSlow) and deadline is not None and time.monotonic() >= deadline:
                self._breaker.unknown()
            else:
                self._breaker.failed(str(unwell))
            return False
        self._breaker.succeeded()
        return True

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
