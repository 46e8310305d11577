"""Where models come from, and which are loaded: a few, each once for all, none taken from a request in flight."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from labelloop.errors import NotFound
from labelloop.serve.engines.base import Engine
from labelloop.types import Json, ProjectKey, Target

log = logging.getLogger(__name__)


class ModelChoice(NamedTuple):
    """The model that answers a request, and the name of its version."""

    engine: Engine
    version: str


class Catalog(Protocol):
    """The models a server offers. Implementations are safe to share between threads."""

    def choose(self, target: Target) -> ModelChoice:
        """Find the model for a request, loading it when needed.

        Raises NotFound for a project or version that is not offered, NotReady when nothing can be served yet,
        StoreError when the store cannot be reached, BundleError for a damaged bundle, and BadRequest when the target
        does not say enough.
        """
        ...

    def state(self) -> Json:
        """Say what is loaded; raises NotReady while nothing can be served."""
        ...


RETRY_SECONDS = 10.0
"""How long ``prefetch`` leaves a model alone that could not be loaded."""
UNKNOWN_SECONDS = 2.0
"""How long ``get`` takes the store's word for it that there is no such version."""
MOST_FAILED = 256
"""Failures remembered: clients may ask for any number of versions that do not exist."""


class _Failed(NamedTuple):
    """When loading a model failed, by the clock, and what is said of it where the store has no such version."""

    at: float
    missing: str | None


class ModelKey(NamedTuple):
    """One version of one project."""

    project: ProjectKey
    version: str

    def __str__(self) -> str:
        return f"{self.project}/{self.version}"


class Registry:
    """Keeps the ``capacity`` models asked for last; ``load`` is called outside every lock, once at a time per model.

    A model that is dropped lives on until the last request that uses it is done. Safe to share between threads.
    """

    def __init__(
        self, load: Callable[[ModelKey], Engine], capacity: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded: OrderedDict[ModelKey, Engine] = OrderedDict()
        self._loading: dict[ModelKey, Future[Engine]] = {}
        self._failed: OrderedDict[ModelKey, _Failed] = OrderedDict()

    def get(self, key: ModelKey) -> Engine:
        """Return the model, loading it or waiting for whoever is; raises what ``load`` raised.

        A version that was not found is not looked for again at once.
        """
        with self._lock:
            engine = self._touch(key)
            if engine is not None:
                return engine
            failed = self._failed_within(key, UNKNOWN_SECONDS)
            if failed is not None and failed.missing is not None:
                raise NotFound(failed.missing)  # a new one: a raised error keeps the frames of everyone who raised it
            future, mine = self._claim(key)
        if mine:
            self._fill(key, future)
        return future.result()

    def ready(self, key: ModelKey) -> Engine | None:
        """Return the model if it is loaded; never waits."""
        with self._lock:
            return self._touch(key)

    def prefetch(self, key: ModelKey) -> None:
        """Begin to load the model in the background, unless it is loaded, being loaded, or failed a moment ago."""
        with self._lock:
            recently = self._failed_within(key, RETRY_SECONDS) is not None
            if key in self._loaded or key in self._loading or recently:
                return
            future, _ = self._claim(key)
        threading.Thread(target=self._fill, args=(key, future), name=f"load {key}", daemon=True).start()

    def loaded(self) -> list[ModelKey]:
        """Name the loaded models, the one asked for last at the end."""
        with self._lock:
            return list(self._loaded)

    def _touch(self, key: ModelKey) -> Engine | None:
        engine = self._loaded.get(key)
        if engine is not None:
            self._loaded.move_to_end(key)
        return engine

    def _failed_within(self, key: ModelKey, seconds: float) -> _Failed | None:
        failed = self._failed.get(key)
        return failed if failed is not None and self._clock() - failed.at < seconds else None

    def _note_failure(self, key: ModelKey, error: BaseException) -> None:
        """Remember a failure, and forget those that are over or too many; the oldest stand first."""
        now = self._clock()
        self._failed.pop(key, None)
        self._failed[key] = _Failed(now, str(error) if isinstance(error, NotFound) else None)
        while len(self._failed) > MOST_FAILED or now - next(iter(self._failed.values())).at >= RETRY_SECONDS:
            self._failed.popitem(last=False)

    def _claim(self, key: ModelKey) -> tuple[Future[Engine], bool]:
        future = self._loading.get(key)
        if future is not None:
            return future, False
        self._loading[key] = Future()
        return self._loading[key], True

    def _fill(self, key: ModelKey, future: Future[Engine]) -> None:
        """Load, and tell everyone who waits: the model, or the error."""
        start = self._clock()
        try:
            engine = self._load(key)
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            log.warning("%s cannot be loaded: %s", key, error)
            with self._lock:
                del self._loading[key]
                self._note_failure(key, error)
            future.set_exception(error)
            return
        with self._lock:
            del self._loading[key]
            self._failed.pop(key, None)
            self._loaded[key] = engine
            dropped = [self._loaded.popitem(last=False)[0] for _ in range(len(self._loaded) - self._capacity)]
        future.set_result(engine)
        log.info("%s loaded in %.2f s%s", key, self._clock() - start, "".join(f"; {old} dropped" for old in dropped))
