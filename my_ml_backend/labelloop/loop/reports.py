"""Reports of versions as people ask for them: one that is due is waited for."""

import time
from collections.abc import Callable

from labelloop.errors import NotFound, QueueError
from labelloop.loop.hub import Hub
from labelloop.models.runs import DUE, WRITTEN
from labelloop.types import ProjectKey

_ASKED_SECONDS = 0.2
"""How often the store is asked for a report that is waited for."""


def await_report(hub: Hub, project: ProjectKey, version: str, seconds: float, tell: Callable[[str], object]) -> bytes:
    """Read a version's report (HTML); one that is due is waited for, so many ``seconds``, of which ``tell`` is told.

    Raises NotFound, which says why, where there is none, or none yet after that time.
    """
    late, told = time.monotonic() + seconds, False
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
        if time.monotonic() >= late:
            raise NotFound(
                f"the report of {version} is not written yet: it was waited for, for {seconds:g} s. Give this command "
                "again later, or let it wait for longer with --wait SECONDS"
            )
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
    try:
        if hub.state(project).is_held() or hub.state(project).is_held(challenger=True):
            return DUE
    except QueueError as error:
        return f"whether a worker is at it is not known ({error})"
    return (
        "its worker was ended before it wrote one. If that was the last run, `labelloop retrain` writes it where the "
        "run was made"
    )
