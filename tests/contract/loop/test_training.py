"""Training elsewhere: one open run per project, one job per run, whoever is killed when, and in whatever order."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from labelloop.cli.loop import cancel
from labelloop.cli.terminal import follow_elsewhere
from labelloop.errors import Conflict, Fenced, LabelLoopError, QueueError, RunCancelled, SettingsError
from labelloop.kinds import base
from labelloop.loop import jobs
from labelloop.loop.background import machine_of
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.queue import LONG, SHORT, queue
from labelloop.loop.redis_client import key_of
from labelloop.loop.retrain import retrain
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.loop.training import trainer_of
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.open_run import OpenRun, OpenRuns
from labelloop.models.runs import DUE, Runs
from labelloop.models.store import Store
from labelloop.models.versions import Versions
from labelloop.trainers import opening
from labelloop.types import ProjectKey
from support import numbers_kind
from support.cloud_trainer import CloudTrainer
from support.crash_store import CrashStore, Killed
from support.examples import examples
from support.number_tasks import NUMBERS, add_numbers, label_numbers
from support.studio_api import StudioApi

from .conftest import PROJECT, MakeHub

pytestmark = pytest.mark.train


class Doom:
    """Ends the process at its step of a number, and lets it do nothing after that; never where that is negative."""

    def __init__(self) -> None:
        self.at = -1

    def __call__(self, _: str = "") -> None:
        if self.at == 0:
            raise Killed
        self.at -= self.at > 0


class DoomedStore(CrashStore):
    """A store in which a process may end before and after it has written anything."""

    def __init__(self, store: Store, doom: Doom) -> None:
        super().__init__(store, 0)
        self._doom = doom

    @contextmanager
    def step(self, path: str) -> Iterator[None]:  # noqa: ARG002 - which of them it is does not matter
        self._doom()
        yield
        self._doom()


@dataclass
class Machine:
    """A project whose runs are trained elsewhere, and a worker that does its jobs in this process."""

    hub: Hub
    studio: StudioApi
    cloud: CloudTrainer
    doom: Doom

    @property
    def project(self) -> ProjectKey:
        return self.hub.project(7)

    def open_run(self) -> OpenRun | None:
        return OpenRuns(self.hub.store, self.project).read()

    def work(self, killed_at: int = -1) -> list[str]:
        """Look at the project, as the timer asks for, and do all jobs that wait, until the worker is killed."""
        said, self.doom.at = [], killed_at
        try:
            function, args = "consider", [str(self.project)]
            while function:
                try:
                    said.append(getattr(jobs, function)(*args))
                except LabelLoopError as error:
                    said.append(f"failed: {error}")
                function, args = self._next()
        except Killed:
            # Its lease runs out.
            self.hub.redis.delete(key_of(self.project, "lease"))
        self.doom.at = -1
        return said

    def _next(self) -> tuple[str, list[str]]:
        """Take the next job, those that only pre-annotate aside."""
        for name in (SHORT, LONG):
            waiting = queue(self.hub.redis, name)
            for job in waiting.get_jobs():
                function, args = (job.func_name or "").rpartition(".")[2], list(job.args)
                job.delete()
                if function in ("retrain", "resume", "deploy"):
                    return function, args
        return "", []

    def label(self, count: int) -> None:
        """Annotate more tasks; a sweep notes it."""
        bare = [number for number, task in self.studio.tasks.items() if not task["annotations"]][:count]
        label_numbers(self.studio, bare)
        sweep_project(self.hub, self.project, scan_now=True)

    def pass_time(self) -> None:
        """Let the waits after failures be over."""
        self.hub.redis.delete(key_of(self.project, "failures"))

    def finish(self) -> None:
        """Let nothing go wrong any more, until nothing is left to do."""
        for _ in range(20):
            for job in self.cloud.running():
                self.cloud.settle(job.name, "done")
            self.pass_time()
            # Of two changed labels that a run is made for, one may be there.
            if self.work() in (["nothing has changed"], ["1 changed labels wait for their moment"]):
                return
        raise AssertionError(f"it does not come to an end: {self.work()}")


@pytest.fixture
def machine(
    make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator["Factory"]:
    """Make such machines, one after another."""
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        yield Factory(make_hub, studio, monkeypatch, Path(folder))


@dataclass
class Factory:
    """Makes machines."""

    make_hub: MakeHub = field(repr=False)
    studio: StudioApi = field(repr=False)
    monkeypatch: pytest.MonkeyPatch = field(repr=False)
    folder: Path
    made: int = 0

    def __call__(self, **given: object) -> Machine:
        self.made += 1
        folder, studio, doom = self.folder / str(self.made), self.studio, Doom()
        studio.config = NUMBERS
        studio.backends.clear()
        studio.connect("labelloop")
        studio.predictions.clear()
        studio.tasks.clear()
        add_numbers(studio, range(1, 81), parts=100)  # enough of the first forty are tested
        label_numbers(studio, range(1, 41))
        usual: dict[str, object] = {
            "endpoint": "fake://?classes=low,high",
            "store": (folder / "store").as_uri(),
            "model_dir": str(folder / "model"),
            "trainer": "cloud:",
            "retrain_after": 2,
            "quiet_seconds": 0,
        }
        hub = self.make_hub(**{**usual, **given})
        hub.redis.flushall()
        store = DoomedStore(hub.store, doom)
        hub.__dict__["_store"] = store
        self.monkeypatch.setattr(jobs, "process_hub", lambda: hub)
        cloud = CloudTrainer(folder / "cloud", doom)
        self.monkeypatch.setitem(opening.TRAINERS, "cloud", lambda _: cloud)
        return Machine(hub, studio, cloud, doom)


def test_a_run_is_trained_elsewhere_while_no_worker_is_held(machine: Factory) -> None:
    one = machine()
    one.label(0)
    said = one.work()
    assert said[-1].endswith("is being trained elsewhere")
    opened = one.open_run()
    assert opened is not None
    assert (opened.handle, opened.elsewhere, len(one.cloud.running())) == ("job-1", True, 1)
    assert not one.hub.state(one.project).is_held()

    # It is looked at without a worker, and what changes meanwhile waits.
    one.label(4)
    one.hub.queue(one.project).retrain("by hand", force=False)
    assert one.work()[-1] == f"run {opened.key} is being trained elsewhere: another one follows it"
    assert one.work() == [f"run {opened.key} is being trained by cloud"]
    told = "\n".join(standing(project_status(one.hub, one.project)))
    assert "now: train: epochs 3/10" in told
    assert f"run {opened.key} is trained by cloud, known there as job-1; it may take until 20" in told
    assert len(one.cloud.jobs()) == 1

    one.cloud.settle("job-1", "done")
    runs = Runs(one.hub.store, one.project)
    runs.amend(opened.key, lambda record: replace(record, machine="where it was begun"))
    said = one.work()
    assert said[0] == f"run {opened.key} goes on"
    assert "v1 becomes the first champion" in said[1]
    assert one.open_run() is None
    ended = runs.get(opened.key)
    assert ended is not None
    assert (ended.report, ended.machine) == (DUE, machine_of(one.hub.settings.directory))

    # What waited is one run, of all labels there are now.
    said = one.work()
    assert said[-1].endswith("is being trained elsewhere")
    one.finish()
    assert [job.state for job in one.cloud.jobs()] == ["done", "done"]
    assert Versions(one.hub.store, one.project).names() == ["v1", "v2"]
    pointers = ChampionPointer(one.hub.store, one.project).read()
    assert (pointers.champion, pointers.announced) == ("v2", "v2")


def test_who_follows_a_run_that_is_elsewhere_is_told_where_no_worker_goes_on_with_it(machine: Factory) -> None:
    one = machine()
    one.label(0)
    assert follow_elsewhere(one.hub, one.project, quiet=True) is None
    one.work()
    opened = one.open_run()
    assert opened is not None
    with pytest.raises(QueueError, match=f"run {opened.key} waits, but there is no worker"):
        follow_elsewhere(one.hub, one.project, quiet=True)


def test_a_rollback_takes_the_right_to_promote_away(machine: Factory) -> None:
    one = machine()
    one.label(0)
    one.finish()
    one.label(4)
    one.finish()
    one.label(4)
    one.work()
    assert len(one.cloud.running()) == 1

    one.hub.queue(one.project).deploy("v1")
    assert "v1 is announced" in one.work()
    one.finish()

    latest = Runs(one.hub.store, one.project).latest()
    assert latest is not None
    assert (latest.state, latest.version) == ("rejected", "v3")
    assert "not promoted, for v1 was made champion by a person while it was being trained" in latest.verdict
    assert ChampionPointer(one.hub.store, one.project).read().champion == "v1"


def test_a_cancelled_run_ends_and_the_next_labels_make_another(machine: Factory) -> None:
    one = machine()
    one.label(0)
    one.work()
    opened = one.open_run()
    assert opened is not None
    answer = CliRunner().invoke(cancel, ["--project", "7"], obj=one.hub)
    assert answer.output == f"run {opened.key} is to end: a worker cancels its training\n"
    assert "is to end: it was cancelled by `labelloop cancel`" in "\n".join(
        standing(project_status(one.hub, one.project))
    )

    assert "it was cancelled by `labelloop cancel`" in one.work()

    assert one.open_run() is None
    assert one.cloud.job("job-1").state == "cancelled"
    record = Runs(one.hub.store, one.project).latest()
    assert record is not None
    assert (record.state, record.final, record.reason) == ("failed", True, "it was cancelled by `labelloop cancel`")
    assert one.work() == ["nothing has changed"]
    answer = CliRunner().invoke(cancel, ["--project", "7"], obj=one.hub)
    assert (answer.exit_code, "no run of project 7 is open" in answer.output) == (1, True)

    one.label(4)
    one.finish()
    assert ChampionPointer(one.hub.store, one.project).read().announced == "v1"


class Cancelling(ProgressReporter):
    """A reporter while somebody cancels the run, as it is trained."""

    cancelling: Hub

    def stage(self, name: str) -> None:
        super().stage(name)
        if name == "train":
            assert CliRunner().invoke(cancel, ["--project", "7"], obj=self.cancelling).exit_code == 0


def test_a_run_of_a_worker_is_cancelled_as_well(machine: Factory) -> None:
    one = machine(trainer="local")
    with Lease(one.hub, one.project) as lease:
        reporter = Cancelling(one.hub, one.project, lease)
        reporter.cancelling = one.hub
        with pytest.raises(RunCancelled):
            retrain(one.hub, one.project, "test", reporter)
    record = Runs(one.hub.store, one.project).latest()
    assert record is not None
    assert (record.state, record.final, record.reason) == ("failed", True, "it was cancelled by `labelloop cancel`")
    assert one.open_run() is None
    assert Versions(one.hub.store, one.project).names() == []


def test_a_run_beyond_its_time_limit_is_cancelled_with_that_reason(machine: Factory) -> None:
    one = machine(training_seconds=0.0)
    one.label(0)
    said = one.work()
    assert any("LABELLOOP_TRAINING_SECONDS" in sentence for sentence in said)
    record = Runs(one.hub.store, one.project).latest()
    assert record is not None
    assert (record.state, "took longer than LABELLOOP_TRAINING_SECONDS" in record.reason) == ("failed", True)
    assert one.open_run() is None
    assert not one.cloud.running()


def test_a_job_that_fails_is_begun_anew_and_in_the_end_given_up(machine: Factory) -> None:
    one = machine(run_attempts=2, retry_seconds=0.0)
    one.label(0)
    for number in (1, 2):
        one.pass_time()
        one.work()
        assert one.cloud.running()[0].name == f"job-{number}"
        one.cloud.settle(f"job-{number}", "failed")
        assert any("its training by cloud failed: its machine was taken away" in said for said in one.work())
    one.finish()
    record = Runs(one.hub.store, one.project).latest()
    assert record is not None
    assert (record.state, record.own_failures, len(one.cloud.jobs()), one.open_run()) == ("failed", 2, 2, None)


def test_a_run_whose_process_dies_here_again_and_again_ends(machine: Factory) -> None:
    one = machine(retry_seconds=0.0)
    one.label(0)
    one.work()
    one.cloud.settle("job-1", "done")
    for _ in range(3):
        one.hub.state(one.project).progress().note_death("signal SIGKILL")
        one.pass_time()
        one.work(killed_at=7)
    one.pass_time()
    one.work()
    record = Runs(one.hub.store, one.project).latest()
    assert record is not None
    assert (record.state, record.final) == ("failed", True)
    assert "its process ended 3 times without getting any further, last by signal SIGKILL" in record.reason
    assert one.open_run() is None


def test_a_job_that_was_never_noted_ends_with_its_run(machine: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise Killed

    one = machine(retry_seconds=0.0)
    one.label(0)
    with monkeypatch.context() as dying:
        dying.setattr(OpenRuns, "note", killed)
        one.work()
        opened = one.open_run()
        assert opened is not None
        assert (opened.handle, len(one.cloud.running())) == ("", 1)
        for _ in range(3):
            one.hub.state(one.project).progress().note_death("signal SIGKILL")
            one.pass_time()
            one.work()
    record = Runs(one.hub.store, one.project).latest()
    assert record is not None
    assert record.state == "failed"
    assert not one.cloud.running()


def test_a_trainer_that_is_not_allowed_any_more_is_not_run(machine: Factory) -> None:
    one = machine()
    one.label(0)
    one.work()
    one.hub.settings = replace(one.hub.settings, trainer="local")
    one.cloud.settle("job-1", "done")
    assert "not allowed here any more" in one.work()[0]
    assert one.open_run() is not None
    one.hub.settings = replace(one.hub.settings, trainer="local", allowed_trainers=("cloud:",))
    one.finish()
    assert one.open_run() is None
    assert Versions(one.hub.store, one.project).names() == ["v1"]


def test_an_allowed_trainer_with_several_verbs_is_known_again(machine: Factory) -> None:
    one = machine()
    # As the settings cut it.
    one.hub.settings = replace(one.hub.settings, allowed_trainers=("command:./t.sh?verbs=start", "poll", "command:b"))
    assert trainer_of(one.hub, "command:./t.sh?verbs=start,poll").elsewhere
    with pytest.raises(SettingsError, match="not allowed here any more"):
        trainer_of(one.hub, "command:./t.sh?verbs=start")


def test_another_run_waits_for_the_open_one_and_an_older_worker_is_refused(tmp_path: Path) -> None:
    runs = OpenRuns(FileStore(tmp_path), PROJECT)
    first = runs.begin(OpenRun("a" * 16, trainer="cloud:", elsewhere=True, fence=1, until=time.time() + 60))
    runs.note(first.key, "job-1")
    with pytest.raises(Conflict, match="is open"):
        runs.begin(OpenRun("b" * 16, fence=2))
    assert runs.begin(replace(first, fence=3)).handle == "job-1"
    with pytest.raises(Fenced):
        runs.begin(replace(first, fence=2))
    runs.close("b" * 16)
    assert runs.read() is not None
    runs.close(first.key)
    assert runs.read() is None
    # What a worker trained ended with it.
    runs.begin(OpenRun("b" * 16, fence=4))
    assert runs.begin(OpenRun("c" * 16, fence=5)).key == "c" * 16


ACTIONS = st.one_of(
    st.tuples(st.just("work"), st.integers(-1, 45)),
    st.tuples(st.just("label"), st.integers(1, 4)),
    st.tuples(st.just("retrain"), st.integers(0, 1)),
    st.tuples(st.sampled_from(("done", "failed", "wipe", "time", "rollback", "cancel", "sweep")), st.just(0)),
)


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(actions=[*[("work", 0)] * 4, ("work", -1), ("label", 1)])
@given(actions=st.lists(ACTIONS, min_size=6, max_size=18))
def test_whatever_is_killed_there_is_one_job_per_run_and_one_open_run(
    machine: Factory, actions: list[tuple[str, int]]
) -> None:
    one = machine(run_attempts=2, retry_seconds=0.0)
    one.label(0)
    for action, number in actions:
        act(one, action, number)
        require_one(one)
    one.finish()
    one.hub.queue(one.project).retrain("in the end", force=True)
    one.finish()
    require_one(one)
    latest = Runs(one.hub.store, one.project).latest()
    assert latest is not None
    assert latest.state in ("promoted", "rejected")
    assert one.open_run() is None
    assert not one.cloud.running()
    pointers = ChampionPointer(one.hub.store, one.project).read()
    assert pointers.champion == pointers.announced


def act(one: Machine, action: str, number: int) -> None:  # noqa: C901 - a list of what may happen
    """Let one thing happen."""
    versions = [record.version for record in Versions(one.hub.store, one.project).all() if record.promoted]
    match action:
        case "work":
            one.work(number)
        case "label":
            one.label(number)
        case "retrain":
            one.hub.queue(one.project).retrain("by hand", force=bool(number))
        case "done" | "failed":
            for job in one.cloud.running():
                one.cloud.settle(job.name, action)
        case "wipe":
            one.hub.redis.flushall()
        case "time":
            one.pass_time()
        case "rollback" if versions:
            one.hub.queue(one.project).deploy(versions[0])
        case "cancel":
            CliRunner().invoke(cancel, ["--project", "7"], obj=one.hub)
        case "sweep":
            sweep_project(one.hub, one.project)


def require_one(one: Machine) -> None:
    """At most one job of a run is good or may yet be, and none runs but that of the open run."""
    good = [job.key for job in one.cloud.jobs() if job.state in ("running", "done")]
    assert len(good) == len(set(good)), "a run was trained twice"
    running, opened = [job.key for job in one.cloud.running()], one.open_run()
    assert running == [] or (opened is not None and running == [opened.key])
