"""Takes a champion back by itself where annotators agree less with it than with its predecessor (docs/rollback.md).

Both are asked in the worker about the same tasks: those that were served at random since the version was announced. It
is a job of its own, for it loads models, and needs no lease: what it finds is added to a record by compare-and-swap,
each task once, and the champion is moved under a fence. What follows, to deploy, pre-annotate and announce, is the
deploy job's, as for a person's rollback.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from labelloop.bundle_info import ForeignInfo
from labelloop.data.labeling import Labeling
from labelloop.errors import BundleError, Conflict, NotFound
from labelloop.kinds.base import SCORED_BY, find
from labelloop.loop.endpoint_features import features_of
from labelloop.loop.hub import Hub
from labelloop.loop.metering import UNCOMPARED
from labelloop.loop.project_endpoint import learns
from labelloop.loop.project_labels import labeling_of, read_labels
from labelloop.loop.promotion import champion_before, settle_champion
from labelloop.models.bundle import read_bundle_info, served_by
from labelloop.models.champion import Pointers, Reason
from labelloop.models.versions import number_of
from labelloop.run.context import Context
from labelloop.run.folder import RunFolder
from labelloop.run.scoring import VersionOpponent
from labelloop.types import ADOPTED, ProjectKey
from labelloop.watch.agreement import Share, kept_agreements
from labelloop.watch.comparison import LEAST, MOST, WORSE, Compared, Comparison, Met, kept_less

_log = logging.getLogger(__name__)

_AT_ONCE = 200
"""Tasks that one job compares: what is left waits for the next."""

_SECONDS = 600.0
"""At least between two comparisons of a project, or LABELLOOP_SCAN_SECONDS where that is less: each loads models."""


def ask_for_comparison(hub: Hub, project: ProjectKey) -> None:
    """Ask for a comparison where annotators have said something since the last one. Raises QueueError."""
    state = hub.state(project)
    notes = state.notes()
    if hub.settings.rollback == "off":
        if WORSE in notes:
            state.note(WORSE, "")
    elif UNCOMPARED in notes and state.compare(min(_SECONDS, hub.settings.scan_seconds)):
        hub.queue(project).compare()


def compare_announced(hub: Hub, project: ProjectKey) -> str:
    """Compare the announced version with its predecessor on what is new, and act on all that is known; says what came.

    Raises Fenced where another worker has moved the champion meanwhile, and LabelLoopError where something cannot be
    read: the sweep asks again.
    """
    pointers = hub.pointer(project).read()
    version = pointers.announced
    if hub.settings.rollback == "off" or version is None or not learns(hub, project):
        return _settled(hub, project, "there is nothing to compare")
    if version != pointers.champion:
        return f"{pointers.champion} is on its way to be announced"
    predecessor = champion_before(hub.versions(project), pointers)
    if not predecessor or number_of(predecessor) > number_of(version):
        return _settled(hub, project, f"{version} has no predecessor")
    labeling = labeling_of(hub, project)
    try:
        both = [_opponent(hub, project, name, labeling.kind) for name in (version, predecessor)]
    except (BundleError, NotFound) as error:
        return _told_apart(hub, project, version, predecessor, str(error))
    return _act(hub, project, pointers, *_met(hub, project, labeling, both))


def _act(hub: Hub, project: ProjectKey, pointers: Pointers, found: Compared, left: bool) -> str:
    """Do what follows of all that was ``found``; ``left`` says that the next job finds more."""
    version, predecessor = pointers.champion or "", found.predecessor
    if len(found.items) < LEAST or found.chance() > hub.settings.rollback_error:
        _withdraw(hub, project, version, predecessor)
        compared = f"{len(found.items)} randomly served tasks do not show that {version} is worse than {predecessor}"
        return compared if left else _settled(hub, project, compared)
    worse = found.told(version)
    if stays := _why_it_stays(hub, project, pointers, predecessor):
        return _settled(hub, project, _tell(hub, project, version, predecessor, worse, stays))
    if hub.pauses(project).read() is not None:
        # Looked at again, for it may be resumed.
        return _tell(hub, project, version, predecessor, worse, "the project is paused")
    if hub.state(project).is_held():
        # The run in progress would be fenced off, and nothing could be announced before it is over.
        return f"{version} is rolled back when the run in progress is over: {worse}"
    return _roll_back(hub, project, version, predecessor, worse)


def _withdraw(hub: Hub, project: ProjectKey, version: str, predecessor: str) -> None:
    """Take back that a version is worse, where that was told."""
    Comparison(hub.store, project, version).tell(predecessor, "", "")
    hub.state(project).note(WORSE, "")


def _settled(hub: Hub, project: ProjectKey, told: str) -> str:
    """Note that nothing is left to be compared until annotators say more; gives what it is told."""
    hub.state(project).note(UNCOMPARED, "")
    return told


def _opponent(hub: Hub, project: ProjectKey, version: str, kind: str) -> VersionOpponent:
    """Bring a version's bundle onto this machine; raises BundleError or NotFound, saying why it cannot be asked."""
    cache = hub.settings.directory / "cache" / "bundles"
    bundle = hub.versions(project).fetch_bundle(version, cache, served_by(SCORED_BY))
    info = read_bundle_info(bundle)
    if isinstance(info, ForeignInfo):
        raise BundleError(f"the model of {version} lies elsewhere")
    if info.kind != kind:
        raise BundleError(f"{version} learned {info.kind}, and the label config asks for {kind} now")
    return VersionOpponent(version, bundle)


def _met(hub: Hub, project: ProjectKey, labeling: Labeling, both: Sequence[VersionOpponent]) -> tuple[Compared, bool]:
    """Compare the two on tasks that are new; gives all that is known then, and whether tasks are left for next time."""
    (own, theirs), agreement = both, hub.state(project).agreement
    comparison = Comparison(hub.store, project, own.name)
    found = comparison.add(theirs.name, ())
    new = agreement.comparable(own.name) - {one.task for one in found.items}
    due = sorted(new)[: min(_AT_ONCE, MOST - len(found.items))]
    if not due:
        return found, False
    with TemporaryDirectory(prefix="labelloop-compare-") as folder:
        progress, features = lambda _what, _done, _total: None, hub.features(project)
        context = Context(RunFolder(Path(folder)), hub.settings, progress, labeling.kind, features=features)
        context.labeled = read_labels(hub, project, labeling, context.progress, due)
        context.endpoint_features = features_of(hub, project)
        items, kind = list(context.manifest.items), find(labeling.kind)
        sides = [kind.agreement(context, one, items, labeling.rename) for one in both]
    pairs = zip(items, *sides, strict=True)
    met = [Met(item.task, one, other) for item, one, other in pairs if one is not None and other is not None]
    agreement.pass_by(set(due) - {one.task for one in met})
    return comparison.add(theirs.name, met), len(new) > len(due)


def _why_it_stays(hub: Hub, project: ProjectKey, pointers: Pointers, predecessor: str) -> str:
    """Say why a champion that is worse stays; empty where nothing speaks against its predecessor."""
    version = pointers.champion or ""
    if hub.settings.rollback == "tell":
        return "LABELLOOP_ROLLBACK=tell"
    if any((before, reign.version) == (version, predecessor) for before, reign, _ in pointers.rollbacks()):
        return f"it was rolled back to {predecessor} before, and is champion again"
    if _is_a_persons(hub, project, pointers):
        return f"a person has made {version} champion"
    return ""


def _is_a_persons(hub: Hub, project: ProjectKey, pointers: Pointers) -> bool:
    """Whether a person made the champion what it is: by a command, an approval, a registry, or by force."""
    reign = pointers.history[-1]
    reason, record = pointers.reason(reign), hub.versions(project).find(reign.version)
    if reason.by != "run":
        return reason.by == "person"
    # As earlier releases noted it; and no run makes a version champion a second time.
    again = sum(one.version == reign.version for one in pointers.history) > 1
    return again or record is None or record.forced or record.waits or record.recipe == ADOPTED


def _roll_back(hub: Hub, project: ProjectKey, version: str, predecessor: str, worse: str) -> str:
    """Make the predecessor champion; what follows is the deploy job's, which the sweep asks for where this is killed.

    Raises Fenced where another worker has moved the champion meanwhile.
    """
    pointer, told = hub.pointer(project), f"{version} was rolled back to {predecessor}: {worse}"
    try:
        pointer.promote(predecessor, pointer.take_fence(), Reason("agreement", told), instead=version)
    except Conflict as error:
        return str(error)
    _log.warning("project %s: %s", project, told)
    settle_champion(hub.store, project, predecessor)
    hub.queue(project).deploy()
    return _settled(hub, project, told)


def _tell(hub: Hub, project: ProjectKey, version: str, predecessor: str, worse: str, stays: str) -> str:
    """Note that a version is worse, and why it stays, for status and messages; gives that."""
    before = Comparison(hub.store, project, version).read()
    found = Comparison(hub.store, project, version).tell(predecessor, worse, stays)
    told = found.told_of_stay(version, project)
    hub.state(project).note(WORSE, told)
    if not before.worse:
        _log.warning("project %s: %s", project, told)
    return told


def _told_apart(hub: Hub, project: ProjectKey, version: str, predecessor: str, why: str) -> str:
    """Compare by what annotators kept of each, where the two cannot be asked about the same tasks: told, never done."""
    agreed, before = hub.state(project).agreement.read(), kept_agreements(hub.store, project).get(predecessor)
    if agreed is None or agreed.version != version or before is None:
        return _settled(hub, project, f"{version} and {predecessor} cannot be compared: {why}")
    own, theirs = (agreed.random, agreed.random_kept), (before.random, before.random_kept)
    if not kept_less(own, theirs, hub.settings.rollback_error):
        _withdraw(hub, project, version, predecessor)
        return _settled(hub, project, f"annotators do not keep fewer predictions of {version} than of {predecessor}")
    mine, other = Share.of(*own), Share.of(*theirs)
    worse = (
        f"of randomly served tasks annotators kept the predictions of {version} in {mine.kept} of {mine.begun}, and "
        f"those of {predecessor} in {other.kept} of {other.begun}, fewer than chance explains"
    )
    stays = f"{predecessor} cannot be asked about the same tasks: {why}"
    return _settled(hub, project, _tell(hub, project, version, predecessor, worse, stays))
