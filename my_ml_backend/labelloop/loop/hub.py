"""Everything one process needs to do its work, made from the settings when first asked for."""

import threading
import time
from collections import OrderedDict
from functools import cached_property

from redis import Redis, RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from labelloop.endpoints.address import open_endpoint
from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import QueueError, SettingsError
from labelloop.loop.cache import PredictionCache
from labelloop.loop.redis_server import embedded_url
from labelloop.models.store import Store, open_store
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.studio.media import Media
from labelloop.types import ProjectKey

_REDIS_TIMEOUT = 2.0
"""Seconds after which Redis counts as gone; /webhook and /setup must not hang on it."""

_REDIS_REST = 1.0

_ENDPOINTS = 64
"""Endpoints kept open; projects may name many."""


class Hub:
    """The settings and, made once each at first use: store, endpoints, Redis, Label Studio client, media reader.

    Safe to share between threads, not between processes: make one after a fork.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.extra_params: dict[ProjectKey, str] = {}
        """What this process heard of each project's ML backend (loop/extra_params.py)."""
        self.cache = PredictionCache(settings.cache_max_bytes, settings.cache_seconds)
        self.redis_rests_until = float("-inf")
        """Until when (``time.monotonic()``) a Redis that did not answer in time is not asked: ``reach`` sees to it."""
        self._making = threading.RLock()
        self._endpoints: OrderedDict[EndpointSpec, Endpoint] = OrderedDict()

    def project(self, project: int) -> ProjectKey:
        """Name one project of the Label Studio these settings speak of; raises SettingsError for no address."""
        try:
            return ProjectKey.of(self.settings.label_studio_url, project)
        except ValueError:
            raise SettingsError("LABEL_STUDIO_URL is not of the form http://host:port") from None

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
                endpoint = self._endpoints[spec] = open_endpoint(spec)
                if len(self._endpoints) > _ENDPOINTS:
                    self._endpoints.popitem(last=False)
            self._endpoints.move_to_end(spec)
            return endpoint

    @property
    def redis(self) -> Redis:
        """A Redis client with short timeouts; ``reach`` turns its failures into QueueError."""
        with self._making:
            return self._redis

    @property
    def studio(self) -> Studio:
        """The Label Studio client; raises SettingsError when no API key is set."""
        with self._making:
            return self._studio

    @property
    def media(self) -> Media:
        """What reads the pictures of tasks; without an API key it reads public addresses only."""
        with self._making:
            return self._media

    @cached_property
    def _store(self) -> Store:
        return open_store(self.settings.store_address)

    @cached_property
    def _redis(self) -> Redis:
        return connect_redis(self.settings, timeout=_REDIS_TIMEOUT)

    @cached_property
    def _studio(self) -> Studio:
        return Studio.of(self.settings)

    @cached_property
    def _media(self) -> Media:
        studio = self._studio if self.settings.label_studio_api_key else None
        return Media(self.settings, studio)


def connect_redis(settings: Settings, timeout: float | None) -> Redis:
    """Make a client for ``LABELLOOP_REDIS_URL``; nothing is sent yet. ``timeout`` in seconds, None waits for ever."""
    url = embedded_url(settings) if settings.redis_url == "embedded" else settings.redis_url
    try:
        return Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=_REDIS_TIMEOUT)
    except ValueError:
        # What redis-py says may repeat part of the password.
        raise SettingsError("LABELLOOP_REDIS_URL is neither embedded nor of the form redis://host:port/db") from None


def text(value: bytes | str) -> str:
    """Read what Redis answered as text."""
    return value if isinstance(value, str) else value.decode()


class reach:  # noqa: N801 - reads as a verb: with reach(hub): ...
    """Turn Redis failures inside the block into QueueError with the remedy.

    A Redis that did not answer in time is left alone for a second: one request would wait for it again and again.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def __enter__(self) -> None:
        """Refuse while Redis rests."""
        if time.monotonic() < self._hub.redis_rests_until:
            raise QueueError(f"Redis did not answer in time a moment ago. {_remedy(self._hub.settings)}")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate RedisError and ConnectionError; let everything else pass."""
        if isinstance(error, TimeoutError | RedisTimeout):
            self._hub.redis_rests_until = time.monotonic() + _REDIS_REST
        if isinstance(error, (RedisError, ConnectionError)):
            raise QueueError(f"Redis cannot be reached ({error}). {_remedy(self._hub.settings)}") from error


def _remedy(settings: Settings) -> str:
    if settings.redis_url == "embedded":
        return (
            f"The embedded Redis of {settings.directory} is not running: start everything with "
            "`python my_ml_backend/_wsgi.py -p 9090`, or set LABELLOOP_REDIS_URL to a running Redis."
        )
    return "Start it, or correct LABELLOOP_REDIS_URL."
