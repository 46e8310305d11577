"""Does what a project needs next, as its outlook says: may be asked at any time, as often as anyone likes."""

import time
from dataclasses import replace

from labelloop.errors import UnknownKind
from labelloop.kinds.base import find
from labelloop.loop.batch import goes_on
from labelloop.loop.challenger_outlook import decide_challenger
from labelloop.loop.changed_back import look_once_more
from labelloop.loop.hub import Hub
from labelloop.loop.outlook import Outlook, Situation, decide, situation
from labelloop.loop.retrain_policy import LOOK_AHEAD, RetrainPolicy
from labelloop.loop.state import Wish
from labelloop.loop.training import look_at_training
from labelloop.models.open_run import OpenRun
from labelloop.models.runs import RunRecord
from labelloop.run.parameters import improvement
from labelloop.types import ProjectKey


def consider(hub: Hub, project: ProjectKey) -> str:
    """Enqueue or schedule what the project needs, and say what that was.

    While a worker holds the project nothing is done: it asks again when it is finished.
    """
    state, queue = hub.state(project), hub.queue(project)
    stands = situation(hub, project, RetrainPolicy.of(hub.settings), time.time())
    policy = RetrainPolicy.of(hub.settings, quick=stands.quick)
    if stands.held:
        return decide(policy, stands).why
    queue.resume_prelabel()
    if stands.opened:
        return _follow(hub, project, stands, stands.opened)
    # What is decided by, for whoever asks how the project stands and has other settings.
    state.note_policy(quick=stands.quick)
    stands = _with_improvement(hub, project, stands)
    found = decide(policy, stands)
    if (soon := _is_soon(stands, found)) and look_once_more(hub, project, early=not _is_now(stands, found)):
        # Fewer may have changed than are noted: what was changed and changed back makes no run.
        stands = replace(stands, now=time.time(), pending=state.changes.pending())
        found = decide(policy, stands)
    if not stands.learns:
        # Nobody else will: should the project be trained one day, a scan finds them.
        state.changes.settle(stands.now)
    elif found.next == "run" and _is_now(stands, found):
        # Of many webhooks that lead to one run, it is the last one's.
        trace = state.trace(stands.pending.first) if found.of_labels else ""
        queue.retrain(found.trigger, force=found.forced, trace=trace)
        if stands.wish:
            # Not before the job is there: a worker killed in between would lose it.
            state.granted(stands.wish)
        return f"run enqueued: {found.trigger}"
    elif found.next == "deploy":
        _challenge(hub, project, policy, stands)
        return _deploy(hub, project, stands, found)
    elif found.at is not None:
        queue.consider(found.at if soon or not found.of_labels else found.at - LOOK_AHEAD)
    _challenge(hub, project, policy, stands)
    return _told(stands, found)


def _challenge(hub: Hub, project: ProjectKey, policy: RetrainPolicy, stands: Situation) -> None:
    """Have the project's challenger begun in the background where it is due, or look again when it is."""
    found = decide_challenger(policy, stands)
    if found is None or found.next != "begin" or found.at is None:
        return
    if found.is_now(stands.now):
        hub.queue(project).challenge()
    else:
        hub.queue(project).consider(found.at)


def _is_soon(stands: Situation, found: Outlook) -> bool:
    """Whether a run for changed labels is due, or in so little time that it is looked at now whether they did."""
    return found.of_labels and found.at is not None and found.at - LOOK_AHEAD <= stands.now


def _is_now(stands: Situation, found: Outlook) -> bool:
    return found.at is not None and found.at <= stands.now


def _told(stands: Situation, found: Outlook) -> str:
    """Say what is waited for, in words that do not change while it is."""
    if found.next == "look":
        return "the last attempt failed; it is left alone for a while"
    if found.of_labels:
        return f"{stands.pending.changed} changed labels wait for their moment"
    return found.why


def _follow(hub: Hub, project: ProjectKey, stands: Situation, opened: OpenRun) -> str:
    """Look how the open run stands that is trained elsewhere; whatever else is wanted, another run comes after it."""
    # The store remembers it; what a killed worker has left here would be one run too many.
    hub.state(project).granted(Wish("", force=False, kind="begun"))
    if stands.wait is not None:
        hub.queue(project).consider(stands.wait.until)
        return "the last attempt failed; it is left alone for a while"
    told = look_at_training(hub, project, opened)
    beside = decide(RetrainPolicy.of(hub.settings), replace(stands, opened=None, wish=None, last=None))
    return _deploy(hub, project, stands, beside) if beside.next == "deploy" else told


def _deploy(hub: Hub, project: ProjectKey, stands: Situation, found: Outlook) -> str:
    """Have the champion announced, or look again when it may have come to its endpoint."""
    queue = hub.queue(project)
    if found.at is not None and found.at > stands.now:
        queue.consider(found.at)
    elif told := goes_on(hub, project, stands.behind):
        queue.consider(time.time() + hub.settings.poll_seconds)
        return told
    else:
        queue.deploy()
    return found.why


def _with_improvement(hub: Hub, project: ProjectKey, stands: Situation) -> Situation:
    """Say, and note for whoever asks with other settings, whether a recipe or the gate is newer than the last run."""
    found = _improvement(hub, stands.last) if stands.last is not None else ""
    if found != stands.improved:
        hub.state(project).note("improved", found)
    return replace(stands, improved=found)


def _improvement(hub: Hub, last: RunRecord) -> str:
    try:
        kind = find(last.kind)
    except UnknownKind:
        # Made by a newer release; whatever the labels ask for now, what comes next is decided without it.
        return ""
    return improvement(last, kind.competing(hub.settings), kind.recipes)
