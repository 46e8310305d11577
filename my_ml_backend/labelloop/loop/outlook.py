"""What a project needs next, at which moment, and why: one value that is acted upon (``consider``) and shown alike.

``decide`` is pure: the same policy and the same situation give the same outlook, whoever asks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from labelloop.errors import UnknownKind
from labelloop.kinds.base import find
from labelloop.loop import deploy as deploying
from labelloop.loop.attempts import project_settings
from labelloop.loop.backoff import Wait, growing
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import learns
from labelloop.loop.retrain_policy import DAY_SECONDS, Hold, Imported, Pending, Ran, RetrainPolicy, duration
from labelloop.loop.speeds import Speeds
from labelloop.loop.state import Wish
from labelloop.loop.training import open_elsewhere
from labelloop.models.open_run import OpenRun
from labelloop.models.pauses import Pause
from labelloop.models.runs import RunRecord
from labelloop.run.parameters import improvement
from labelloop.types import Json, ProjectKey

Next = Literal["nothing", "run", "deploy", "look", "running", "elsewhere", "paused"]
"""What comes next: nothing, a run, the announcement of the champion, another look after a failure. Of a run that is in
progress, or trained elsewhere, the end; what comes after it is decided then. Of a paused project, nothing until a
person resumes it."""


Beside = Literal["prune", "erase"]
"""What holds a project and is no run."""

_BESIDE: dict[str, str] = {
    "prune": "old versions are being pruned",
    "erase": "what somebody asked for is being erased",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a project at the moment ``now`` (Unix seconds); all that a decision goes by but the policy.

    ``held`` says that somebody has the project, ``doing`` what, as far as that is told. ``lacking`` says what a first
    version lacks, as a run or a scan found it. ``behind`` is the champion that is not yet announced, or not yet at its
    endpoint, and ``looked_at`` when to see to that. ``improved`` says which recipe, or the gate, has improved since the
    last run. ``ran`` are the runs of the last day, where the policy goes by them. ``quick`` says that the project's
    runs take seconds, ``left`` are recipes that they leave to a challenger. ``challenger`` is the last one,
    ``challenging`` that it is at work, ``challenger_improved`` what has improved since it. ``imported`` is what
    announcing the last version took.
    """

    now: float
    pending: Pending
    held: bool = False
    doing: str = ""
    opened: OpenRun | None = None
    learns: bool = True
    wish: Wish | None = None
    wait: Wait | None = None
    lacking: str = ""
    last: RunRecord | None = None
    champion: str | None = None
    behind: str = ""
    looked_at: float = 0.0
    deploy_failed: bool = False
    improved: str = ""
    pause: Pause | None = None
    ran: tuple[Ran, ...] = ()
    quick: bool = False
    left: tuple[str, ...] = ()
    challenger: RunRecord | None = None
    challenging: bool = False
    challenger_improved: str = ""
    imported: Imported | None = None

    @property
    def first(self) -> bool:
        """Whether nothing has been trained yet."""
        return self.champion is None and self.last is None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is ``next``, ``at`` which moment (Unix seconds; None where none is known), and ``why``, in words.

    ``changed`` labels count, of ``needed``; the last one changed ``quiet`` seconds ago, of ``quiet_seconds``, the first
    one ``waited`` seconds ago, of ``max_wait_seconds``. ``later`` says that more changes put it off. ``trigger`` is
    what the record of a run will say. ``forced`` trains the same labels once more. ``hold`` is the cool-down or budget
    that puts a run off. ``looks`` says that labels were missing, so the run looks first whether they still are.
    """

    next: Next
    at: float | None
    why: str
    changed: int = 0
    needed: int = 0
    quiet: float | None = None
    quiet_seconds: float = 0.0
    waited: float | None = None
    max_wait_seconds: float = 0.0
    later: bool = False
    trigger: str = ""
    forced: bool = False
    hold: Hold | None = None
    looks: bool = False

    @property
    def of_labels(self) -> bool:
        """Whether it is a run for changed labels."""
        return self.next == "run" and self.trigger == _of_labels(self.changed)

    @property
    def enough(self) -> bool:
        """Whether as many labels have changed as are needed."""
        return 0 < self.needed <= self.changed

    def told(self, now: float) -> str:
        """Say it in a line: ``a run in 18 s, later if more labels change: 22 of 20 changed labels, quiet for ...``."""
        what = {"run": "a run", "deploy": "the champion is announced", "look": "another look"}.get(self.next)
        if what is None or self.at is None:
            return self.why
        what = "a look whether labels are enough for a run" if self.looks else what
        soon = "at once" if self.at <= now else f"in {duration(self.at - now)}"
        return f"{what} {soon}{', later if more labels change' if self.later else ''}: {self.why}"


def decide(policy: RetrainPolicy, stands: Situation) -> Outlook:
    """Say what the project needs next. What was begun comes first, then what a person asked for, then the policy."""
    return _under_way(policy, stands) or _asked_for(policy, stands) or _of_itself(policy, stands)


def _under_way(policy: RetrainPolicy, stands: Situation) -> Outlook | None:
    if stands.held:
        return _outlook(policy, stands, "running", None, _BESIDE.get(stands.doing, "a run is in progress"))
    if stands.opened:
        at = stands.wait.until if stands.wait else stands.now
        return _outlook(policy, stands, "elsewhere", at, f"run {stands.opened.key} is being trained elsewhere")
    if not stands.learns:
        return Outlook("nothing", None, "its endpoint has a model of its own: nothing is trained")
    return None


def _asked_for(policy: RetrainPolicy, stands: Situation) -> Outlook | None:
    """Say what a person wants; nothing else is begun while the project waits after a failure."""
    if (wish := stands.wish) and not stands.pause:
        return _run(policy, stands, wish.trigger, forced=wish.force)
    if wait := stands.wait:
        why = f"{wait.away} is away" if wait.away else "the last attempt failed"
        return _outlook(policy, stands, "look", wait.until, why)
    return None


def _of_itself(policy: RetrainPolicy, stands: Situation) -> Outlook:
    # While labels are missing no run can be made: the next change of one starts it.
    last = None if stands.lacking else stands.last
    unfinished = last if last is not None and is_unfinished(policy, last) else None
    if unfinished and unfinished.state == "failed" and stands.pause:
        # One that was cut off is open, and goes on.
        unfinished = None
    again = retry_at(policy, unfinished, stands.now) if unfinished else 0.0
    if unfinished and again <= stands.now:
        return _run(policy, stands, unfinished.trigger, forced=unfinished.forced)
    changes = _of_changes(policy, stands)
    due = changes.at is not None and changes.at <= stands.now
    if stands.behind and not (stands.deploy_failed and due and not stands.pause):
        at = max(stands.looked_at, stands.now)
        told = "is on its way to its endpoint" if at > stands.now else "is to be announced"
        return _outlook(policy, stands, "deploy", at, f"{stands.behind} {told}")
    if unfinished:
        why = "a failed run is tried again later" if unfinished.state == "failed" else "a run that was cut off waits"
        return _run(policy, stands, unfinished.trigger, again, why=why, forced=unfinished.forced)
    if stands.pause:
        counted = f"; {_counted(policy, stands)}" if stands.pending.changed else ""
        return _outlook(policy, stands, "paused", None, f"{stands.pause}{counted}")
    if last is not None and stands.improved:
        return _held(policy, stands, _run(policy, stands, stands.improved))
    return changes


def retry_at(policy: RetrainPolicy, record: RunRecord, now: float) -> float:
    """Say when a run is tried again (Unix seconds); the wait doubles with each failure, and ends at an hour.

    A run that was cut off goes on at once, and so it does a second time; who is cut off at the same place for the third
    time waits too.
    """
    before = record.own_failures - 1 if record.state == "failed" else record.interruptions - 2
    if before < 0:
        return 0.0
    ended = _moment(record.updated)
    # A moment that is yet to come was noted before the clock was set back.
    return ended + growing(policy.retry_seconds, before) if ended <= now else 0.0


def situation(hub: Hub, project: ProjectKey, policy: RetrainPolicy, now: float) -> Situation:
    """Read how the project stands, as far as the policy goes by it. Raises QueueError, StoreError and SettingsError."""
    state, pointers = hub.state(project), hub.pointer(project).read()
    notes, wait = state.notes(), state.backoff.wait()
    behind = (pointers.champion or "") if deploying.is_behind(hub, project, pointers) else ""
    last = hub.runs(project).latest()
    speeds, held = _speeds(hub, project, last), state.is_held()
    step = state.progress().step() if held else None
    challenger = hub.runs(project).latest_challenger() if speeds.left else None
    return Situation(
        now,
        pending=state.changes.pending(),
        held=held,
        doing=step.stage if step else "",
        opened=open_elsewhere(hub, project),
        learns=learns(hub, project),
        wish=state.wish(waits=wait is not None),
        wait=wait,
        lacking=notes.get("missing", ""),
        last=last,
        champion=pointers.champion,
        behind=behind,
        looked_at=deploying.looked_at_again(hub, project, behind) if behind else 0.0,
        deploy_failed=bool(behind) and deploying.has_failed(hub, project),
        improved=notes.get("improved", ""),
        pause=hub.pauses(project).read(),
        ran=tuple(_ran(hub, project, now)) if policy.has_budget else (),
        quick=speeds.quick,
        left=speeds.left,
        challenger=challenger,
        challenging=bool(speeds.left) and state.is_held(challenger=True),
        challenger_improved=_improved(challenger, speeds.left),
        imported=_imported(hub, project, pointers.announced, now, last, challenger),
    )


def _speeds(hub: Hub, project: ProjectKey, last: RunRecord | None) -> Speeds:
    """Say what the project's runs train; before the first one it is not known what there is to be learned."""
    try:
        return Speeds.of(find(last.kind), project_settings(hub, project), project) if last else Speeds(())
    except UnknownKind:
        return Speeds(())


def _improved(challenger: RunRecord | None, left: tuple[str, ...]) -> str:
    return improvement(challenger, left, find(challenger.kind).recipes) if challenger else ""


def _imported(
    hub: Hub, project: ProjectKey, announced: str | None, now: float, *runs: RunRecord | None
) -> Imported | None:
    """Say what importing the predictions of the announced version took; None where that is not known, or long ago."""
    if not announced:
        return None
    found = next((one for one in runs if one is not None and one.version == announced), None)
    # Of rejected versions that came after it, nothing was imported.
    if found is None and (version := hub.versions(project).find(announced)) and _is_of_today(version.created, now):
        found = hub.runs(project).find(version.run)
    if found is None or not (took := found.seconds.get("import", 0.0)):
        return None
    return Imported(_moment(found.updated), took)


def _is_of_today(moment: str, now: float) -> bool:
    return bool(moment) and _moment(moment) + DAY_SECONDS > now


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _ran(hub: Hub, project: ProjectKey, now: float) -> Iterator[Ran]:
    """Give the project's runs, from the store: Redis only spares reading anew what has ended."""
    runs, state = hub.runs(project), hub.state(project)
    known = state.ran()
    for key in runs.names():
        if key in known:
            yield known[key]
        elif record := runs.find(key):
            ran = Ran(_moment(record.created), record.seconds.get("train", 0.0))
            if record.judged or ran.began + DAY_SECONDS <= now:
                # Whatever becomes of it, it is never counted anew.
                state.note_ran(key, ran)
            yield ran


def is_unfinished(policy: RetrainPolicy, record: RunRecord) -> bool:
    """Whether a run is to go on."""
    return record.state in ("running", "failed") and not record.given_up(policy.run_attempts)


def _of_changes(policy: RetrainPolicy, stands: Situation) -> Outlook:
    """Say what the changed labels call for."""
    pending, lacking = stands.pending, bool(stands.lacking)
    due = policy.due(pending, lacking=lacking)
    if due is None:
        return _outlook(policy, stands, "nothing", None, "nothing has changed")
    few = pending.changed < policy.wanted(lacking=lacking)
    why = f"{_counted(policy, stands)}, quiet for {duration(stands.now - pending.last)} of {duration(policy.quiet)}"
    if few or due == pending.first + policy.max_wait:
        why += f"; the first one waits for {duration(stands.now - pending.first)}, of {duration(policy.max_wait)}"
    later = not few and due < pending.first + policy.max_wait
    trigger = _of_labels(pending.changed)
    found = _outlook(policy, stands, "run", due, why, later=later, trigger=trigger, looks=lacking)
    return _held(policy, stands, found)


def _held(policy: RetrainPolicy, stands: Situation, found: Outlook) -> Outlook:
    """Put off what begins by itself while the cool-down or the budget does not let it begin."""
    hold = policy.held(stands.ran, _ended(stands.last), stands.now, stands.imported)
    if hold is None or found.at is None:
        return found
    return replace(
        found,
        at=max(found.at, hold.until),
        why=f"{found.why}; {hold}",
        later=found.later and found.at > hold.until,
        hold=hold,
    )


def _ended(last: RunRecord | None) -> float | None:
    """Say when the last run ended; None before the first, and while one goes on."""
    if last is None or last.state == "running":
        return None
    return _moment(last.updated)


def _of_labels(changed: int) -> str:
    return f"{changed} changed labels"


def _counted(policy: RetrainPolicy, stands: Situation) -> str:
    """Say how many labels have changed of how many."""
    if stands.lacking:
        # How many there are in all, a look has told; these have changed since, or are among them.
        return "1 changed label" if stands.pending.changed == 1 else f"{stands.pending.changed} changed labels"
    what = "labels for a first version" if stands.first else "changed labels"
    return f"{stands.pending.changed} of {policy.needed(first=stands.first)} {what}"


def _run(
    policy: RetrainPolicy, stands: Situation, trigger: str, at: float = 0.0, *, why: str = "", forced: bool = False
) -> Outlook:
    why = why or trigger
    return _outlook(policy, stands, "run", max(at, stands.now), why, trigger=trigger, forced=forced)


def _outlook(
    policy: RetrainPolicy, stands: Situation, what: Next, at: float | None, why: str, **more: str | bool
) -> Outlook:
    """Put the numbers beside what is next."""
    pending = stands.pending
    quiet = stands.now - pending.last if pending.changed else None
    waited = stands.now - pending.first if pending.changed else None
    numbers: Json = {"quiet": quiet, "waited": waited, "changed": pending.changed}
    needed = policy.needed(first=stands.first)
    rule: Json = {"needed": needed, "quiet_seconds": policy.quiet, "max_wait_seconds": policy.max_wait}
    return Outlook(what, at, why, **numbers, **rule, **more)  # type: ignore[arg-type]
