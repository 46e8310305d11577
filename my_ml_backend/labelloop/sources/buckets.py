"""Which objects of clouds a task may name: they are read with this machine's identity, and anybody may import a task.

Those in the buckets of the project's own source storages, which Label Studio shows annotators anyway, and those that
the operator lists. All else is left to Label Studio, which resolves what its storages may read.
"""

import time
from collections.abc import Callable

from labelloop.errors import MediaError, Outage, StudioError, Transient
from labelloop.settings import Settings

CLOUDS = ("s3://", "gs://")

_KNOWN_SECONDS = 300.0
_UNKNOWN_SECONDS = 30.0
_MOST = 1000
"""Projects whose buckets are kept in mind."""

ProjectBuckets = Callable[[int], frozenset[str]]
"""Gives the buckets of a project's source storages, ``s3://bucket``; raises StudioError."""


class Buckets:
    """What may be read of clouds for a task of a project. Safe to share between threads."""

    def __init__(self, settings: Settings, of_project: ProjectBuckets | None = None) -> None:
        self._listed = settings.buckets
        self._of_project = of_project
        self._known: dict[int, tuple[float, frozenset[str]]] = {}

    def lists(self, uri: str) -> bool:
        """Whether the operator has listed an object's bucket, or a folder above it."""
        return any(one == "*" or uri.startswith(f"{one.rstrip('/')}/") for one in self._listed)

    def opens(self, uri: str, project: int) -> bool:
        """Whether an object may be read for a task of this project; raises Transient where that is not known yet."""
        return self.lists(uri) or _bucket(uri) in self._buckets(project)

    def _buckets(self, project: int) -> frozenset[str]:
        """Ask now and then; what was known stands while Label Studio is away, and what it refuses is none."""
        if self._of_project is None:
            return frozenset()
        until, found = self._known.get(project, (0.0, None))
        if found is not None and time.monotonic() < until:
            return found
        seconds = _KNOWN_SECONDS
        try:
            found = self._of_project(project)
        except Outage as error:
            if found is None:
                raise Transient(f"whether its bucket is one of the project's is not known: {error}") from error
            seconds = _UNKNOWN_SECONDS
        except StudioError:
            found, seconds = frozenset(), _UNKNOWN_SECONDS
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[project] = time.monotonic() + seconds, found
        return found


def refusal(uri: str) -> str:
    """Say why an object is not read, and what to do."""
    bucket = _bucket(uri)
    return (
        f"{bucket} is neither a bucket of the project's source storages nor one of LABELLOOP_BUCKETS: connect it in "
        f"Label Studio (Settings > Cloud Storage), or add {bucket} there"
    )


def require_listed(buckets: Buckets, settings: Settings, uri: str) -> None:
    """Raise MediaError for an object that nobody listed, where anything is listed at all."""
    if settings.buckets and uri.startswith(CLOUDS) and not buckets.lists(uri):
        raise MediaError(f"{_bucket(uri)} is none of LABELLOOP_BUCKETS: add it there if it may be read")


def _bucket(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
