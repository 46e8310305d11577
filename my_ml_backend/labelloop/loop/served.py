"""The version of an endpoint that stands alone: what it answered with last, cached in Redis, kept in the store.

The loop publishes no versions for such an endpoint, and /setup may not ask it. So the version that /setup reports
follows the answers: when the model behind the endpoint is replaced, the first new answer says so, and Label Studio asks
anew.

The store gets no version of a project that the sweep has not found in Label Studio: anybody may ask for predictions.
"""

import logging
from collections import Counter
from collections.abc import Iterable

from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import QueueError, StoreError
from labelloop.loop import keys
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import project_endpoint
from labelloop.loop.redis_client import text
from labelloop.loop.registry import is_kept
from labelloop.models.served import ServedVersion
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def served_version(hub: Hub, project: ProjectKey, spec: EndpointSpec, endpoint: Endpoint) -> str:
    """Say which version the endpoint serves: the one it answered with last, else the one it was given, else its name.

    A version that it names itself goes before one that it was given, in its answers too. Works without Redis; raises
    StoreError.
    """
    mark, first = spec.fingerprint(), spec.version or endpoint.name
    try:
        cached = hub.redis.hget(keys.of(project, "served"), mark)
    except QueueError as error:
        _log.warning("version of %s is read from the store: %s", endpoint.name, error)
        return ServedVersion(hub.store, project).read(mark) or first
    if cached is not None:
        return text(cached)
    version = ServedVersion(hub.store, project).read(mark) or first
    _cache(hub, project, mark, version)
    return version


def note_served(hub: Hub, project: ProjectKey, spec: EndpointSpec, reported: str, versions: Iterable[str]) -> str:
    """Note the version of most answers when it is not the one ``/setup`` reports; gives what it reports from now on.

    A failure is logged, not raised.
    """
    counted = Counter(versions).most_common(1)
    if not counted or counted[0][0] == reported:
        return reported
    version, mark = counted[0][0], spec.fingerprint()
    _log.info("project %s: its endpoint answers with version %s", project, version)
    try:
        if is_kept(hub, project):
            ServedVersion(hub.store, project).write(mark, version)
    except StoreError as error:
        _log.warning("version %s of project %s is not kept: %s", version, project, error)
    _cache(hub, project, mark, version)
    return version


def keep_served(hub: Hub, project: ProjectKey) -> None:
    """Keep in the store what Redis knows of the version of an endpoint that stands alone; raises StoreError."""
    options, endpoint = project_endpoint(hub, project)
    if endpoint.follows:
        return
    mark, first = options.endpoint.fingerprint(), options.endpoint.version or endpoint.name
    cached = hub.redis.hget(keys.of(project, "served"), mark)
    stored = ServedVersion(hub.store, project)
    if cached is not None and text(cached) not in (first, stored.read(mark)):
        stored.write(mark, text(cached))


def _cache(hub: Hub, project: ProjectKey, mark: str, version: str) -> None:
    try:
        hub.redis.hset(keys.of(project, "served"), mark, version)
    except QueueError as error:
        _log.warning("version %s of project %s is not cached: %s", version, project, error)
