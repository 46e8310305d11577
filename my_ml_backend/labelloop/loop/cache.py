"""Predictions made a moment ago, so that asking again costs no call of the endpoint."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from labelloop.types import Json

ENTRY_BYTES = 350
"""What one prediction takes beside its JSON: its key, its place in the dictionary, and what Python adds (measured)."""


class PredictionCache:
    """Keeps the predictions asked for last, ``most_bytes`` of memory in all, each for ``seconds``. 0 of either: none.

    A key names all that a prediction depends on: content, version, endpoint, label config. The time limit is for
    endpoints whose model changes behind the same name. Safe to share between threads.
    """

    def __init__(self, most_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, key: bytes) -> Json | None:
        """Give a prediction made before, None where there is none or it is too old."""
        with self._lock:
            until, content = self._kept.get(key, (0.0, b""))
            if not content or until <= self._clock():
                return None
            self._kept.move_to_end(key)
        found: Json = json.loads(content)
        return found

    def put(self, key: bytes, prediction: Json) -> None:
        """Keep a prediction; those asked for longest ago make room."""
        content = json.dumps(prediction).encode()
        if _size(content) > self._most_bytes or self._seconds <= 0:
            return
        with self._lock:
            if key in self._kept:
                self._bytes -= _size(self._kept.pop(key)[1])
            self._kept[key] = (self._clock() + self._seconds, content)
            self._bytes += _size(content)
            while self._bytes > self._most_bytes:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._bytes -= _size(dropped)


def _size(content: bytes) -> int:
    return len(content) + ENTRY_BYTES
