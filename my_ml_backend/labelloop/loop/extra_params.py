"""The ``extra_params`` of a project's ML backend: ``/setup`` brings them, every process reads them.

They lie in Redis under the key that Label Studio's own 2.x server gives them; when Redis is gone, what this process
heard last stands. When Redis was wiped, Label Studio has them.
"""

import json
import logging

from labelloop.errors import QueueError
from labelloop.loop.hub import Hub
from labelloop.loop.own_backend import own_backend
from labelloop.loop.values import get_value, set_value
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

KEY = "extra_params"


def hear(hub: Hub, project: ProjectKey, extra_params: object) -> None:
    """Note what ``/setup`` brought, for this process."""
    hub.extra_params[project] = json.dumps(extra_params)


def share(hub: Hub, project: ProjectKey) -> None:
    """Note what this process heard, for all others; a failure is logged, not raised."""
    try:
        set_value(hub, project, KEY, hub.extra_params[project])
    except QueueError as error:
        _log.warning("extra_params of %s are not shared: %s", project, error)


def extra_params(hub: Hub, project: ProjectKey) -> object:
    """Read what was noted last; None when nothing was, or Redis is gone and this process heard nothing."""
    text = _noted(hub, project)
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


def _noted(hub: Hub, project: ProjectKey) -> str | None:
    heard = hub.extra_params.get(project)
    try:
        shared = get_value(hub, project, KEY)
    except QueueError as error:
        _log.warning("extra_params of %s are those this process heard: %s", project, error)
        shared = None
    return heard if shared is None else shared


def learn(hub: Hub, project: ProjectKey) -> None:
    """Ask Label Studio for them: it has them, and calls ``/setup`` while it is asked. Raises StudioError."""
    backend = own_backend(hub, project)
    if backend is not None:
        hear(hub, project, backend.extra_params)
        share(hub, project)


def learn_unknown(hub: Hub, project: ProjectKey) -> None:
    """Ask Label Studio unless something is noted: they decide whether anything is trained. Raises StudioError.

    A project that is not connected has none.
    """
    if _noted(hub, project) is None:
        learn(hub, project)
    if _noted(hub, project) is None:
        hear(hub, project, None)
        share(hub, project)
