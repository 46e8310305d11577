"""What follows when a version becomes champion: pre-annotate, announce, flip the title (contract, section 8).

The order matters and every step may be repeated: see docs/versions.md.
"""

import logging

from labelloop.errors import StudioError
from labelloop.loop.hub import Hub
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.progress import Reporter
from labelloop.loop.serving import own_backend
from labelloop.models.champion import ChampionPointer
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def promote(hub: Hub, project: ProjectKey, version: str, fence: int) -> None:
    """Make a published version champion: what endpoints serve from now on. Raises Fenced."""
    ChampionPointer(hub.store, project).promote(version, fence)


def announce(hub: Hub, project: ProjectKey, version: str, fence: int, reporter: Reporter) -> Prelabeled:
    """Pre-annotate with the champion, then let ``/setup`` answer it, then flip the ML backend's title to it.

    Raises Fenced, EndpointError or StudioError; the version stays champion, and the sweep comes back to announce it.
    """
    reporter.stage("prelabel")
    prelabeled = prelabel(hub, project, version, reporter)
    reporter.stage("flip")
    ChampionPointer(hub.store, project).announce(version, fence)
    hub.state(project).announce(version)
    flip_title(hub, project, version)
    return prelabeled


def flip_title(hub: Hub, project: ProjectKey, version: str) -> None:
    """Name our ML backend after the version, so that Label Studio orders tasks by its scores."""
    backend = own_backend(hub, project)
    if backend is None:
        raise StudioError(
            f"none of the ML backends of project {project.id} is known as this one, so tasks are not ordered by the "
            f"scores of {version}: run `labelloop connect --project {project.id} --url ADDRESS`"
        )
    if backend.title != version or hub.studio.project(project.id).model_version != version:
        hub.studio.set_title(backend, version)
        _log.info("project %s: title of ML backend %d is now %s", project, backend.id, version)
