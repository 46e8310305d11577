"""What follows when a version becomes champion: pre-annotate, announce, flip the title (contract, section 8).

The order matters and every step may be repeated: see docs/versions.md.
"""

from labelloop.loop.hub import Hub
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.progress import Reporter
from labelloop.loop.registry import site_of
from labelloop.models.champion import ChampionPointer
from labelloop.types import ProjectKey


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
    site_of(hub, project.id).announce(version)
    return prelabeled
