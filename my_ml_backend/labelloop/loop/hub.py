"""Everything one process needs to do its work, made from the settings when first asked for."""

import json
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from labelloop.cloud.base import Inbox, Registry
from labelloop.cloud.opening import open_inbox, open_registry
from labelloop.data.site import Tool
from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import StoreError
from labelloop.loop.order import KnownOrders
from labelloop.loop.queue import ProjectQueue
from labelloop.loop.redis_client import RedisClient
from labelloop.loop.state import ProjectState
from labelloop.models.champion import ChampionPointer
from labelloop.models.features import Features, OpenFeatures, feature_folder
from labelloop.models.open_run import OpenRuns
from labelloop.models.opening import open_store
from labelloop.models.pauses import Pauses
from labelloop.models.projects import ProjectPlace, Projects
from labelloop.models.runs import Runs
from labelloop.models.store import Store
from labelloop.models.task_contents import TaskContents
from labelloop.models.versions import Versions
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.sources.reader import Reader
from labelloop.types import Identity, Json, ProjectKey
from labelloop.watch.sample import Predicted

if TYPE_CHECKING:
    from labelloop.counters import LoopCounters

_FOUND_SECONDS, _GUESSED_SECONDS = 60.0, 5.0
"""How long a process goes by where a project lies, or would lie, before it asks the store again."""

_PLACES = 4096
"""Projects whose places are kept in mind; anybody may ask for any."""

MOST_THREADS = 128
"""Threads that predict for one request."""

_ENDPOINTS = 64
"""Endpoints kept open; projects may name many."""

ENTRY_BYTES = 350
"""What one prediction takes beside its JSON: its key, its place in the dictionary, and what Python adds (measured)."""


_PREDICTED = 5_000
"""Predictions that wait to be watched; what is predicted meanwhile pushes the oldest out."""


class Hub:
    """The settings, the tool they name and, made once each at first use: store, endpoints, Redis, media reader.

    Safe to share between threads, not between processes: make one after a fork.
    """

    def __init__(self, settings: Settings, tool: Tool) -> None:
        self.settings, self.tool = settings, tool
        self._placing = threading.Lock()
        self._places: dict[Identity, tuple[ProjectKey, float]] = {}
        self.extra_params: dict[ProjectKey, str] = {}
        """What this process heard of each project's ML backend (loop/project_endpoint.py)."""
        self.cache = PredictionCache(settings.cache_max_bytes, settings.cache_seconds)
        self.predicted: deque[Predicted] = deque(maxlen=0 if settings.drift == "off" else _PREDICTED)
        """What this process predicted lately and nobody has watched yet (loop/watched.py)."""
        self.orders = KnownOrders(lambda: self.store)
        """By which order predictions are served (loop/order.py)."""
        self._making = threading.RLock()
        self._endpoints: OrderedDict[EndpointSpec, Endpoint] = OrderedDict()

    def over(self, settings: Settings, tool: Tool) -> "Hub":
        """Make one with other settings or over another tool, which shares this one's store and Redis."""
        made = Hub(settings, tool)
        made.__dict__.update(_store=self.store, _redis=self.redis, _counters=self.counters)
        return made

    def project(self, project: int | Identity) -> ProjectKey:
        """Say where a project lies; by its number alone, the one that Label Studio was found to have last.

        The store is asked once a minute, and Label Studio never: what nobody has found there yet is given the place
        where it will be kept. Raises SettingsError for no address of Label Studio, StoreError where only the store can
        tell.
        """
        identity = project if isinstance(project, Identity) else Identity(project)
        kept = self._places.get(identity)
        if kept is not None and time.monotonic() < kept[1]:
            return kept[0]
        number, told = Identity(identity.id), identity.created is not None
        home = ProjectKey(self.tool.addresses[0], identity.id)
        try:
            found = self.projects.find(identity)
            if told and not found.settled and not self.projects.find(number).settled:
                # Until Label Studio is asked, its own word says which project the number means.
                self._remember(number, found.key, _FOUND_SECONDS)
        except StoreError:
            if kept is None and told:
                raise
            found = ProjectPlace(kept[0] if kept else home, settled=False)
        # What nobody has found in Label Studio yet may be found there any moment.
        self._remember(identity, found.key, _FOUND_SECONDS if found.settled or told else _GUESSED_SECONDS)
        return found.key

    def claim(self, identity: Identity) -> ProjectKey:
        """Keep that Label Studio has a project now, as its API says, and say where it lies; raises StoreError."""
        key = self.projects.claim(identity)
        for known in (identity, Identity(identity.id)):
            self._remember(known, key, _FOUND_SECONDS)
        return key

    def _remember(self, identity: Identity, key: ProjectKey, seconds: float) -> None:
        with self._placing:
            self._places.pop(identity, None)
            self._places[identity] = key, time.monotonic() + seconds
            if len(self._places) > _PLACES:
                del self._places[next(iter(self._places))]

    @property
    def projects(self) -> Projects:
        """Which folder of the store is which project's."""
        return Projects(self.store, self.tool.addresses)

    @property
    def store(self) -> Store:
        """The store; raises StoreError for an address of no known kind."""
        with self._making:
            return self._store

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the settings; raises SettingsError for an address of no known kind."""
        return self.endpoint_of(EndpointSpec.of(self.settings))

    def endpoint_of(self, spec: EndpointSpec) -> Endpoint:
        """Open an endpoint, or hand out the one that is open: its breaker and connections are for all who ask it."""
        with self._making:
            endpoint = self._endpoints.get(spec)
            if endpoint is None:
                endpoint = self._endpoints[spec] = self._open(spec)
                if len(self._endpoints) > _ENDPOINTS:
                    self._endpoints.popitem(last=False)
            self._endpoints.move_to_end(spec)
            return endpoint

    def _open(self, spec: EndpointSpec) -> Endpoint:
        if not spec.features:
            return open_endpoint(spec)
        from labelloop.loop.headed_endpoint import HeadedEndpoint  # few projects need what it imports

        return HeadedEndpoint(self, spec)

    @property
    def registry(self) -> Registry | None:
        """What mirrors the versions in a cloud, None where nothing does; raises SettingsError."""
        with self._making:
            return self._registry

    @property
    def redis(self) -> RedisClient:
        """The Redis client, whose every command raises QueueError without Redis."""
        with self._making:
            return self._redis

    @property
    def counters(self) -> "LoopCounters":
        """What this process counts."""
        with self._making:
            return self._counters

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Threads for the tasks of all requests; they stay, for to start fifty takes as long as ten tasks."""
        with self._making:
            return self._threads

    @property
    def inbox(self) -> Inbox | None:
        """The queue in which a cloud tells what happened, None for none; raises SettingsError for another address."""
        with self._making:
            return self._inbox

    def state(self, project: ProjectKey) -> ProjectState:
        """Everything of one project in Redis."""
        return ProjectState(self.redis, project, self.settings)

    def queue(self, project: ProjectKey) -> ProjectQueue:
        """The jobs of one project."""
        return ProjectQueue(self.redis, project)

    def pointer(self, project: ProjectKey) -> ChampionPointer:
        """Which version of one project is champion, and which is announced."""
        return ChampionPointer(self.store, project)

    def versions(self, project: ProjectKey) -> Versions:
        """The versions of one project."""
        return Versions(self.store, project)

    def runs(self, project: ProjectKey) -> Runs:
        """The records of one project's runs."""
        return Runs(self.store, project)

    def open_runs(self, project: ProjectKey, *, challenger: bool = False) -> OpenRuns:
        """The open run of one project, or that of its challenger."""
        return OpenRuns(self.store, project, challenger=challenger)

    def pauses(self, project: ProjectKey) -> Pauses:
        """Whether one project is paused."""
        return Pauses(self.store, project)

    def features(self, project: ProjectKey) -> OpenFeatures:
        """Give what opens the features of one project, from a backbone's hash and width."""
        return lambda backbone, width: Features(self.store, project, backbone, width, feature_folder(self.settings))

    def task_contents(self, project: ProjectKey) -> TaskContents:
        """What the tasks of one project show, as far as that is known."""
        return TaskContents(self.store, project, feature_folder(self.settings))

    def reader(self, settings: Settings) -> Reader:
        """Open what reads the addresses in lists of labeled pictures, the tool's own among them."""
        return Reader(settings, self.tool.home)

    @property
    def media(self) -> Media:
        """What reads the pictures of tasks; without an API key it reads public addresses only."""
        with self._making:
            return self._media

    @cached_property
    def _store(self) -> Store:
        return open_store(self.settings.store_address)

    @cached_property
    def _registry(self) -> Registry | None:
        return open_registry(self.settings.registry, self.settings) if self.settings.registry else None

    @cached_property
    def _redis(self) -> RedisClient:
        return RedisClient(self.settings)

    @cached_property
    def _counters(self) -> "LoopCounters":
        from labelloop.counters import LoopCounters  # with what it imports it costs every command 50 ms

        return LoopCounters()

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.settings.threads * MOST_THREADS, "predict")

    @cached_property
    def _inbox(self) -> Inbox | None:
        return open_inbox(self.settings.events) if self.settings.events else None

    @cached_property
    def _media(self) -> Media:
        return Media(self.settings, self.tool.home)


class PredictionCache:
    """Keeps the predictions asked for last, ``most_bytes`` of memory in all, each for ``seconds``. 0 of either: none.

    A key names all that a prediction depends on: content, version, endpoint, label config. The time limit is for
    endpoints whose model changes behind the same name. Safe to share between threads.
    """

    def __init__(self, most_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, key: bytes) -> Json | None:
        """Give a prediction made before, None where there is none or it is too old."""
        with self._lock:
            until, content = self._kept.get(key, (0.0, b""))
            if not content or until <= self._clock():
                return None
            self._kept.move_to_end(key)
        found: Json = json.loads(content)
        return found

    def put(self, key: bytes, prediction: Json) -> None:
        """Keep a prediction; those asked for longest ago make room."""
        content = json.dumps(prediction).encode()
        if _size(content) > self._most_bytes or self._seconds <= 0:
            return
        with self._lock:
            if key in self._kept:
                self._bytes -= _size(self._kept.pop(key)[1])
            self._kept[key] = (self._clock() + self._seconds, content)
            self._bytes += _size(content)
            while self._bytes > self._most_bytes:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._bytes -= _size(dropped)


def _size(content: bytes) -> int:
    return len(content) + ENTRY_BYTES
