"""What is asked for a model run: carried out by jobs as one run, concluded, waited for, failed, and asked for anew.

A pad of notes stands for the model run here; Labelbox itself does in test_labelbox_runs.py.
"""

# ruff: noqa: ARG002 - a site is asked in one way, whatever it needs of that

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from labelloop.cli.loop import cancel as cancel_command
from labelloop.cli.loop import retrain as retrain_command
from labelloop.data.model_run_site import Answered, Uploaded
from labelloop.data.site import Overview
from labelloop.errors import LeaseLost, NoSuchProject, SettingsError, StoreAway, StudioAway, StudioError
from labelloop.kinds import base
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.model_runs import carry_on, request
from labelloop.loop.moments import planned
from labelloop.loop.redis_client import key_of
from labelloop.loop.status import left_over, project_status
from labelloop.models.model_runs import Entry, ModelRunJob, ModelRunJobs
from labelloop.models.records import to_bytes
from labelloop.sources.media import Media
from labelloop.trainers import opening
from labelloop.types import Identity, Output, Progress, ProjectKey
from support import numbers_kind
from support.cloud_trainer import CloudTrainer
from support.crash_store import Killed
from support.hook_server import hook_server
from support.notes import Note, NotesSite, NotesTool
from support.number_tasks import label_of, number_of
from support.training_programs import PLAIN, program
from support.waiting import wait_until

from .test_lease import is_lost

RUN = "9e3f331a-551b-0e24-6ab5-f69855df64ea"
ENTRY = Entry("text_single_classification", 5)
KEY = ProjectKey.of_model_run(RUN, ENTRY.number)
SECRET = "a-key-of-somebody"
Hook = Callable[[str], None]


@dataclass
class NotesRun(NotesSite):
    """A pad of notes as a model run: what it was told, and what it was given. ``hook`` is called at every step."""

    attempts: list[int] = field(default_factory=list)
    config: Mapping[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    kept: dict[str, dict[int, Answered]] = field(default_factory=dict)
    completed: list[Mapping[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    exports: int = 0
    hook: Hook = lambda _: None

    def overview(self) -> Overview:
        return replace(super().overview(), identity=Identity(KEY.id))

    def announce(self, version: str) -> None:
        self.version = version

    def begin(self, attempt: int) -> None:
        self.attempts.append(attempt)

    def parameters(self) -> Mapping[str, str]:
        self.hook("parameters")
        return self.config

    def tell(self, stage: str, what: str, done: int, total: int) -> None:
        if not self.told or self.told[-1] != stage:
            self.told.append(stage)
            self.hook(stage)

    def keep(self, version: str, answered: Sequence[Answered]) -> None:
        self.hook("keep")
        self.kept.setdefault(version, {}).update((one.item.task, one) for one in answered)

    def finish(self, version: str, progress: Progress) -> Uploaded:
        self.hook("finish")
        progress("lines", 1, 1)
        return Uploaded(rows=len(self.kept[version]), lines=len(self.kept[version]), refused=1, reasons=("a bad line",))

    def complete(self, metadata: Mapping[str, str]) -> None:
        self.hook("complete")
        self.completed.append(metadata)

    def fail(self, sentence: str) -> None:
        self.hook("fail")
        self.failed.append(sentence)


@dataclass
class NotesRunTool(NotesTool):
    pad: NotesRun
    addresses: tuple[str, ...] = (KEY.instance,)

    def site(self, project: int, media: Media, called_at: Callable[[], str | None]) -> NotesRun:
        return self.pad

    def model_run(self, project: int, media: Media) -> NotesRun:  # type: ignore[override]
        return self.pad


@pytest.fixture
def run() -> NotesRun:
    """Sixty numbers called low or high, on three sides."""
    notes = {number: Note(number_of(number)) for number in range(1, 61)}
    for number, note in notes.items():
        note.said.append(label_of(number))
        note.side = "train" if number <= 40 else "validation" if number <= 50 else "test"
    return NotesRun(notes)


@pytest.fixture
def run_hub(hub: Hub, run: NotesRun, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of a process whose jobs find the pad of notes where a model run is."""
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})
    own = Hub(replace(hub.settings, min_labels=4, labelbox_api_key=SECRET), NotesTool(run))
    made = Hub(own.settings, NotesRunTool(run))
    monkeypatch.setattr(jobs, "process_hub", lambda: own)
    monkeypatch.setattr(jobs, "hub_of", lambda given, project: made if project.model_run else given)
    yield own
    for one in (own, made):
        one.redis.close()
        one.media.close()


def press(hub: Hub) -> ModelRunJob:
    return request(hub, RUN, ENTRY, "a-model", "an-organization")


def work() -> str:
    """Do what a worker does with the job that the button enqueued."""
    return jobs.retrain(str(KEY), "test", force=False)


def stands(hub: Hub) -> ModelRunJob:
    job = ModelRunJobs(hub.store).read(KEY)
    assert job is not None
    return job


pytestmark = pytest.mark.train


def test_a_model_run_goes_from_the_button_to_complete(run_hub: Hub, run: NotesRun) -> None:
    assert press(run_hub).state == "open"
    assert press(run_hub).attempts == 1, "the same job while it is open"
    assert run_hub.queue(KEY).retrain("again") == run_hub.queue(KEY).retrain("and again"), "one job waits"
    assert work() == "COMPLETE with v1"

    job = stands(run_hub)
    assert (job.state, job.stage, job.version, job.attempts, job.reason) == ("complete", "done", "v1", 1, "")
    assert run.attempts == [1]
    assert run.told[:2] == ["fetch", "manifest"]
    assert run.told[-2:] == ["answer", "upload"]
    assert {"train", "evaluate", "answer"} < set(run.told)
    answered = run.kept["v1"]
    assert Counter(one.side for one in answered.values()) == {"validation": 10, "test": 10}
    assert sorted(answered) == [*range(41, 61)]
    one = answered[41]
    assert isinstance(one.answer, Output)
    assert (one.answer.label, one.item.labels) == (label_of(41), (label_of(41),))
    told = run.completed[0]
    assert told == job.told
    assert all(isinstance(text, str) and text for text in told.values())
    assert (told["version"], told["champion"], told["classes"]) == ("v1", "v1", "low, high")
    assert (told["train_rows"], told["validation_rows"], told["test_rows"]) == ("40", "10", "10")
    assert told["model_weights"].startswith(f"{run_hub.settings.store_address}/{KEY}/versions/v1/bundle-")
    assert run_hub.store.names(told["model_weights"].removeprefix(f"{run_hub.settings.store_address}/"))
    assert (told["rows_with_predictions"], told["lines_refused"], told["reasons"]) == ("20", "1", "a bad line")
    assert "95 % interval" in told["measured"]
    assert not run.failed


def test_who_hears_of_projects_hears_of_model_runs_by_their_id_and_type(run_hub: Hub, run: NotesRun) -> None:
    with hook_server() as hook:
        told = replace(run_hub.settings, notify_url=hook.url, allow_private_addresses=True)
        for one in (run_hub, jobs._opened(str(KEY))[0]):
            one.settings = told
        press(run_hub)
        work()

        def failing(step: str) -> None:
            if step == "parameters":
                raise SettingsError(f"nothing can be read at {hook.url}")

        run.hook = failing
        press(run_hub)
        assert work().startswith("FAILED: ")
        run_hub.redis.flushall()
        for _ in range(2):
            jobs.sweep()
            for job in planned(run_hub.redis):
                if job.name == "notify":
                    jobs.notify(str(job.project), *job.more)
    run_hub.state(KEY).note("notify", "it could not be told")
    run_hub.settings = replace(run_hub.settings, notify_url="")
    jobs.sweep()
    assert "notify" not in run_hub.state(KEY).notes()
    said = [(one["event"], one["version"], one["project"], one["model_run"], one["type"]) for one in hook.posted]
    assert said == [
        (event, version, KEY.shown, RUN, ENTRY.name) for event, version in (("promoted", "v1"), ("failed", ""))
    ]
    assert hook.posted[0]["text"].startswith(f"LabelLoop, model run {KEY.shown} ({ENTRY.name}): promoted v1. v1 ")
    assert hook.posted[1]["reason"] == "nothing can be read at ***"


def test_after_complete_it_is_exported_again_and_trained_only_where_something_changed(
    run_hub: Hub, run: NotesRun
) -> None:
    press(run_hub)
    work()
    again = press(run_hub)
    assert (again.state, again.attempts) == ("open", 2)
    assert work() == "COMPLETE with v1"
    assert run.attempts == [1, 2]
    assert len(run.completed) == 2
    run.notes[40].side = "test"
    press(run_hub)
    assert work() == "COMPLETE with v2"
    assert len(run.kept["v2"]) == 21


def test_what_is_open_no_more_is_left_alone(run_hub: Hub, run: NotesRun) -> None:
    assert work() == "nothing is asked for, or it is over"
    press(run_hub)
    work()
    assert work() == "nothing is asked for, or it is over"
    assert len(run.completed) == 1
    assert jobs.consider(str(KEY)) == "nothing is asked for, or it is over"


@pytest.mark.parametrize(
    "at",
    [
        "parameters",
        "train",
        "keep",
        "complete",
        *(pytest.param(at, marks=pytest.mark.slow) for at in ("fetch", "evaluate", "answer", "finish")),
    ],
)
def test_killed_anywhere_it_goes_on_where_it_was(run_hub: Hub, run: NotesRun, at: str) -> None:
    killed: list[str] = []

    def kill(step: str) -> None:
        if step == at and not killed:
            killed.append(step)
            raise Killed

    run.hook = kill
    press(run_hub)
    with pytest.raises(Killed):
        work()
    assert killed
    assert stands(run_hub).state == "open"
    before = stands(run_hub).stage
    # The sweep finds it, whatever Redis has lost.
    run_hub.redis.flushall()
    assert jobs.sweep()[str(KEY)] == "a worker goes on with it"
    run.told.clear()
    assert work() == "COMPLETE with v1"
    assert set(run.attempts) == {1}
    assert (before == "conclude") == ("train" not in run.told and "fetch" not in run.told)
    assert [one.key for one in run_hub.runs(KEY).all()] == [stands(run_hub).run]


def test_it_waits_for_what_is_away_and_fails_when_that_takes_too_long(
    run_hub: Hub, run: NotesRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(step: str) -> None:
        if step == "finish":
            raise StudioAway("it answers 503")

    run.hook = away
    press(run_hub)
    with pytest.raises(StudioAway):
        work()
    job = stands(run_hub)
    assert (job.state, job.stage) == ("open", "conclude")
    assert job.reason == "waits for Label Studio: it answers 503"
    assert run.told[-1] == "waits"
    assert "tried again later" in jobs.consider(str(KEY))
    assert not run.failed
    # The button is pressed again: nobody waits for the next try.
    press(run_hub)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + run_hub.settings.labelbox_seconds + 1)
    assert work() == "FAILED: it answers 503"
    assert run.failed == ["it answers 503"]
    assert stands(run_hub).state == "failed"


def test_an_outage_is_waited_for_however_long_the_training_took(
    run_hub: Hub, run: NotesRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(step: str) -> None:
        if step in ("finish", "fail"):
            raise StudioAway("it answers 503")

    run.hook = away
    press(run_hub)
    day, real = run_hub.settings.labelbox_seconds, time.time
    # It was trained for two days.
    monkeypatch.setattr(time, "time", lambda: real() + 2 * day)
    with pytest.raises(StudioAway):
        work()
    first = stands(run_hub)
    assert (first.state, first.stage, first.away) == ("open", "conclude", "Label Studio")
    with pytest.raises(StudioAway):
        work()
    assert stands(run_hub).since == first.since, "one outage"
    # What is said to have failed is told as long after that, too.
    monkeypatch.setattr(time, "time", lambda: real() + 3 * day + 1)
    for _ in range(2):
        with pytest.raises(StudioAway):
            work()
    assert (stands(run_hub).state, stands(run_hub).stage, stands(run_hub).reason) == ("open", "fail", "it answers 503")
    run.hook = lambda _: None
    assert work() == "FAILED: it answers 503"


def test_what_was_there_for_a_long_time_is_away_anew(
    run_hub: Hub, run: NotesRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.monotonic
    worked = [0.0, 4000.0]

    def away(step: str) -> None:
        if step == "finish":
            spent = worked.pop(0)
            monkeypatch.setattr(time, "monotonic", lambda: clock() + spent)
            raise StudioAway("it answers 503")

    run.hook = away
    press(run_hub)
    since = []
    while worked:
        monkeypatch.setattr(time, "monotonic", clock)
        with pytest.raises(StudioAway):
            work()
        since.append(stands(run_hub).since)
    assert since[0] < since[1]


def test_what_it_waited_for_is_back(run_hub: Hub, run: NotesRun) -> None:
    def away(step: str) -> None:
        if step == "fetch":
            run.hook = lambda _: None
            raise StudioAway("it answers 503")

    run.hook = away
    press(run_hub)
    with pytest.raises(StudioAway):
        work()
    assert stands(run_hub).reason
    assert work() == "COMPLETE with v1"
    assert stands(run_hub).reason == ""


def test_a_failure_is_told_and_the_button_tries_again(run_hub: Hub, run: NotesRun) -> None:
    said = {number: note.said.copy() for number, note in run.notes.items()}
    for note in run.notes.values():
        note.said.clear()
    press(run_hub)
    assert work().startswith("FAILED: model run ")
    assert "cannot be trained yet: 4 more labels" in run.failed[0]
    assert (stands(run_hub).state, stands(run_hub).reason) == ("failed", run.failed[0])
    assert ModelRunJobs(run_hub.store).open() == []
    for number, words in said.items():
        run.notes[number].said = words
    assert press(run_hub).attempts == 2
    assert work() == "COMPLETE with v1"


def test_that_it_failed_is_told_later_where_it_cannot_be_told_now(run_hub: Hub, run: NotesRun) -> None:
    def away(step: str) -> None:
        if step == "parameters":
            raise SettingsError("the config says epochs=many")
        if step == "fail" and len(told) < 1:
            told.append(step)
            raise StudioAway("it answers 503")

    told: list[str] = []
    run.hook = away
    press(run_hub)
    with pytest.raises(StudioAway):
        work()
    assert (stands(run_hub).state, stands(run_hub).stage) == ("open", "fail")
    assert work() == "FAILED: the config says epochs=many"
    assert run.failed == ["the config says epochs=many"]
    assert run.kept == {}


@pytest.mark.parametrize("at", ["parameters", "train", "finish", "fail"])
def test_of_a_model_run_that_is_gone_nothing_more_is_told(run_hub: Hub, run: NotesRun, at: str) -> None:
    def gone(step: str) -> None:
        if step == at:
            raise NoSuchProject("the model run is deleted")
        if at == "fail" and step == "fetch":
            raise StudioError("refused")

    run.hook = gone
    press(run_hub)
    assert work().startswith("FAILED: ")
    assert (run.completed, run.failed) == ([], [])
    assert stands(run_hub).state == "failed"
    assert ModelRunJobs(run_hub.store).open() == []


def test_what_a_person_reads_holds_no_link_no_key_and_no_path(run_hub: Hub, run: NotesRun) -> None:
    def refuse(step: str) -> None:
        if step == "fetch":
            path = run_hub.settings.directory / "cache"
            raise StudioError(f"https://x.y/z.png?sig=abc of {SECRET} is not in {path}" + " and so on" * 100)

    run.hook = refuse
    press(run_hub)
    work()
    (told,) = run.failed
    assert told.startswith("a link to x.y of *** is not in cache and so on")
    assert len(told) <= 400


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("no class http://[x?sig=abc", "no class a link"),
        ("gs://bucket/of/them.png is gone", "a link to bucket is gone"),
        ("x" * 500, "x" * 396),
    ],
)
def test_whatever_an_error_says_ends_a_model_run(run_hub: Hub, run: NotesRun, words: str, told: str) -> None:
    def refuse(step: str) -> None:
        if step == "fetch":
            raise StudioError(words)

    run.hook = refuse
    press(run_hub)
    assert work().startswith("FAILED: ")
    assert run.failed[0].removesuffix(" ...") == told


def test_an_error_of_our_own_is_said_to_be_one(run_hub: Hub, run: NotesRun) -> None:
    def broken(step: str) -> None:
        if step == "fetch":
            raise KeyError("an inner matter")

    run.hook = broken
    press(run_hub)
    assert "an error of its own, KeyError" in work()
    assert "inner" not in run.failed[0]


def test_the_training_config_counts(run_hub: Hub, run: NotesRun) -> None:
    press(run_hub)
    work()
    run.config = {"seed": "5"}
    press(run_hub)
    work()
    first, second = sorted(run_hub.runs(KEY).all(), key=lambda one: one.created)
    assert (first.seed, second.seed, stands(run_hub).parameters) == (0, 5, {"seed": "5"})


def test_what_was_given_up_is_tried_again_by_the_button(run_hub: Hub, run: NotesRun) -> None:
    press(run_hub)
    work()
    record = run_hub.runs(KEY).all()[-1]
    run_hub.runs(KEY).save(replace(record, state="failed", final=True, reason="it died too often"))
    press(run_hub)
    assert work() == "COMPLETE with v2"
    assert stands(run_hub).run == f"{record.key}.2"


def test_while_a_worker_has_it_another_leaves_it_alone(run_hub: Hub, run: NotesRun) -> None:
    press(run_hub)
    with Lease(run_hub, KEY):
        assert "held by another worker" in work()
        assert jobs.consider(str(KEY)) == "it is being worked at"
    assert run.told == []


def test_a_paused_one_is_begun_when_it_is_resumed(run_hub: Hub, run: NotesRun) -> None:
    run_hub.pauses(KEY).begin("anna", "")
    press(run_hub)
    assert f"`labelloop resume --project {KEY.shown}`" in work()
    assert jobs.consider(str(KEY)).startswith("paused by anna since ")
    assert (run.attempts, stands(run_hub).state) == ([], "open")
    run_hub.pauses(KEY).end()
    assert work() == "COMPLETE with v1"


def test_who_has_lost_it_to_another_worker_does_not_end_it(run_hub: Hub, run: NotesRun) -> None:
    def taken(step: str) -> None:
        if step == "finish":
            run_hub.redis.set(key_of(KEY, "lease"), "another worker's")
            wait_until(lambda: is_lost(lease), "it is noticed")
            raise StudioError("two at once are refused")

    run.hook = taken
    press(run_hub)
    hub = run_hub.over(run_hub.settings, NotesRunTool(run))
    with pytest.raises(LeaseLost), Lease(hub, KEY, seconds=0.3) as lease:
        carry_on(hub, KEY, ProgressReporter(hub, KEY, lease))
    assert (stands(run_hub).state, stands(run_hub).stage, run.failed) == ("open", "conclude", [])


def test_another_version_is_shown_after_a_rollback(run_hub: Hub, run: NotesRun) -> None:
    press(run_hub)
    work()
    run.notes[40].side = "test"
    press(run_hub)
    work()
    assert jobs.deploy(str(KEY), "v1") == "COMPLETE with v1"
    assert run.completed[-1]["version"] == run.completed[-1]["champion"] == "v1"
    assert len(run.kept["v1"]) == 21, "with the labels of the last run"
    assert run.attempts == [1, 2, 3]
    assert run_hub.pointer(KEY).read().announced == "v1"


def test_a_version_is_shown_though_the_last_attempt_came_to_no_run(run_hub: Hub, run: NotesRun) -> None:
    def refuse(step: str) -> None:
        if step == "fetch":
            raise StudioError("no rights")

    press(run_hub)
    work()
    run.hook = refuse
    press(run_hub)
    assert work() == "FAILED: no rights"
    run.hook = lambda _: None
    assert jobs.deploy(str(KEY), "v1") == "COMPLETE with v1"
    assert run.completed[-1]["test_rows"] == "10"


def test_a_store_that_is_away_is_waited_for(run_hub: Hub, run: NotesRun) -> None:
    def away(step: str) -> None:
        if step == "keep":
            run.hook = lambda _: None
            raise StoreAway("the store is down")

    run.hook = away
    press(run_hub)
    with pytest.raises(StoreAway):
        work()
    assert "waits for the store" in stands(run_hub).reason
    assert work() == "COMPLETE with v1"


def test_it_is_told_by_its_id_and_type_and_is_no_left_over(run_hub: Hub, run: NotesRun) -> None:
    press(run_hub)
    work()
    told = project_status(run_hub, KEY)
    assert told.job is not None
    assert (told.job["entry"], told.job["state"], told.champion, told.missing) == (ENTRY.name, "complete", "v1", "")
    assert left_over(run_hub) == {}


@pytest.fixture
def cloud(run_hub: Hub, run: NotesRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CloudTrainer:
    """A trainer elsewhere, which trains the model run."""
    made = CloudTrainer(tmp_path / "cloud")
    monkeypatch.setitem(opening.TRAINERS, "cloud", lambda _: made)
    hub = run_hub.over(replace(run_hub.settings, trainer="cloud:"), NotesRunTool(run))
    monkeypatch.setattr(jobs, "hub_of", lambda given, project: hub if project.model_run else given)
    return made


def test_of_a_training_elsewhere_a_worker_lets_go(run_hub: Hub, run: NotesRun, cloud: CloudTrainer) -> None:
    press(run_hub)
    assert work().endswith("is being trained elsewhere")
    assert not run_hub.state(KEY).is_held()
    assert jobs.consider(str(KEY)).endswith("is being trained by cloud")
    assert run.told[-1] == "train"
    # The button pressed again changes nothing.
    press(run_hub)
    assert work().endswith("is being trained elsewhere")
    assert len(cloud.jobs()) == 1
    cloud.settle("job-1", "done")
    assert jobs.consider(str(KEY)).endswith("goes on")
    assert jobs.resume(str(KEY)) == "COMPLETE with v1"
    assert len(run.kept["v1"]) == 20
    assert jobs.resume(str(KEY)) == "nothing is asked for, or it is over"


@pytest.mark.parametrize(("at", "notices"), [("train", jobs.consider), ("fetch", jobs.resume)])
def test_a_training_elsewhere_ends_with_its_model_run(
    run_hub: Hub, run: NotesRun, cloud: CloudTrainer, at: str, notices: Callable[[str], str]
) -> None:
    def gone(step: str) -> None:
        if step == at:
            raise NoSuchProject("the model run is deleted")

    press(run_hub)
    work()
    run.told.clear()
    run.hook = gone
    assert notices(str(KEY)) == "FAILED: the model run is deleted"
    assert [job.state for job in cloud.jobs()] == ["cancelled"]
    assert run_hub.open_runs(KEY).read() is None
    assert (stands(run_hub).state, run.failed) == ("failed", [])


def test_a_training_that_is_cancelled_by_a_person_fails_and_is_tried_again(
    run_hub: Hub, run: NotesRun, cloud: CloudTrainer
) -> None:
    press(run_hub)
    work()
    told = CliRunner().invoke(cancel_command, ["--project", f"{RUN}/{ENTRY.name}"], obj=run_hub)
    assert told.exit_code == 0, told.output
    assert jobs.resume(str(KEY)) == "FAILED: it was cancelled by `labelloop cancel`"
    assert run.failed == ["it was cancelled by `labelloop cancel`"]
    press(run_hub)
    work()
    cloud.settle("job-2", "done")
    assert jobs.resume(str(KEY)) == "COMPLETE with v1"


def test_a_trainer_that_is_not_ours_is_asked_about_the_validation_side(
    run_hub: Hub, run: NotesRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = program(tmp_path / "theirs", PLAIN, "predict")
    hub = run_hub.over(replace(run_hub.settings, trainer=trainer), NotesRunTool(run))
    monkeypatch.setattr(jobs, "hub_of", lambda given, project: hub if project.model_run else given)
    press(run_hub)
    assert work() == "COMPLETE with v1"
    answered = run.kept["v1"]
    assert {task: one.answer.label for task, one in answered.items() if isinstance(one.answer, Output)} == {
        task: label_of(task) for task in range(41, 61)
    }
    assert run.completed[0]["model_weights"].startswith("means-")


@pytest.mark.parametrize("at", ["keep", "finish"])
def test_a_process_that_keeps_dying_at_the_end_fails(run_hub: Hub, run: NotesRun, at: str) -> None:
    def die(step: str) -> None:
        if step == at:
            raise Killed

    run.hook = die
    press(run_hub)
    for _ in range(3):
        with pytest.raises(Killed):
            work()
        run_hub.state(KEY).progress().note_death("signal SIGKILL")
    told = work()
    assert told.startswith("FAILED: its process ended 3 times")
    assert "SIGKILL" in run.failed[0]
    run.hook = lambda _: None
    press(run_hub)
    assert work() == "COMPLETE with v1"


def test_the_command_asks_for_a_new_attempt(run_hub: Hub, run: NotesRun) -> None:
    press(run_hub)
    work()
    asked = ["--no-wait", "--project", f"{RUN}/{ENTRY.name}"]
    told = CliRunner().invoke(retrain_command, asked, obj=run_hub)
    assert told.exit_code == 0, told.output
    assert f"model run {RUN}/{ENTRY.name} ({ENTRY.name}): open, attempt 2" in told.output
    assert work() == "COMPLETE with v1"
    assert CliRunner().invoke(retrain_command, [*asked, "--force"], obj=run_hub).exit_code == 0
    assert work() == "COMPLETE with v2"


def test_a_forced_run_that_was_made_is_not_made_again(run_hub: Hub, run: NotesRun) -> None:
    press(run_hub)
    work()

    def kill(step: str) -> None:
        # The run is over, and its job does not know yet.
        if step == "done":
            raise Killed

    run.hook = kill
    request(run_hub, RUN, ENTRY, force=True)
    with pytest.raises(Killed):
        work()
    assert (stands(run_hub).stage, len(run_hub.runs(KEY).all())) == ("run", 2)
    run.hook = lambda _: None
    assert work() == "COMPLETE with v2"
    assert len(run_hub.runs(KEY).all()) == 2
    # Whatever the clock of the web process says.
    run.notes[40].side = "test"
    early = press(run_hub).moved(asked="2001-01-01T00:00:00.000000+00:00")
    run_hub.store.write(f"{KEY}/model-run.json", to_bytes(early))
    work()
    assert stands(run_hub).version == "v3"


def test_an_approval_is_shown(run_hub: Hub, run: NotesRun, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = run_hub.over(replace(run_hub.settings, approval="manual"), NotesRunTool(run))
    monkeypatch.setattr(jobs, "hub_of", lambda given, project: hub if project.model_run else given)
    press(run_hub)
    assert work() == "COMPLETE with v1"
    waits = run.completed[-1]
    assert "champion" not in waits
    assert f"`labelloop approve --project {KEY.shown} v1` makes it champion" in waits["verdict"]
    assert jobs.deploy(str(KEY), "v1") == "COMPLETE with v1"
    assert run.completed[-1]["champion"] == "v1"
