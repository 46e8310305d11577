"""Which projects this LabelLoop serves, and under which address Label Studio calls it for each."""

import logging

from labelloop.errors import QueueError
from labelloop.loop import keys
from labelloop.loop.hub import Hub, reach, text
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def remember_project(hub: Hub, project: ProjectKey, backend_url: str | None) -> None:
    """Note that Label Studio asked for this project, and at which address; a failure is logged, not raised.

    None means that the address is not known this time: one noted before stays.
    """
    note = hub.redis.hset if backend_url else hub.redis.hsetnx
    try:
        with reach(hub):
            note(keys.projects(project.instance), str(project.id), backend_url or "")
    except QueueError as error:
        _log.warning("project %s is not noted: %s", project, error)


def backend_url(hub: Hub, project: ProjectKey) -> str | None:
    """Say under which address Label Studio last called this backend for the project; None when that is not known."""
    with reach(hub):
        found = hub.redis.hget(keys.projects(project.instance), str(project.id))
    return text(found).rstrip("/") or None if found else None


def known_projects(hub: Hub) -> list[ProjectKey]:
    """List the projects Label Studio has asked for, and those the store holds; sorted by id."""
    instance = hub.project(0).instance
    found = {int(name) for name in hub.store.names(f"{instance}/") if name.isdigit()}
    with reach(hub):
        found |= {int(name) for name in hub.redis.hkeys(keys.projects(instance))}
    return [ProjectKey(instance, project) for project in sorted(found)]
