"""What every job is done within: where its project lies, what it notes, what holds the project meanwhile."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labelloop.errors import NoSuchProject, ProjectMoved
from labelloop.loop.backoff import NO_FAILURE, reason_of
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.mirror import reconcile
from labelloop.loop.notify import tell_news
from labelloop.loop.project_registry import lose_project, present_project
from labelloop.loop.queue import ProjectQueue
from labelloop.loop.state import ProjectState
from labelloop.types import ProjectKey


@contextmanager
def noting(state: ProjectState, name: str = "trouble") -> Iterator[None]:
    """Note what goes wrong inside the block, and take the note away when nothing does."""
    try:
        yield
    except ProjectMoved:
        # What went wrong here is over: where the project lies now, it is noted there.
        state.note(name, "")
        raise
    except NO_FAILURE:
        raise
    except Exception as error:
        state.note(name, reason_of(error))
        raise
    state.note(name, "")


@contextmanager
def existing(hub: Hub, project: ProjectKey) -> Iterator[None]:
    """Leave a project alone that turns out not to be in Label Studio."""
    try:
        yield
    except NoSuchProject as error:
        lose_project(hub, project, error)
        raise


@contextmanager
def holding(hub: Hub, project: ProjectKey) -> Iterator[ProgressReporter]:
    """Hold the project and report from it; afterwards show what came of it, and look at what it needs next."""
    held = False
    try:
        with Lease(hub, project) as lease:
            held = True
            reporter = ProgressReporter(hub, project, lease)
            try:
                yield reporter
            finally:
                reporter.close()
    finally:
        # Who did not get the project leaves that to who has it.
        if held:
            reconcile(hub, project)
            tell_news(hub, project)
            hub.queue(project).consider(time.time())


@contextmanager
def here(hub: Hub, project: ProjectKey, ask: Callable[[ProjectQueue], object]) -> Iterator[None]:
    """Do something where the project lies; raises ProjectMoved where that is elsewhere by now, and it is asked for."""
    place = present_project(hub, project)
    if place != project:
        ask(hub.queue(place))
        raise ProjectMoved(f"project {project.id} lies in {place}: it is done there")
    yield
