"""A person's word on versions: one becomes champion, or is rejected. There is one way, whoever passes the word on.

Commands, a registry in which somebody approved a version, and whatever comes later all end here. What follows, to
deploy, pre-annotate and announce, is the deploy job's (loop/jobs.py), which finds the new champion by itself.
"""

import logging
from dataclasses import replace

from labelloop.loop.hub import Hub
from labelloop.models.champion import Pointers
from labelloop.models.runs import RunRecord, Runs
from labelloop.models.versions import VersionRecord, Versions, number_of
from labelloop.run.verdict import force_version, refuse_version
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def promote(hub: Hub, project: ProjectKey, version: str, fence: int | None = None, *, force: bool = False) -> None:
    """Make a version champion. May be repeated; raises Fenced where ``fence`` is not the newest any more.

    With ``force`` one that was rejected, too, and its record says so. The open run loses its right to promote, before
    anything else: one that ends in between has lost it already.
    """
    versions, pointer = hub.versions(project), hub.pointer(project)
    record = force_version(versions, version) if force else versions.find(version)
    hub.open_runs(project).bar(f"{version} was made champion by a person while it was being trained")
    if pointer.mend(version):
        _log.warning("project %s: its champion file was damaged and is written anew", project)
        fence = None
    pointer.promote(version, pointer.take_fence() if fence is None else fence)
    if record is not None:
        _settle(hub.runs(project), record, "promoted")


def reject(hub: Hub, project: ProjectKey, version: str, why: str) -> None:
    """Reject a version that is not champion; ``why`` goes into its verdict. May be repeated; raises NotFound."""
    record = refuse_version(hub.versions(project), version, why)
    _settle(hub.runs(project), record, "rejected")


def _settle(runs: Runs, version: VersionRecord, state: str) -> None:
    """Let the run of a version that waited say what came of it; which run is the latest stays as it is."""
    found = runs.find(version.run) if version.waits else None
    if found is not None and found.state == "waiting":
        settled: RunRecord = replace(found, state=state, verdict=version.verdict)  # type: ignore[arg-type]
        runs.save(settled)


def is_rolled_back(version: str, pointers: Pointers) -> bool:
    """Whether an older version took its place when it was champion last."""
    after = successor(version, pointers)
    return bool(after) and number_of(after) < number_of(version)


def successor(version: str, pointers: Pointers) -> str:
    """Name the champion that followed when a version was it last; empty for the champion, and for one never it."""
    reigns = [reign.version for reign in pointers.history]
    if version not in reigns or version == pointers.champion:
        return ""
    last = len(reigns) - 1 - reigns[::-1].index(version)
    return next((one for one in reigns[last + 1 :] if one != version), "")


def champion_before(versions: Versions, pointers: Pointers) -> str:
    """Name the last champion before this one from which nobody rolled back and which passes still; empty for none."""
    for reign in reversed(pointers.history):
        if reign.version == pointers.champion or is_rolled_back(reign.version, pointers):
            continue
        record = versions.find(reign.version)
        if record is not None and record.promoted:
            return reign.version
    return ""
