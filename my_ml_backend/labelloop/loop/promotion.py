"""A person's word on versions: one becomes champion, or is rejected. There is one way, whoever passes the word on.

Commands, a registry in which somebody approved a version, and whatever comes later all end here. What follows, to
deploy, pre-annotate and announce, is the deploy job's (loop/jobs.py), which finds the new champion by itself.
"""

import logging
from dataclasses import replace

from labelloop.cloud.base import Approval
from labelloop.errors import Conflict
from labelloop.models.champion import ChampionPointer, Pointers, Reason
from labelloop.models.open_run import OpenRuns
from labelloop.models.runs import Runs
from labelloop.models.store import Store
from labelloop.models.versions import VersionRecord, Versions, number_of
from labelloop.run.verdict import force_version, refuse_version
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def promote(store: Store, project: ProjectKey, version: str, fence: int | None = None, *, force: bool = False) -> None:
    """Make a version champion. May be repeated; raises Fenced where ``fence`` is not the newest any more.

    With ``force`` one that was rejected, too, and its record says so; without, raises Conflict for one that somebody
    has rejected meanwhile. The open run loses its right to promote, before anything else: one that ends in between has
    lost it already.
    """
    versions, pointer = Versions(store, project), ChampionPointer(store, project)
    record = force_version(versions, version) if force else versions.find(version)
    if record is not None and not record.promoted:
        raise Conflict(f"{version} does not become champion, for it was rejected: {record.verdict}")
    OpenRuns(store, project).bar(f"{version} was made champion by a person while it was being trained")
    if pointer.mend(version):
        _log.warning("project %s: its champion file was damaged and is written anew", project)
        fence = None
    pointer.promote(version, pointer.take_fence() if fence is None else fence, Reason("person"))
    settle_champion(store, project, version)


def settle_champion(store: Store, project: ProjectKey, version: str) -> None:
    """Let the run of a champion that waited say so, and the record of a version that it took the place of by itself.

    Whoever made it champion may have been cut off before that.
    """
    versions = Versions(store, project)
    if (record := versions.find(version)) is not None:
        _settle(Runs(store, project), record, "promoted")
    for before, _, why in ChampionPointer(store, project).read().rollbacks():
        taken_back = versions.find(before)
        if taken_back is not None and taken_back.rolled_back != why:
            versions.amend(replace(taken_back, rolled_back=why))


def reject(store: Store, project: ProjectKey, version: str, why: str) -> None:
    """Reject a version that is not champion; ``why`` goes into its verdict. May be repeated; raises NotFound."""
    record = refuse_version(Versions(store, project), version, why)
    _settle(Runs(store, project), record, "rejected")


def _settle(runs: Runs, version: VersionRecord, state: str) -> None:
    """Let the run of a version that waited say what came of it; which run is the latest stays as it is."""
    found = runs.find(version.run) if version.waits else None
    if found is not None and found.state == "waiting":
        runs.save(found, lambda stands: replace(stands, state=state, verdict=version.verdict))  # type: ignore[arg-type]


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


def standing(record: VersionRecord, pointers: Pointers) -> tuple[Approval, str]:
    """Say what a registry is to show of a version, and why; the store alone decides it."""
    version, champion = record.version, pointers.champion
    if version == champion:
        return "approved", record.verdict
    if not record.promoted:
        gone = f"its files were pruned on {record.pruned[:10]}. " if record.pruned else ""
        return "rejected", gone + record.verdict
    if after := successor(version, pointers):
        if is_rolled_back(version, pointers):
            return "rejected", f"rolled back to {after}. {record.told}"
        return "approved", f"{after} followed it. {record.verdict}"
    if record.parent == champion:
        return "pending", f"approve it to make it champion. {record.verdict}"
    return "rejected", f"passed over: it met {record.parent or 'no other version'}, and now {champion} is champion"


def champion_before(versions: Versions, pointers: Pointers) -> str:
    """Name the last champion before this one from which nobody rolled back and which passes still; empty for none."""
    for reign in reversed(pointers.history):
        gone = reign.version in pointers.pruned
        if gone or reign.version == pointers.champion or is_rolled_back(reign.version, pointers):
            continue
        record = versions.find(reign.version)
        if record is not None and record.promoted:
            return reign.version
    return ""
