"""The version ``/setup`` answers, cached in Redis so that the answer is instant wherever the store is."""

import logging

from labelloop.errors import QueueError
from labelloop.loop import keys
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import project_endpoint
from labelloop.loop.redis_client import text
from labelloop.loop.served import served_version
from labelloop.models.champion import ChampionPointer
from labelloop.types import NO_VERSION, ProjectKey

_log = logging.getLogger(__name__)

_FRESH_SECONDS = 10
"""How long a cached answer stands: the most that a worker killed between store and cache can delay the truth."""


def announced_version(hub: Hub, project: ProjectKey) -> str:
    """Say which version is announced, NO_VERSION before the first; of an endpoint that stands alone, its own version.

    Works without Redis; raises StoreError, and SettingsError for impossible ``extra_params``.
    """
    options, endpoint = project_endpoint(hub, project)
    return _announced(hub, project) if endpoint.follows else served_version(hub, project, options.endpoint, endpoint)


def _announced(hub: Hub, project: ProjectKey) -> str:
    try:
        cached = hub.redis.get(keys.of(project, "announced"))
    except QueueError as error:
        _log.warning("announced version of %s is read from the store: %s", project, error)
        return _stored(hub, project)
    if cached is not None:
        return text(cached)
    version = _stored(hub, project)
    # A newer one that was announced since it was read is not overwritten.
    cache_announced(hub, project, version, fresh=False)
    return version


def cache_announced(hub: Hub, project: ProjectKey, version: str, *, fresh: bool = True) -> None:
    """Let every process know the announced version at once; the store already holds it. What is fresh replaces."""
    try:
        hub.redis.set(keys.of(project, "announced"), version, ex=_FRESH_SECONDS, nx=not fresh)
    except QueueError as error:
        _log.warning("announced version %s of %s is not cached: %s", version, project, error)


def _stored(hub: Hub, project: ProjectKey) -> str:
    return ChampionPointer(hub.store, project).read().announced or NO_VERSION
