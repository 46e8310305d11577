"""Waiting for a condition, but not for ever."""

import threading
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = 60.0) -> None:
    """Wait for a condition; fails saying ``what`` did not come (a function is asked only then)."""
    pause, give_up = threading.Event(), time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        pause.wait(0.02)
