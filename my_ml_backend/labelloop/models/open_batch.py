"""The batch job that predicts a project's waiting tasks, and what the last one has shown (docs/loop.md)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from labelloop.errors import Fenced
from labelloop.models.records import readable, to_bytes, update
from labelloop.models.store import Store
from labelloop.types import ProjectKey


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """``batch.json``: the job's key and version, the endpoint's place, and how the job is known in its cloud.

    It is written before the job is begun: ``handle`` is empty until the cloud has given one. ``begun`` is when (Unix
    seconds), ``tasks`` how many waited then, ``sent`` how many of them went along. It is ``open`` until nothing is left
    of it in the cloud, which is removed when its answers are ``taken`` in. From then on it says why the job ``failed``,
    how many tasks were ``left`` without a prediction, and how many were answered in a second (``pace``) ``on`` which
    machine; 0 where that is not known. ``trace`` is the id of what led to it (labelloop/tracing.py).
    """

    key: str = ""
    version: str = ""
    place: str = ""
    handle: str = ""
    begun: float = 0.0
    tasks: int = 0
    sent: int = 0
    open: bool = False
    taken: bool = False
    failed: str = ""
    left: int = 0
    pace: float = 0.0
    on: str = ""
    trace: str = ""


class OpenBatches:
    """Reads and moves the batch job of one project, by compare-and-swap only."""

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store, self._project = store, project
        self._path = f"{project}/batch.json"

    def read(self) -> OpenBatch:
        """Read it; an empty one, where there has been none. Raises StoreError."""
        return self._change(lambda stands: stands)

    def begin(self, batch: OpenBatch) -> OpenBatch:
        """Open a job, before anything of it is begun. Raises Fenced where another worker has opened one."""

        def change(stands: OpenBatch) -> OpenBatch:
            if stands.open:
                raise Fenced(
                    f"batch job {stands.key} of {self._project} was opened by another worker: it goes on there"
                )
            return batch

        return self._change(change)

    def note(self, key: str, handle: str, sent: int) -> OpenBatch:
        """Keep by which handle the open job is known, and how much it was sent, where that is known."""
        return self._if(key, lambda stands: replace(stands, handle=handle, sent=sent or stands.sent))

    def take(self, key: str, *, failed: str = "", left: int = 0, pace: float = 0.0, on: str = "") -> OpenBatch:
        """The job's answers are taken in; a pace that is not known leaves the last one."""

        def change(stands: OpenBatch) -> OpenBatch:
            known = {"pace": pace, "on": on} if pace else {}
            return replace(stands, taken=True, failed=failed, left=left, **known)  # type: ignore[arg-type]

        return self._if(key, change)

    def close(self, key: str) -> OpenBatch:
        """Nothing is left of the job; nothing changes where another one is open."""
        return self._if(key, lambda stands: replace(stands, open=False))

    def _if(self, key: str, change: Callable[[OpenBatch], OpenBatch]) -> OpenBatch:
        return self._change(lambda stands: change(stands) if stands.open and stands.key == key else stands)

    def _change(self, change: Callable[[OpenBatch], OpenBatch]) -> OpenBatch:
        changed = OpenBatch()

        def rewrite(content: bytes | None) -> bytes | None:
            nonlocal changed
            stands = (readable(OpenBatch, content, self._path) if content is not None else None) or OpenBatch()
            changed = change(stands)
            return None if changed == stands else to_bytes(changed)

        update(self._store, self._path, rewrite)
        return changed
