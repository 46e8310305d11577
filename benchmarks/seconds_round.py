"""A round of ``benchmarks seconds``: what the loop is seen to do after the last label, and how that is told.

Only the stages of the run that learns these labels count. What else holds the project meanwhile (the import of an
earlier version's later predictions) is told as that, as is a run that had begun before the last label, and one that
gives no new version.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from labelloop.models.runs import RunRecord
    from support.loop_machine import LoopMachine, Project

Found = TypeVar("Found")

GIVE_UP_SECONDS = 300.0
"""In which a round must have come to its end, whichever; a first version has four times as long."""

_WORD_SECONDS = 30.0
"""After so many, and again after as many, it is said how the project stands."""

_CALM_SECONDS = 3.0
_CLEAR_SECONDS, _PATIENCE_SECONDS = 20.0, 120.0
"""Before a round, the next part of later predictions is to be so far off; in a project that always has some nearer, one
begins all the same after so many seconds."""

_BEGUN = "fetch"
"""A run's first stage."""

_STAGES: Mapping[str, str] = {
    "fetch": "fetched",
    "manifest": "fetched",
    "preprocess": "fetched",
    "train": "trained",
    "evaluate": "judged",
    "register": "published",
    "prelabel": "imported",
    "flip": "flipped",
}
"""What a stage of the worker's counts as; what is called by another name counts as what came before it."""


@dataclass
class Watched:
    """What was seen: each stage and when it began (Unix seconds), "" when nobody had the project; the most memory (MB).

    ``announced`` are versions and when each was.
    """

    stages: list[tuple[str, float]] = field(default_factory=list)
    announced: list[tuple[str, float]] = field(default_factory=list)
    memory: float = 0.0


@contextmanager
def watching(machine: "LoopMachine", project: "Project") -> Iterator[Watched]:
    """Look at what the worker tells, again and again, and at which version is announced."""
    seen, stop = Watched(), threading.Event()
    pointer, state = machine.hub.pointer(project.key), machine.hub.state(project.key)
    before = pointer.read().announced

    def look() -> None:
        while not stop.wait(0.02):
            step = state.progress().step()
            if step is not None and (not seen.stages or seen.stages[-1] != (step.stage, step.since)):
                seen.stages.append((step.stage, step.since))
                seen.memory = max(seen.memory, _memory(machine))
            elif step is None and seen.stages and seen.stages[-1][0]:
                seen.stages.append(("", time.time()))
            announced = pointer.read().announced
            if announced and announced != (seen.announced[-1][0] if seen.announced else before):
                seen.announced.append((announced, time.time()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def play(machine: "LoopMachine", project: "Project", label: Callable[[], object]) -> str:
    """Have tasks labeled, and tell the stages of what follows, or why there is no new version."""
    before = {record.key for record in machine.hub.runs(project.key).all()}
    with watching(machine, project) as seen:
        label()
        last = time.time()
        found = until(machine, project, lambda: _end(machine, project, before, seen), "the round's end")
    wait_for_rest(machine, project)
    if found is None:
        return f"no run ended within {GIVE_UP_SECONDS:.0f} s: {stands(machine, project)}"
    run, flipped = found
    if not flipped:
        return (
            f"no new version after {time.time() - last:.1f} s: run {run.key} {run.state}: {run.verdict or run.reason}"
        )
    return told(last, flipped, seen)


def until(
    machine: "LoopMachine",
    project: "Project",
    look: Callable[[], Found | None],
    what: str,
    seconds: float = GIVE_UP_SECONDS,
) -> Found | None:
    """Wait until a look finds something, and say again and again how the project stands; None when time is over.

    Raises AssertionError where LabelLoop has ended.
    """
    began = said = time.time()
    while (found := look()) is None and time.time() - began < seconds:
        machine.require_running()
        if time.time() - said > _WORD_SECONDS:
            said = time.time()
            print(f"{what}: {said - began:.0f} s; {stands(machine, project)}", file=sys.stderr, flush=True)
        time.sleep(0.05)
    return found


def stands(machine: "LoopMachine", project: "Project") -> str:
    """Say in a line what ``labelloop status`` says."""
    from labelloop.loop.standing import standing

    return "; ".join(line.strip() for line in standing(machine.status(project)))


def _end(
    machine: "LoopMachine", project: "Project", before: set[str], seen: Watched
) -> "tuple[RunRecord, float] | None":
    """Give the round's run and when its version was announced, 0 where it gives none; None while that is open.

    A challenger that ends meanwhile is announced, too, and has learned nothing of the round.
    """
    run = machine.hub.runs(project.key).latest()
    if run is None or run.key in before:
        return None
    for version, moment in seen.announced:
        if version == run.version:
            return run, moment
    return (run, 0.0) if is_in_vain(machine, run) else None


def is_in_vain(machine: "LoopMachine", run: "RunRecord") -> bool:
    """Whether nothing will be announced of it, unless a person has it so."""
    return run.state in ("rejected", "waiting") or run.given_up(machine.settings.run_attempts)


def told(last: float, flipped: float, seen: Watched) -> str:
    """Write the seconds of a round: how many from the last label to the flip, and of which stages of the run."""
    ends = [since for _, since in seen.stages[1:]] + [flipped]
    steps = [(stage, since, min(end, flipped)) for (stage, since), end in zip(seen.stages, ends, strict=True)]
    begun = max((since for stage, since, _ in steps if stage == _BEGUN and since < flipped), default=None)
    if begun is None:
        return f"all {flipped - last:.2f} s; no stage of its run was seen"
    others = sum(max(0.0, min(end, begun) - max(since, last)) for stage, since, end in steps if stage)
    spent: dict[str, float] = {"other work": others} if others >= 0.01 else {}
    if begun >= last:
        spent = {"noticed": begun - last - others} | spent
    named = _STAGES[_BEGUN]
    for stage, since, end in steps:
        if begun <= since < flipped:
            named = _STAGES.get(stage, named)
            spent[named] = spent.get(named, 0.0) + end - since
    early = f" (begun {last - begun:.2f} s before the last label)" if begun < last else ""
    stages = " ".join(f"{name} {seconds:.2f}" for name, seconds in spent.items())
    return f"all {flipped - last:.2f} s{early}: {stages}; {seen.memory:.0f} MB"


def wait_for_rest(machine: "LoopMachine", project: "Project") -> None:
    """Wait until nobody has held the project for some seconds, nothing waits, and the tool was left alone enough."""
    began = calm = time.time()
    while time.time() - calm < _CALM_SECONDS:
        if why := _unrest(machine, project, hurried=time.time() - began > _PATIENCE_SECONDS):
            calm = time.time()
            if calm - began > GIVE_UP_SECONDS * 4:
                print(f"begun without rest: {why}; {stands(machine, project)}", file=sys.stderr, flush=True)
                return
        time.sleep(0.1)


def _unrest(machine: "LoopMachine", project: "Project", *, hurried: bool) -> str:
    """Say what is still at work, or is to be in a moment; empty where nothing is."""
    from labelloop.loop import later_predictions
    from labelloop.loop.outlook import situation
    from labelloop.loop.queue import CHALLENGERS, LONG, SHORT, count_jobs
    from labelloop.loop.retrain_policy import RetrainPolicy

    hub, policy = machine.hub, RetrainPolicy.of(machine.settings)
    now = situation(hub, project.key, policy, time.time())
    if now.held or now.challenging or now.behind:
        return "a run, a challenger, or an announcement is at work"
    if hold := policy.held((), None, now.now, now.imported):
        return str(hold)
    jobs = count_jobs(hub.redis)
    if any(jobs.get((name, "waiting")) for name in (LONG, SHORT, CHALLENGERS)):
        return "jobs wait"
    left = later_predictions.wait(hub, project.key)
    if left is not None and left < _CLEAR_SECONDS and not hurried:
        return f"the next part of predictions is imported in {left:.0f} s"
    return ""


def _memory(machine: "LoopMachine") -> float:
    """Give the most that a process of a job has held, in MB."""
    import psutil

    try:
        return max((one.memory_info().rss / 1e6 for one in machine.worker().children()), default=0.0)
    except (psutil.Error, AssertionError):
        return 0.0
