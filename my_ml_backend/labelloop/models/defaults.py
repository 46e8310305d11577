"""What a search has found best for a project: the parameters that its next runs begin with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from labelloop.models.records import from_bytes, to_bytes
from labelloop.models.store import Store
from labelloop.models.update import find
from labelloop.types import ProjectKey


@dataclass(frozen=True, slots=True)
class Defaults:
    """``defaults.json``: searched parameters, spelled as on the command line, and where they come from.

    ``manifest`` is the hash of the labels that were searched on, ``accuracy`` and ``log_loss`` what the best of
    ``trials`` trials had on the ``pictures`` of their validation side.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""
    accuracy: float | None = None
    log_loss: float | None = None
    pictures: int = 0
    trials: int = 0
    created: str = ""


class ProjectDefaults:
    """Reads and writes one project's ``defaults.json``. The last search to write wins."""

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store = store
        self._path = f"{project}/defaults.json"

    def read(self) -> Defaults:
        """Read the defaults, empty where none were searched for; raises StoreError."""
        found = find(self._store, self._path)
        return Defaults() if found is None else from_bytes(Defaults, found.content, self._path)

    def write(self, defaults: Defaults) -> None:
        """Keep the defaults; raises StoreError."""
        self._store.write(self._path, to_bytes(defaults))

    def clear(self) -> None:
        """Go back to the settings; raises StoreError."""
        self.write(Defaults())
