"""Pre-annotates the tasks that have come since the last flip, with the version that serves; before one, orders them."""

import time

from labelloop.errors import LeaseLost
from labelloop.loop import batch as batching
from labelloop.loop import deploy as deploying
from labelloop.loop import first_labels as ordering
from labelloop.loop import later_predictions
from labelloop.loop import prelabel as prelabeling
from labelloop.loop.hub import Hub
from labelloop.loop.job_scope import existing, here, holding, noting
from labelloop.loop.outlook import decide, situation
from labelloop.loop.project_endpoint import learn
from labelloop.loop.project_registry import site_of
from labelloop.loop.serving import serving
from labelloop.loop.storages import take_in
from labelloop.types import FIRST_LABELS, NO_VERSION, ProjectKey

_GIVING_WAY, _PEOPLE_PAUSE = 5.0, 30.0
"""Seconds for which a part of what a version has left is put off at a time, and within which a run is near at least;
and those after which it is not expected any more that somebody goes on labeling."""


def prelabel_new(hub: Hub, project: ProjectKey) -> str:
    """Pre-annotate the tasks that have come since the last flip; while a run is in progress, it is left to its end."""
    state = hub.state(project)
    # Until it is done, the sweep asks for it again: the endpoint may be down, this worker may be killed.
    state.note("unpredicted", "tasks may be without a prediction")
    take_in(hub, project)
    if state.is_held():
        return _postponed(hub, project)
    with existing(hub, project), noting(state), here(hub, project, lambda queue: queue.prelabel(0.0)):
        learn(hub, project)
        by = serving(hub, project)
        absent = deploying.is_absent(hub, project, by)
        if by.version == FIRST_LABELS and by.serves == "deployed" and not absent:
            # There was no endpoint when tasks were ordered: somebody has made one, whose model predicts.
            ordering.give_up(hub, project)
            by = serving(hub, project)
        version = by.version
        nobody = absent or version in (NO_VERSION, FIRST_LABELS)
    if deploying.is_unsettled(hub, project, by):
        hub.queue(project).postpone_prelabel()
        return f"{by.deployment.answers} may answer: it is done when that is settled"
    if nobody:
        return _order_first(hub, project)
    return _goes_on(hub, project, version) or _predict(hub, project, version)


def _predict(hub: Hub, project: ProjectKey, version: str) -> str:
    """Predict what waits, or a part of what the version's announcement has left, or begin the batch job that does."""
    state, wait = hub.state(project), later_predictions.wait(hub, project)
    if wait:
        hub.queue(project).prelabel(wait)
        return f"predictions are imported in {wait:.0f} s: imports take a tenth of Label Studio's time at most"
    if wait is not None and later_predictions.may_give_way(hub, project) and run_is_near(hub, project):
        hub.queue(project).prelabel(_GIVING_WAY)
        return "a run is near, whose version comes first"
    try:
        with existing(hub, project), noting(state), holding(hub, project) as reporter:
            reporter.stage("prelabel")
            done = prelabeling.prelabel(hub, project, None, reporter, part=wait is not None)
            later_predictions.put_off(hub, project, done)
            if not done.job and not done.more:
                state.note("unpredicted", "")
                by = serving(hub, project)
                if by.serves != "store":
                    version = by.version
                    site_of(hub, project.id).announce(version)
    except LeaseLost:
        return _postponed(hub, project)
    if done.job:
        hub.queue(project).prelabel(hub.settings.poll_seconds)
        return batching.goes_on(hub, project, version) or done.job
    return f"{done.predicted} tasks pre-annotated with {version}, {done.left_out} left out"


def run_is_near(hub: Hub, project: ProjectKey) -> bool:
    """Whether a run comes within what a part takes: it is due, or half of its labels are there and people go on."""
    policy = hub.state(project).policy()
    stands = situation(hub, project, policy, time.time())
    found = decide(policy, stands)
    if found.next != "run" or found.at is None:
        return False
    if found.at <= stands.now + max(_GIVING_WAY, later_predictions.last_part(hub, project)):
        return True
    working = found.quiet is not None and found.quiet < _PEOPLE_PAUSE and 2 * found.changed >= found.needed
    return working and found.hold is None


def _goes_on(hub: Hub, project: ProjectKey, version: str) -> str:
    """Come back later while a batch job predicts, and say so; empty where there is none, or it is over."""
    told = batching.goes_on(hub, project, version)
    if told:
        later_predictions.forget(hub, project)
        hub.queue(project).prelabel(hub.settings.poll_seconds)
    return told


def _order_first(hub: Hub, project: ProjectKey) -> str:
    """Order what waits for the first version: with that, all tasks are pre-annotated."""
    state, ordered = hub.state(project), 0
    later_predictions.forget(hub, project)
    try:
        if ordering.is_wanted(hub, project):
            with existing(hub, project), noting(state), holding(hub, project) as reporter:
                reporter.stage("order")
                ordered = ordering.order_first(hub, project, reporter)
    except LeaseLost:
        return _postponed(hub, project)
    state.note("unpredicted", "")
    return f"there is no version yet; {ordered} tasks are ordered without" if ordered else "there is no version yet"


def _postponed(hub: Hub, project: ProjectKey) -> str:
    """Leave it to whoever holds the project, who looks at what is next when it is done."""
    queue = hub.queue(project)
    queue.postpone_prelabel()
    if not hub.state(project).is_held():
        # It was done in this very moment, and may have looked before there was anything to be seen.
        queue.consider(time.time())
    return "a run is in progress: it is done after that"
