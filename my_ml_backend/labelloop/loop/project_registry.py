"""Which projects this LabelLoop serves, and under which address Label Studio calls it for each.

``/setup`` notes them in Redis, at once, by their numbers: at one address there is one project of a number. The sweep
keeps in the store those that Label Studio has, so that a Redis that is wiped takes none with it, and forgets in Redis
those that it has not.
"""

import logging
import time
from contextlib import suppress
from dataclasses import dataclass

from labelloop.data.model_run_site import ModelRunSite
from labelloop.data.site import Overview, Site
from labelloop.errors import LabelLoopError, NoSuchProject, NotFound, QueueError, StoreError, StudioError
from labelloop.loop.hub import Hub
from labelloop.loop.progress import StageProgress
from labelloop.loop.redis_client import as_text, may_be_lost, projects_key
from labelloop.models.records import find_object, readable_record, to_bytes
from labelloop.types import Identity, ProjectKey

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeptProject:
    """``project.json``: under which address Label Studio last called this backend for the project, and its title."""

    backend_url: str = ""
    title: str = ""


def meet_project(hub: Hub, project: ProjectKey, backend_url: str | None) -> None:
    """Note that Label Studio asked for this project, as ``remember_project``, and have a worker look at a new one.

    Until the store knows of it, too, a Redis that is wiped would take it along.
    """
    if remember_project(hub, project, backend_url):
        with may_be_lost(f"a look at project {project}"):
            hub.queue(project).consider(time.time())


def remember_project(hub: Hub, project: ProjectKey, backend_url: str | None) -> bool:
    """Note that Label Studio asked for this project, and at which address; a failure is logged, not raised.

    None means that the address is not known this time: one noted before stays. Says whether nothing was noted
    before.
    """
    note = hub.redis.hset if backend_url else hub.redis.hsetnx
    added = 0
    with may_be_lost(f"project {project}"):
        added = note(projects_key(hub.tool.addresses[0]), str(project.id), backend_url or "")
    return bool(added)


def backend_url(hub: Hub, number: int) -> str | None:
    """Say under which address Label Studio last called this backend for a project; None when that is not known."""
    found = next(filter(None, _noted(hub, number)), None)
    return as_text(found).rstrip("/") or None if found else None


def _noted(hub: Hub, number: int) -> list[bytes | None]:
    """Read what is noted of a project by its number; other processes may spell the address otherwise."""
    with hub.redis.pipeline(transaction=False) as pipe:
        for address in hub.tool.addresses:
            pipe.hget(projects_key(address), str(number))
        return list(pipe.execute())


def keep_project(hub: Hub, project: ProjectKey, title: str | None = None) -> None:
    """Keep in the store what Redis knows of a project that Label Studio has; after a wipe, the other way round.

    None means that its title is not known this time: one that was kept before stays.
    """
    kept, url = find_kept(hub, project), backend_url(hub, project.id)
    if kept is not None and url is None:
        remember_project(hub, project, url := kept.backend_url)
    before = kept.title if kept is not None else ""
    now = KeptProject(url or "", before if title is None else title)
    if kept != now:
        hub.store.write(f"{project}/project.json", to_bytes(now))


def find_kept(hub: Hub, project: ProjectKey) -> KeptProject | None:
    """Read what is kept of a project; None where the sweep has not found it yet. Raises StoreError."""
    return readable_record(hub.store, f"{project}/project.json", KeptProject)


def is_kept(hub: Hub, project: ProjectKey) -> bool:
    """Say whether the sweep has found the project in Label Studio, and noted it in the store; raises StoreError."""
    return find_object(hub.store, f"{project}/project.json") is not None


def forget(hub: Hub, project: ProjectKey) -> None:
    """Delete what Redis has of a project; tasks, manifests, runs and versions stay where they are."""
    hub.state(project).forget()
    for address in hub.tool.addresses:
        hub.redis.hdel(projects_key(address), str(project.id))


def lose_project(hub: Hub, project: ProjectKey, error: NoSuchProject) -> None:
    """Forget in Redis a project that Label Studio does not have, and say so once; the store keeps what it has."""
    forget(hub, project)
    if hub.state(project).lose(str(error)):
        _log.warning("project %s is left alone, what the store has of it stays: %s", project, error)


def why_gone(hub: Hub, project: ProjectKey) -> str:
    """Say why a project is left alone that Label Studio does not have; empty when it has, or has named it since."""
    gone = hub.state(project).gone()
    return gone if gone and not _is_noted(hub, project.id) else ""


def _is_noted(hub: Hub, number: int) -> bool:
    return any(one is not None for one in _noted(hub, number))


def site_of(hub: Hub, number: int) -> Site:
    """Give the site of a project; raises SettingsError when nothing says how to reach it."""

    def called_at() -> str | None:
        try:
            return backend_url(hub, number)
        except QueueError:
            return None

    return hub.tool.site(number, hub.media, called_at)


def model_run_site(hub: Hub, project: ProjectKey) -> ModelRunSite:
    """Give the model run that a project is; raises NoSuchProject where it is none, and as ``site_of``."""
    site = hub.tool.model_run(project.id, hub.media)
    if site is None:
        raise NoSuchProject(f"project {project.shown} is no model run")
    return site


def tell(hub: Hub, project: ProjectKey, step: StageProgress) -> None:
    """Tell what is being done for a project: Redis, and whoever looks at a model run. Raises the tool's errors."""
    hub.state(project).progress().tell(step)
    if project.model_run:
        model_run_site(hub, project).tell(step.stage, step.what, step.done, step.total)


def confirmed_project(hub: Hub, number: int) -> tuple[ProjectKey, Overview]:
    """Ask Label Studio for a project, and keep which one it is; a folder that was its by the address becomes its own.

    Raises NoSuchProject, StudioError and StoreError.
    """
    info = site_of(hub, number).overview()
    if info.identity.created is None:
        return hub.project(number), info
    return hub.claim(info.identity), info


def present_project(hub: Hub, project: ProjectKey) -> ProjectKey:
    """Ask Label Studio whether it has a project still, and say where it lies: elsewhere if nobody had asked before.

    Raises NoSuchProject where Label Studio has another project of that number now, besides what ``confirmed_project``
    raises.
    """
    found, _ = confirmed_project(hub, project.id)
    if found != project and hub.projects.is_claimed(project):
        raise NoSuchProject(
            f"Label Studio has another project {project.id} now, which lies in {found}: what is in {project} is not "
            "touched (`labelloop move` takes it over)"
        )
    return found


def named_version(hub: Hub, project: ProjectKey, version: str | None) -> str:
    """Give the version that is asked for, without one the champion; raises NotFound while there is none."""
    found = version or hub.pointer(project).read().champion
    if found is None:
        raise NotFound(f"project {project.shown} has no version yet: `labelloop status` says what is missing")
    return found


def existing_project(hub: Hub, number: int) -> ProjectKey:
    """Name a project that Label Studio was found to have, has now, or that is known here.

    Raises NoSuchProject where none is so, StudioError where Label Studio cannot be asked.
    """
    with suppress(StoreError):
        found = hub.projects.find(Identity(number))
        # Of a model run the store knows all that there is to know.
        if found.settled or found.key.model_run:
            return found.key
    try:
        return confirmed_project(hub, number)[0]
    except LabelLoopError as error:
        project = hub.project(number)
        if _is_known(hub, project):
            return project
        if isinstance(error, NoSuchProject):
            raise
        raise StudioError(
            f"project {number} has not been connected here, and whether Label Studio has it cannot be asked: {error}"
        ) from error


def _is_known(hub: Hub, project: ProjectKey) -> bool:
    """Whether the store or Redis holds anything of a project, as far as they can be asked."""
    with suppress(StoreError):
        if any(True for _ in hub.store.names(f"{project}/")):
            return True
    with suppress(QueueError):
        return _is_noted(hub, project.id)
    return False


def known_projects(hub: Hub) -> list[ProjectKey]:
    """List the projects Label Studio has asked for, and those the store holds; sorted by id.

    What cannot be read of the two is logged; raises its error when the other one has nothing either.
    """
    found: dict[int, ProjectKey] = {}
    failure: LabelLoopError | None = None
    try:
        found |= hub.projects.here()
    except StoreError as error:
        failure = error
    try:
        noted = [int(name) for address in hub.tool.addresses for name in hub.redis.hkeys(projects_key(address))]
        found |= {number: hub.project(number) for number in noted if number not in found}
    except QueueError as error:
        failure = error
    if failure is not None:
        if not found:
            raise failure
        _log.warning("some projects may be missing: %s", failure)
    return [found[number] for number in sorted(found)]
