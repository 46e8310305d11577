"""Waiting for a condition, but not for ever."""

import threading
import time
from collections.abc import Callable

_SHORTEST, _LONGEST = 0.02, 1.0
"""Seconds between two looks."""


def wait_until(condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = 60.0) -> None:
    """Wait for a condition; fails saying ``what`` did not come (a function is asked only then).

    A look that takes long leaves as much time to what is waited for, which is done on the same machine.
    """
    pause, give_up = threading.Event(), time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        if now > give_up:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        pause.wait(min(max(now - begun, _SHORTEST), _LONGEST))
