"""What is kept of an endpoint that is not asked for versions of the store: its own model's, and what is deployed."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

from labelloop.errors import Fenced
from labelloop.models.records import find_object, from_bytes, readable, readable_record, to_bytes, update
from labelloop.models.store import Store
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
        served = readable_record(self._store, self._path, Served)
        return served.version if served is not None and served.endpoint == endpoint else None

    def write(self, endpoint: str, version: str) -> None:
        """Note the version. Raises StoreError."""
        self._store.write(self._path, to_bytes(Served(endpoint, version)))


@dataclass(frozen=True, slots=True)
class FeatureModel:
    """``features.json``: whose features an endpoint gives: its fingerprint, its model's version, and their width.

    ``change`` counts how often they were found to be other ones although the version was the same.
    """

    endpoint: str = ""
    version: str = ""
    width: int = 0
    change: int = 0

    @property
    def name(self) -> str:
        """What features of this model are kept under (sha256, hex), and a head on them names; empty for none."""
        said = json.dumps(["endpoint", self.endpoint, self.version, self.width, self.change])
        return hashlib.sha256(said.encode()).hexdigest() if self.width else ""


class FeatureModels:
    """Reads and writes one project's ``features.json``. The last one to write wins: all saw the same endpoint."""

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store = store
        self._path = f"{project}/features.json"

    def read(self, endpoint: str) -> FeatureModel:
        """Read it; one without a name when this endpoint has given no features yet. Raises StoreError."""
        found = self.last()
        return found if found.endpoint == endpoint else FeatureModel(endpoint)

    def last(self) -> FeatureModel:
        """Read what was noted last, of whichever endpoint. Raises StoreError."""
        return readable_record(self._store, self._path, FeatureModel) or FeatureModel()

    def write(self, model: FeatureModel) -> None:
        """Note it. Raises StoreError."""
        self._store.write(self._path, to_bytes(model))


@dataclass(frozen=True, slots=True)
class Deployment:
    """``deployed.json``: what an endpoint (``place``: which) serves, as it was last seen, and what it was last told.

    ``version``, ``since``, ``between`` and ``reason`` are a deployer's words (deployers/base.py). ``wanted`` is the
    version that it was told last to bring, and ``stage`` what came of that: it is being told, it has ``begun``, the
    version is ``there``, or it has ``failed``. ``begun`` and ``looked`` are when it was told and asked last (Unix
    seconds). ``brought`` are the versions that the endpoint has served. Before a deployer is told anything, the version
    that is to come is among ``between``: from then on either may answer.
    """

    place: str = ""
    version: str = ""
    since: str = ""
    between: tuple[str, ...] = ()
    reason: str = ""
    wanted: str = ""
    stage: Literal["", "told", "begun", "there", "failed"] = ""
    begun: float = 0.0
    looked: float = 0.0
    brought: tuple[str, ...] = ()

    @property
    def answers(self) -> str:
        """What answers just now, in words: a version, ``v1 or v2``, or nothing that was ever brought there."""
        return " or ".join(self.between) or self.version

    def serves(self, version: str) -> bool:
        """Whether the endpoint answers with that version, and with no other."""
        return self.version == version and not self.between

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, content: str) -> Self:
        """Read what ``to_json`` wrote. Raises Damaged."""
        found = from_bytes(cls, content.encode(), "what is kept of deployed.json")
        return replace(found, between=tuple(found.between), brought=tuple(found.brought))


class Deployments:
    """Reads and moves one project's ``deployed.json``, by compare-and-swap only."""

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store, self._project = store, project
        self._path = f"{project}/deployed.json"

    def read(self, place: str) -> Deployment:
        """Read what is known of an endpoint: nothing, where versions were brought to another one. Raises StoreError."""
        found = find_object(self._store, self._path)
        return self._held(found.content if found else None, place)

    def versions(self) -> frozenset[str]:
        """Name the versions that may answer or are on their way, at whatever endpoint was looked at last."""
        held = readable_record(self._store, self._path, Deployment) or Deployment()
        return frozenset({held.version, held.wanted, *held.between} - {""})

    def replace(self, before: Deployment, after: Deployment) -> Deployment:
        """Put ``after`` in the place of ``before``, and give it. Raises Fenced where something else is there by now."""

        def change(content: bytes | None) -> bytes:
            if self._held(content, before.place) != before:
                raise Fenced(f"another worker has looked at what is deployed for {self._project}: it goes on there")
            return after.to_json().encode()

        update(self._store, self._path, change)
        return after

    def _held(self, content: bytes | None, place: str) -> Deployment:
        """Read what is held of an endpoint; what is damaged counts as not there: the next look writes it anew."""
        held = None if content is None else readable(Deployment, content, self._path)
        if held is None or held.place != place:
            return Deployment(place)
        return replace(held, between=tuple(held.between), brought=tuple(held.brought))


@dataclass(frozen=True, slots=True)
class _Holder:
    """``_deployed/<place>.json``: whose versions an endpoint takes."""

    project: str


def take_place(store: Store, place: str, project: ProjectKey, is_there: Callable[[str], bool]) -> str:
    """Make an endpoint a project's own; gives the project that has it, where that one ``is_there`` still, else empty.

    Versions of two projects would take turns on it, and both are called v1. Raises StoreError.
    """
    other = ""

    def change(content: bytes | None) -> bytes | None:
        nonlocal other
        held = "" if content is None else from_bytes(_Holder, content, f"_deployed/{place}.json").project
        other = held if held not in ("", str(project)) and is_there(held) else ""
        return None if other or held == str(project) else to_bytes(_Holder(str(project)))

    update(store, f"_deployed/{place}.json", change)
    return other
