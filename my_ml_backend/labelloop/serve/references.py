"""Fetching the pictures that a request only names by their address, with this container's own identity."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from labelloop.errors import LabelLoopError
from labelloop.settings import Settings
from labelloop.sources.buckets import Buckets, require_listed
from labelloop.types import Failure

if TYPE_CHECKING:
    from labelloop.sources.reader import Reader

FETCHES = 32
"""Pictures fetched at a time, over all requests."""
SECONDS = 60.0
"""After how long a request begins no more fetches: no client of either cloud waits longer by default."""

_SCHEMES = ("s3://", "gs://", "https://", "http://")


class References:
    """Reads s3:// and gs:// with this container's identity, http(s):// without any and from public addresses alone.

    Where settings say so, from private ones too.
    What one request fetches may together be as large as a body. Safe to share between threads, not between processes.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._buckets = Buckets(settings)
        self._pool = ThreadPoolExecutor(FETCHES, "fetch")
        self._opening = threading.Lock()
        self._reader: Reader | None = None

    def read(self, uris: Sequence[str]) -> list[bytes | Failure]:
        """Fetch all concurrently: each picture's bytes, in order, or why there are none (without signed parts)."""
        allowance = _Allowance(self._settings.body_max_bytes)
        return list(self._pool.map(lambda uri: self._read(uri, allowance), uris))

    def close(self) -> None:
        """End the threads and close the connections."""
        self._pool.shutdown()
        if self._reader is not None:
            self._reader.close()

    def _read(self, uri: str, allowance: "_Allowance") -> bytes | Failure:
        if not uri.lower().startswith(_SCHEMES):
            return Failure(f'"uri" must begin with {", ".join(_SCHEMES)}')
        refusal = allowance.refusal()
        if refusal is not None:
            return refusal
        try:
            require_listed(self._buckets, self._settings, uri)
            content = self._open().read(uri)
        except LabelLoopError as error:
            return Failure(str(error))
        return allowance.take(content)

    def _open(self) -> "Reader":
        """Make the reader when it is first needed: what it imports costs a second and memory."""
        with self._opening:
            if self._reader is None:
                from labelloop.sources.reader import Reader

                self._reader = Reader(self._settings)
            return self._reader


class _Allowance:
    """What one request may still fetch, in bytes and in time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit
        self._deadline = time.monotonic() + SECONDS
        self._taking = threading.Lock()

    def refusal(self) -> Failure | None:
        """Say why nothing more is fetched, if so."""
        if self._left <= 0:
            return self._too_large()
        if time.monotonic() > self._deadline:
            return Failure(f"it was not fetched: those before it took {SECONDS:g} s; ask for fewer at a time")
        return None

    def take(self, content: bytes) -> bytes | Failure:
        """Let a picture through if there is room for it."""
        with self._taking:
            self._left -= len(content)
            return content if self._left >= 0 else self._too_large()

    def _too_large(self) -> Failure:
        return Failure(
            f"the pictures of the request are together larger than {self._limit} bytes (LABELLOOP_BODY_MAX_BYTES); "
            "ask for fewer at a time"
        )
