"""Serving the versions of many projects, straight from the store, whose champion pointers are followed."""

import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from labelloop.errors import NotFound, StoreError
from labelloop.models.bundle import served_by
from labelloop.models.champion import ChampionPointer
from labelloop.models.store import Store
from labelloop.models.versions import Versions
from labelloop.serve.engines.base import Engine, open_engine
from labelloop.serve.refusal import BadRequest
from labelloop.serve.registry import ModelChoice, ModelKey, Registry
from labelloop.types import Json, ProjectKey, Target

log = logging.getLogger(__name__)


class _Seen:
    """What was last read for one project."""

    def __init__(self) -> None:
        self.reading = threading.Lock()
        self.version: str | None = None
        self.at = float("-inf")


class Champions:
    """Remembers each project's champion for ``fresh`` seconds; ``read`` asks the store. Safe to share between threads.

    While one request reads anew, the others go on with what is known; a store that fails leaves the known champion.
    """

    def __init__(
        self,
        read: Callable[[ProjectKey], str | None],
        fresh: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._fresh = fresh
        self._clock = clock
        self._lock = threading.Lock()
        self._projects: dict[ProjectKey, _Seen] = {}

    def current(self, project: ProjectKey) -> str | None:
        """Name the project's champion; None when it has none. Raises StoreError when nothing is known yet."""
        with self._lock:
            seen = self._projects.get(project)
        if seen is None:
            return self._first(project)
        if self._clock() - seen.at >= self._fresh and seen.reading.acquire(blocking=False):
            try:
                self._renew(project, seen)
            finally:
                seen.reading.release()
        return seen.version

    def _first(self, project: ProjectKey) -> str | None:
        """Read a project that is not known; one without a champion stays unknown, whatever names are tried."""
        seen = _Seen()
        seen.version, seen.at = self._read(project), self._clock()
        if seen.version is not None:
            with self._lock:
                self._projects.setdefault(project, seen)
        return seen.version

    def _renew(self, project: ProjectKey, seen: _Seen) -> None:
        try:
            seen.version = self._read(project)
        except StoreError as error:
            log.warning("the champion of %s stays %s: %s", project, seen.version, error)
        seen.at = self._clock()


class StoreCatalog:
    """Any version of any project; the champion where none is named.

    When a project's champion changes, the one before it answers until the new one is loaded.
    """

    def __init__(
        self,
        store: Store,
        cache: Path,
        capacity: int,
        engine: str = "onnx",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._cache = cache
        self._engine = engine
        self._registry = Registry(self._load, capacity, clock)
        self._champions = Champions(self._read_champion, clock=clock)
        self._answering: dict[ProjectKey, str] = {}

    def choose(self, target: Target) -> ModelChoice:
        """Find the model of a project's version; see Catalog."""
        if target.project is None:
            raise BadRequest("name a project by the header X-LabelLoop-Project: instance/id")
        if target.version is not None:
            return ModelChoice(self._registry.get(ModelKey(target.project, target.version)), target.version)
        champion = self._champions.current(target.project)
        if champion is None:
            raise NotFound(f"project {target.project} has no champion yet")
        return self._champion(target.project, champion)

    def state(self) -> Json:
        """Name the loaded models; see Catalog. It can always serve: what is not loaded will be when asked for."""
        return {"mode": "store", "loaded": [str(key) for key in self._registry.loaded()]}

    def _champion(self, project: ProjectKey, champion: str) -> ModelChoice:
        before = self._answering.get(project)
        if before is not None and before != champion and self._registry.ready(ModelKey(project, champion)) is None:
            engine = self._registry.ready(ModelKey(project, before))
            if engine is not None:
                self._registry.prefetch(ModelKey(project, champion))
                return ModelChoice(engine, before)
        engine = self._registry.get(ModelKey(project, champion))
        self._answering[project] = champion
        return ModelChoice(engine, champion)

    def _read_champion(self, project: ProjectKey) -> str | None:
        return ChampionPointer(self._store, project).read().champion

    def _load(self, key: ModelKey) -> Engine:
        if not re.fullmatch(r"v[1-9]\d{0,8}", key.version):
            raise NotFound(f"project {key.project} has no version {key.version}")
        versions = Versions(self._store, key.project)
        bundle = versions.fetch_bundle(key.version, self._cache, served_by(self._engine))
        return open_engine(bundle, self._engine)
