"""Which version an endpoint's own model answered with last: what ``/setup`` reports of it."""

from dataclasses import dataclass

from labelloop.models.records import readable, to_bytes
from labelloop.models.store import Store
from labelloop.models.update import find
from labelloop.types import ProjectKey


@dataclass(frozen=True, slots=True)
class Served:
    """``served.json``: the endpoint by its fingerprint, and the version of its answers."""

    endpoint: str
    version: str


class ServedVersion:
    """Reads and writes one project's ``served.json``. The last one to write wins: all saw the same endpoint."""

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store = store
        self._path = f"{project}/served.json"

    def read(self, endpoint: str) -> str | None:
        """Read the version; None when this endpoint has not answered yet. Raises StoreError.

        What is damaged counts as not there: the endpoint's next answer writes it anew.
        """
        found = find(self._store, self._path)
        served = None if found is None else readable(Served, found.content, self._path)
        return served.version if served is not None and served.endpoint == endpoint else None

    def write(self, endpoint: str, version: str) -> None:
        """Note the version. Raises StoreError."""
        self._store.write(self._path, to_bytes(Served(endpoint, version)))
