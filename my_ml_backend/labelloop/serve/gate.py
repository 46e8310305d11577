"""Which threads answer which route of the inference server, and how large its body may be."""

from wsgiref.types import WSGIEnvironment

from labelloop.front.gate import INLINE, Way, too_large
from labelloop.settings import Settings

_BODIES = 4
"""Bodies of the largest size that may be in memory at a time."""


class ServeGate:
    """The gate of the inference server: ``inline`` are the routes that are answered beside all threads."""

    def __init__(self, settings: Settings, threads: int, inline: frozenset[str]) -> None:
        self._inline = inline
        self._limit = settings.body_max_bytes
        self.pools = {"predict": threads}
        self.client_seconds = settings.client_seconds
        self.bodies_bytes = _BODIES * settings.body_max_bytes

    def way(self, environ: WSGIEnvironment) -> Way:
        """Choose by path; nobody is asked who they are."""
        pool = INLINE if environ["PATH_INFO"] in self._inline else "predict"
        return Way(pool, self._limit, too_large(self._limit, "LABELLOOP_BODY_MAX_BYTES"))
