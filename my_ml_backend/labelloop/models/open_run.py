"""The project's open run: the one training that may be under way, here or elsewhere (docs/runs.md).

Beside it there may be one of a challenger, in the background.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from labelloop.errors import Conflict, Fenced
from labelloop.models.records import from_bytes, read_record, to_bytes, update
from labelloop.models.store import Store
from labelloop.types import ProjectKey


@dataclass(frozen=True, slots=True)
class OpenRun:
    """``open-run.json``: the run's key, manifest and sides (hashes), the trainer's address, how it is known there.

    It is written before the training is started: ``handle`` is empty until the trainer has given one. ``fence`` is that
    of whoever took it up last. What is trained ``elsewhere`` goes on when the process that began it is gone. ``until``
    is its time limit (Unix seconds). ``barred`` says why it has lost its right to move the champion, ``cancelled`` why
    it is to end. An empty ``key``: no run is open.
    """

    key: str = ""
    manifest: str = ""
    trainer: str = "local"
    elsewhere: bool = False
    handle: str = ""
    fence: int = 0
    until: float = 0.0
    barred: str = ""
    cancelled: str = ""
    sides: str = ""

    def ending(self, now: float) -> str:
        """Say why it is to end by ``now`` (Unix seconds); empty where it may go on."""
        if self.cancelled or now <= self.until:
            return self.cancelled
        return "its training took longer than LABELLOOP_TRAINING_SECONDS allows, and was ended"


class OpenRuns:
    """Reads and moves the open run of one project, by compare-and-swap only. Safe to share between processes."""

    def __init__(self, store: Store, project: ProjectKey, *, challenger: bool = False) -> None:
        self._store, self._project = store, project
        self._path = f"{project}/open-{'challenger' if challenger else 'run'}.json"

    def read(self) -> OpenRun | None:
        """Give the open run; None where there is none."""
        found = read_record(self._store, self._path, OpenRun)
        return found and _open(found)

    def begin(self, run: OpenRun) -> OpenRun:
        """Open a run, or take up the one of that key, under a newer fence than before, and give it as it stands.

        One that was trained by a worker, which is gone or fenced off by now, gives way to another. Raises Conflict
        where another one is trained elsewhere, Fenced where a newer worker has opened or taken one up.
        """

        def change(stands: OpenRun | None) -> OpenRun | None:
            if stands is None:
                return run
            if stands.fence > run.fence:
                raise Fenced(f"run {stands.key} of {self._project} was taken up by a newer worker: this one stops here")
            if stands.key == run.key:
                return replace(stands, fence=run.fence)
            if stands.elsewhere:
                raise Conflict(f"run {stands.key} of {self._project} is open: {run.key} begins after it")
            return run

        return self._change(change) or run

    def note(self, key: str, handle: str) -> OpenRun | None:
        """Keep by which handle the open run's training is known; nothing changes where that run is not open."""
        return self._if(key, lambda stands: replace(stands, handle=handle))

    def bar(self, why: str) -> OpenRun | None:
        """Take the right to move the champion away from the open run, if there is one."""
        return self._change(lambda stands: stands and replace(stands, barred=stands.barred or why))

    def cancel(self, key: str, why: str) -> OpenRun | None:
        """Ask for the end of the open run; nothing changes where that run is not open."""
        return self._if(key, lambda stands: replace(stands, cancelled=stands.cancelled or why))

    def close(self, key: str) -> None:
        """The run has ended; nothing changes where another one is open."""
        self._if(key, lambda _: OpenRun())

    def _if(self, key: str, change: Callable[[OpenRun], OpenRun]) -> OpenRun | None:
        return self._change(lambda stands: change(stands) if stands is not None and stands.key == key else stands)

    def _change(self, change: Callable[[OpenRun | None], OpenRun | None]) -> OpenRun | None:
        changed: OpenRun | None = None

        def rewrite(content: bytes | None) -> bytes | None:
            nonlocal changed
            stands = _open(from_bytes(OpenRun, content, self._path)) if content is not None else None
            changed = change(stands)
            return None if changed is None or changed == stands else to_bytes(changed)

        update(self._store, self._path, rewrite)
        return _open(changed) if changed is not None else None


def _open(run: OpenRun) -> OpenRun | None:
    return run if run.key else None
