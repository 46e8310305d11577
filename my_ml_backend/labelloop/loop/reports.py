"""Reports of versions as people ask for them: one that is due is waited for (loop/report_writing.py writes them)."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from labelloop.errors import LeaseLost, NotFound, QueueError
from labelloop.loop.background import machine_of
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.queue import count_workers, machine_queue
from labelloop.loop.redis_client import may_be_lost
from labelloop.models.runs import DUE, WRITTEN, RunRecord
from labelloop.types import ProjectKey

_ASKED_SECONDS = 0.2
"""How often the store is asked for a report that is waited for, and Redis whether none is being written."""

REPORT_SECONDS = 60.0
"""How long a person's command waits for a report that is in its way."""

ERASED = "some of what it would show was erased before it was written"
ERASED_FILES = "the files it would be made of were removed by `labelloop erase` before it was written"
NO_FILES = "the machine that went on with its run does not have the files it would be made of"
REMOVED = "the folder of its run, with the files it would be made of, was removed from MODEL_DIR before it was written"
UNTOUCHED = "the files it would be made of were removed, for it could not be written for a week"
GONE = "its project was not in Label Studio any more when it was to be written"
"""Say of a version's report why there is none."""


def await_report(
    hub: Hub,
    project: ProjectKey,
    version: str,
    seconds: float = 0.0,
    tell: Callable[[str], object] = lambda _: None,
) -> bytes:
    """Read a version's report (HTML); one that is due is waited for, so many ``seconds``, of which ``tell`` is told.

    Raises NotFound, which says why, where there is none, or none yet after that time.
    """
    late, asked, told = time.monotonic() + seconds, False, False
    while True:
        # Before it is looked for: one that is written in between is found.
        stands = report_stands(hub, project, version)
        try:
            return hub.versions(project).read_report(version)
        except NotFound as error:
            if stands not in ("", DUE, WRITTEN):
                raise NotFound(f"{version} of {project} has no report: {stands}") from error
            if stands != DUE:
                raise
        if not asked:
            _ask_for(hub, project, version)
            asked = True
        if time.monotonic() >= late:
            waited = f": it was waited for, for {seconds:g} s" if seconds else ""
            raise NotFound(f"the report of {version} is being written{waited}. Ask for it again in a minute")
        if not told:
            tell(f"the report of {version} is being written; it is waited for, {seconds:g} s at most ...")
            told = True
        time.sleep(_ASKED_SECONDS)


def report_stands(hub: Hub, project: ProjectKey, version: str) -> str:
    """Say how it stands with a version's report: it is ``due``, ``written``, or else why there is none.

    Empty where that is not kept: of what was adopted, pruned, or made by an earlier release. Raises NotFound for a
    version that is not published.
    """
    record = hub.versions(project).get(version)
    run = None if record.pruned else hub.runs(project).find(record.run)
    if run is None or run.report != DUE:
        return run.report if run is not None else ""
    state = hub.state(project)
    try:
        if state.is_held() or state.is_held(challenger=True) or count_workers(hub.redis, machine_queue(run.machine)):
            return DUE
    except QueueError as error:
        return f"it is due, and whether a worker is at it is not known ({error})"
    return (
        "it is due, but no worker runs where the run was made, which has the files: start one there (`labelloop "
        "worker`, with the same MODEL_DIR), and it writes it"
    )


def _ask_for(hub: Hub, project: ProjectKey, version: str) -> None:
    """Have the machine that made a version's run write its report, or say that it does not have the files any more."""
    run = hub.runs(project).find(hub.versions(project).get(version).run)
    if run is not None and run.machine:
        with may_be_lost(f"that the report of {version} of {project} is waited for"):
            hub.queue(project).report(run.machine, run.key)


def end_report(hub: Hub, project: ProjectKey, key: str, why: str) -> bool:
    """Say ``why`` a judged run gets no report, where one is due of files of this machine, and whether that is so.

    The caller lets none be written.
    """
    machine, due_here = machine_of(hub.settings.directory), False

    def change(stands: RunRecord) -> RunRecord:
        nonlocal due_here
        due_here = stands.judged and stands.report == DUE and stands.machine in ("", machine)
        return replace(stands, report=why) if due_here else stands

    hub.runs(project).amend(key, change)
    return due_here


@contextmanager
def without_reports(hub: Hub, project: ProjectKey, seconds: float = 0.0) -> Iterator[None]:
    """Let no report of a project be written inside the block; one in hand is waited for, so many ``seconds``.

    Raises LeaseLost where that takes longer.
    """
    late = time.monotonic() + seconds
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(Lease(hub, project, reports=True))
                break
            except LeaseLost:
                if time.monotonic() >= late:
                    told = f"a report of project {project.shown} is being written: give this command again in a minute"
                    raise LeaseLost(told) from None
            time.sleep(_ASKED_SECONDS)
        yield
