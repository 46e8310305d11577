"""One trial: a project is labeled, a fault comes, and the end is compared with that of an undisturbed one."""

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx
import psutil

from chaos.checks import Ended, Watch, labels_of, look_at
from chaos.faults import FAULTS, Fault
from chaos.machine import LABELS, MORE, Machine
from chaos.scene import Scene
from labelloop.demo.examples import Example, Examples
from labelloop.demo.layouts import LAYOUTS, label_config, upload
from labelloop.errors import LabelLoopError
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.status import ProjectStatus, project_status
from labelloop.studio.connect import connect
from labelloop.types import NO_VERSION, Json, ProjectKey

_END_SECONDS = 180.0
"""And at least six times what an undisturbed one takes: others may be at work on this machine."""
_GONE_SECONDS = 15.0
"""Within which whatever belonged to a killed process has to be gone; where nobody else is at work 3 are enough."""
_AGAIN_SECONDS = 0.3
_LOOK_SECONDS = 0.5
_SECOND = 0.25
"""Share of the trials in which the fault comes in the second round, while a version serves."""
_EARLY_SECONDS = 1.5


@dataclass(frozen=True)
class Outcome:
    """What came of a trial: ``seconds`` from the fault to the end state, or what is wrong with it.

    ``moment`` is when the fault came, in seconds since the first label; ``gone`` how many later all was gone that was
    killed; ``whole`` how long all took.
    """

    fault: str
    seed: int
    house: str
    second: bool
    moment: float
    did: str
    gone: float
    seconds: float
    whole: float
    problems: tuple[str, ...]


class Annotators(threading.Thread):
    """Submits the right answers, one after the other, each until Label Studio has it."""

    def __init__(self, machine: Machine, tasks: Sequence[int], answers: Mapping[int, Example], kind: str) -> None:
        super().__init__(name="annotators", daemon=True)
        self._machine, self._tasks, self._answers, self._layout = machine, tasks, answers, LAYOUTS[kind]
        self._ending = threading.Event()
        self.failure = ""

    def run(self) -> None:
        with httpx.Client(base_url=self._machine.studio.url, timeout=10.0, trust_env=False) as session:
            for task in self._tasks:
                tried = False
                while not self._ending.is_set():
                    with suppress(httpx.HTTPError, LabelLoopError):
                        if (tried and self._is_labeled(session, task)) or self._submit(session, task):
                            break
                    tried = True
                    self._ending.wait(_AGAIN_SECONDS)

    def end(self) -> None:
        """Stop."""
        self._ending.set()
        self.join()

    def _submit(self, session: httpx.Client, task: int) -> bool:
        body = {"result": self._layout.result(self._answers[task]), "lead_time": 1.0}
        return self._ask(session, "POST", f"/api/tasks/{task}/annotations", json=body).is_success

    def _is_labeled(self, session: httpx.Client, task: int) -> bool:
        """Whether an answer that was lost has come all the same."""
        return bool(self._ask(session, "GET", f"/api/tasks/{task}/annotations/").raise_for_status().json())

    def _ask(self, session: httpx.Client, method: str, path: str, json: Json | None = None) -> httpx.Response:
        return session.request(method, path, headers=self._machine.client.api.auth_headers(), json=json)


def in_second(fault: Fault, seed: int) -> bool:
    """Whether a fault comes in the second round, while a version serves."""
    return fault.second and random.Random(f"round of {fault.name} {seed}").random() < _SECOND


@dataclass
class Trial:
    """A project on a machine. ``expected`` is what an undisturbed one came to, and ``lasts`` how long that took."""

    machine: Machine
    examples: Examples
    expected: Ended | None = None
    lasts: float = 0.0

    def undisturbed(self, *, second: bool) -> tuple[Ended, float]:
        """Label without a fault; gives what came of the first or the second round, and how long that took."""
        project, answers = self._project("undisturbed")
        seconds = 0.0
        for more in (False, True) if second else (False,):
            begun = time.monotonic()
            with self._labeling(answers, more):
                self._wait_for_end(project, answers, more)
            seconds = time.monotonic() - begun
        return look_at(self.machine, project, answers, self._labeled(answers, second), self.examples), seconds

    def of(self, fault: Fault, seed: int) -> Outcome:
        """Let a fault come while a project is labeled."""
        chance = random.Random(f"{fault.name} {seed}")
        second = in_second(fault, seed)
        moment = chance.uniform(0, _EARLY_SECONDS if fault.early else self.lasts)
        project, answers = self._project(f"{fault.name} {seed}")
        scene = Scene(self.machine, project, chance, {one.name: one.do for one in FAULTS})
        problems: list[str] = []
        begun, gone = time.monotonic(), 0.0
        came = begun
        try:
            if second:
                with self._labeling(answers, second=False):
                    self._wait_for_end(project, answers, second=False)
            begun = time.monotonic()
            with Watch(self.machine.hub, project) as watch, self._labeling(answers, second):
                self.machine.rest(moment)
                came = time.monotonic()
                fault.do(scene)
                over = time.monotonic()
                gone = self._when_gone(scene.killed, over)
                problems += [f"an orphan lives on: {_told(one)}" for one in scene.killed if _is_alive(one)]
                self._wait_for_end(project, answers, second)
            problems += watch.problems
            ended = look_at(self.machine, project, answers, self._labeled(answers, second), self.examples)
            assert self.expected is not None
            problems += ended.differences(self.expected)
        except AssertionError as error:
            problems.append(str(error))
        now = time.monotonic()
        return Outcome(
            fault.name,
            seed,
            fault.house.name,
            second,
            came - begun,
            scene.did,
            gone,
            now - came,
            now - begun,
            tuple(problems),
        )

    def _when_gone(self, killed: Sequence[psutil.Process], over: float) -> float:
        """Wait until processes are gone, not for ever, and say how many seconds after the fault that was."""
        while any(map(_is_alive, killed)) and time.monotonic() < over + _GONE_SECONDS:
            self.machine.rest(_LOOK_SECONDS)
        return time.monotonic() - over if killed else 0.0

    def _project(self, title: str) -> tuple[ProjectKey, dict[int, Example]]:
        machine = self.machine
        number = machine.studio.create_project(title, label_config(self.examples))
        connect(machine.client, number, machine.to_web.url, machine.settings, NO_VERSION)
        answers = upload(machine.studio, machine.client, number, self.examples)
        return confirmed_project(machine.hub, number)[0], answers

    def _labeled(self, answers: Mapping[int, Example], second: bool) -> list[int]:
        return sorted(answers)[: LABELS + MORE * second]

    @contextmanager
    def _labeling(self, answers: Mapping[int, Example], second: bool) -> Iterator[None]:
        tasks = self._labeled(answers, second)[LABELS * second :]
        annotators = Annotators(self.machine, tasks, answers, self.examples.kind)
        annotators.start()
        try:
            yield
        finally:
            annotators.end()

    def _wait_for_end(self, project: ProjectKey, answers: Mapping[int, Example], second: bool) -> None:
        """Wait until a run of all labels has ended, and what follows it."""
        told: list[str] = []
        unlabeled = set(answers) - set(self._labeled(answers, second))

        def has_ended() -> bool:
            time.sleep(_LOOK_SECONDS)
            try:
                status = project_status(self.machine.hub, project)
                told[:] = [_standing(status)]
                labels = labels_of(self.machine.hub, project)
                if not _is_over(status) or labels is None or len(labels.items) < LABELS + MORE * second:
                    return False
                found = self.machine.client.tasks(project.id, fields=("id", "predictions"))
                bare = {
                    task["id"]
                    for task in found
                    if task["id"] in unlabeled
                    and status.announced not in [one["model_version"] for one in task["predictions"]]
                }
                told[:] = [f"{_standing(status)}; {len(bare)} tasks have no prediction of {status.announced}"]
            except (LabelLoopError, httpx.HTTPError) as error:
                told[:] = [str(error)]
                return False
            return not bare

        try:
            self.machine.until(has_ended, "the end state", max(_END_SECONDS, 6 * self.lasts))
        except AssertionError as error:
            raise AssertionError(f"{error}: {' '.join(told)}") from None


def _is_over(status: ProjectStatus) -> bool:
    run = status.run or {}
    assert not run.get("given_up"), f"the run failed: {run['reason']}"
    ended = run.get("state") in ("promoted", "rejected") and not status.changed and status.step is None
    return ended and status.champion == status.announced is not None


def _standing(status: ProjectStatus) -> str:
    run = status.run or {}
    return (
        f"run {run.get('state')} in {run.get('stage')} ({run.get('reason')}), champion {status.champion}, announced "
        f"{status.announced}, {status.changed} changed, step {status.step}, missing {status.missing!r}, trouble "
        f"{status.trouble!r}, wait {status.wait}"
    )


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _told(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())[-80:]}"
    return str(process.pid)
