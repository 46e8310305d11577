"""Whether a person has paused a project: nothing is trained for it then, whatever its labels call for."""

from dataclasses import dataclass

from labelloop.models.records import now, read_record, to_bytes
from labelloop.models.store import Store
from labelloop.types import ProjectKey

_MOST_LETTERS = 500


@dataclass(frozen=True, slots=True)
class Pause:
    """``pause.json``: who paused the project, why, and since when (UTC, ISO 8601); without ``since`` it is not."""

    by: str = ""
    reason: str = ""
    since: str = ""

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"paused by {self.by} since {self.since[:19].replace('T', ' ')} UTC{why}"


class Pauses:
    """Reads and writes one project's pause. The last person to write wins."""

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store = store
        self._path = f"{project}/pause.json"

    def read(self) -> Pause | None:
        """Give the pause; None where the project is not paused. Raises StoreError."""
        found = read_record(self._store, self._path, Pause)
        return found if found is not None and found.since else None

    def begin(self, by: str, reason: str) -> Pause:
        """Pause the project and give the pause; raises StoreError."""
        pause = Pause(_line(by), _line(reason), now())
        self._store.write(self._path, to_bytes(pause))
        return pause

    def end(self) -> Pause | None:
        """Go on, and give the pause that is over; None where there was none. Raises StoreError."""
        if (found := self.read()) is not None:
            self._store.write(self._path, to_bytes(Pause()))
        return found


def _line(text: str) -> str:
    """Write what a person said in a line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_MOST_LETTERS].strip()
