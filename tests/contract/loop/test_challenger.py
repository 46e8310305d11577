"""Two speeds: runs train what is quick, the rest is a challenger in the background that meets the champion of then."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rq import Worker

from labelloop.errors import NoSuchProject, TrainingDied, TrainingError
from labelloop.loop import attempts, jobs
from labelloop.loop.background import Background
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.lease import ProgressReporter
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.queue import CHALLENGERS, queue
from labelloop.loop.redis_client import key_of
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.loop.worker import CountingFiles, train_challengers
from labelloop.models.open_run import OpenRun
from labelloop.models.runs import RunRecord
from support import two_speeds_kind
from support.crash_store import Killed
from support.number_tasks import NUMBERS
from support.number_tasks import label_numbers as label
from support.reports import reported
from support.studio_api import StudioApi
from support.waiting import wait_until

from .conftest import run_once as run

LATER = "2027-02-03T04:05:06.000000Z"


@pytest.fixture
def loop(numbers_loop: Hub) -> Hub:
    return numbers_loop


def challenger(hub: Hub) -> RunRecord:
    found = hub.runs(hub.project(7)).latest_challenger()
    assert found is not None
    return found


def asked(hub: Hub) -> bool:
    """Whether a look at the project leaves its challenger in its queue; takes it from there."""
    consider(hub, hub.project(7))
    found = queue(hub.redis, CHALLENGERS).jobs
    queue(hub.redis, CHALLENGERS).empty()  # type: ignore[no-untyped-call]
    return [job.args for job in found] == [[str(hub.project(7))]]


def challenge(hub: Hub) -> str:
    return jobs.challenge(str(hub.project(7)))


def place(hub: Hub, name: str) -> Path:
    return hub.settings.directory / name


def champion(hub: Hub) -> str | None:
    return hub.pointer(hub.project(7)).read().champion


def test_a_run_leaves_the_slow_recipe_to_a_challenger(loop: Hub, studio: StudioApi) -> None:
    first, project = run(loop), loop.project(7)
    assert (first.state, first.recipe, first.version) == ("promoted", "head", "v1")
    assert first.metrics["challengers"] == {"finetune": ""}
    assert "finetune" not in first.methods
    assert not place(loop, "epochs").exists()

    assert asked(loop)
    told = challenge(loop)
    found = challenger(loop)
    assert told == found.verdict
    assert told.startswith("v2 replaces v1")
    assert (found.state, found.recipe, found.version, found.trigger) == (
        "promoted",
        "finetune",
        "v2",
        "the first challenger",
    )
    assert (found.manifest, found.challenger) == (first.manifest, True)
    assert found.metrics["labels"] == first.metrics["labels"]
    assert set(found.seconds) >= {"fetch", "train", "evaluate", "judge", "publish", "prelabel", "import"}
    pointers = loop.pointer(project).read()
    assert (pointers.champion, pointers.announced) == ("v2", "v2")
    assert reported(loop, project, "v2")
    # It is no last run: what has changed is compared with what the run before it learned.
    latest = loop.runs(project).latest()
    assert latest is not None
    assert latest.key == first.key
    assert not asked(loop), "the same labels make no other one"
    assert "challenger: finetune in the background: 0 of" in "\n".join(standing(project_status(loop, project)))

    label(studio, range(61, 65))
    assert run(loop).version == "v3"
    assert not asked(loop), "a fifth more labels is wanted"
    label(studio, range(65, 81))
    run(loop)
    assert asked(loop)


def test_where_it_cannot_win_none_is_begun_and_the_record_says_why(loop: Hub, studio: StudioApi) -> None:
    for task in list(studio.tasks)[20:]:
        studio.tasks[task]["annotations"] = []
    record = run(loop)
    assert record.metrics["challengers"] == {"finetune": "finetune cannot win yet"}
    assert not asked(loop)
    assert "finetune cannot win yet" in challenge(loop)
    stands = project_status(loop, loop.project(7))
    assert stands.challenger is not None
    assert (stands.challenger.outlook.next, stands.challenger.run) == ("nothing", None)


def in_its_epoch(hub: Hub, number: int) -> None:
    """Wait until a challenger that is held is in an epoch."""
    wait_until(
        lambda: (
            (step := hub.state(hub.project(7)).progress(challenger=True).step()) is not None and step.done == number
        ),
        "the challenger is at work",
    )


@pytest.fixture
def held(loop: Hub) -> Iterator[Callable[[], str]]:
    """A challenger that is at work; what is given lets it go on, and gives what came of it."""
    run(loop)
    place(loop, "hold").touch()
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(challenge(loop)))
    thread.start()
    in_its_epoch(loop, 2)

    def end() -> str:
        place(loop, "hold").unlink(missing_ok=True)
        thread.join(60)
        return told[0]

    yield end
    end()


def test_it_meets_whoever_is_champion_when_it_is_done(loop: Hub, studio: StudioApi, held: Callable[[], str]) -> None:
    for begin in (61, 65):
        label(studio, range(begin, begin + 4))
        assert run(loop).state == "promoted", "nobody waits for the challenger"
        assert not asked(loop), "there is one at a time"
    assert champion(loop) == "v3"
    assert challenge(loop).startswith("project"), "another one does not begin beside it"
    assert held().startswith("v4 replaces v3")
    found = challenger(loop)
    assert (found.state, champion(loop)) == ("promoted", "v4")
    assert loop.versions(loop.project(7)).get("v4").parent == "v3"
    # The heads that followed fenced nothing off, and are fenced off by nothing.
    label(studio, range(69, 73))
    assert run(loop).state == "promoted"


def test_a_head_replaces_it_where_it_is_as_good_and_not_where_it_is_worse(loop: Hub, studio: StudioApi) -> None:
    run(loop)
    challenge(loop)
    place(loop, "worse").touch()
    label(studio, range(61, 65))
    worse = run(loop)
    assert worse.state == "rejected"
    assert champion(loop) == "v2"
    place(loop, "worse").unlink()
    label(studio, range(65, 69))
    assert run(loop).state == "promoted"
    assert worse.metrics["gate"]["as_good"]["recipe"] == "finetune"


def test_it_is_cancelled_by_command(loop: Hub, held: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_HEEDED_SECONDS", 0.0)
    opened = loop.open_runs(loop.project(7), challenger=True)
    found = opened.read()
    assert found is not None
    assert loop.open_runs(loop.project(7)).read() is None
    opened.cancel(found.key, "it was cancelled")
    wait_until(lambda: opened.read() is None, "it has ended")
    assert (challenger(loop).state, challenger(loop).final) == ("failed", True)
    assert not asked(loop)


def test_a_failure_is_its_own_and_is_tried_again_until_it_is_given_up(loop: Hub, studio: StudioApi) -> None:
    run(loop)
    place(loop, "broken").touch()
    for attempt in range(1, loop.settings.run_attempts + 1):
        assert asked(loop), attempt
        with pytest.raises(TrainingDied):
            challenge(loop)
        assert challenger(loop).own_failures == attempt
    assert not asked(loop)
    stands = project_status(loop, loop.project(7))
    told = "\n".join(standing(stands))
    assert "last challenger" in told
    assert "failed for good" in told
    assert stands.trouble == "there is something the matter"
    # The project's own runs do not wait for that.
    label(studio, range(61, 65))
    assert stands.wait is None
    assert run(loop).state == "promoted"
    place(loop, "broken").unlink()
    assert asked(loop), "there are as many new labels as a run takes"
    challenge(loop)
    assert challenger(loop).state == "promoted"
    assert project_status(loop, loop.project(7)).trouble == ""


def test_a_paused_project_begins_none_and_ends_the_one_that_was_begun(loop: Hub, studio: StudioApi) -> None:
    run(loop)
    loop.pauses(loop.project(7)).begin("somebody", "why not")
    assert not asked(loop)
    assert "no challenger is due" in challenge(loop)
    loop.pauses(loop.project(7)).end()
    assert asked(loop)


def test_what_was_made_before_as_an_ordinary_run_becomes_its_own_and_back(
    loop: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*recipes: str) -> RunRecord:
        monkeypatch.setattr(loop, "settings", replace(loop.settings, recipes=recipes))
        return run(loop, "labelloop retrain")

    alone, both = train("finetune"), train("head", "finetune")
    assert (alone.recipe, both.recipe) == ("finetune", "head")
    assert asked(loop)
    assert challenge(loop) == alone.verdict
    assert (challenger(loop).key, challenger(loop).challenger) == (alone.key, True)
    latest = loop.runs(loop.project(7)).latest()
    assert latest is not None
    assert latest.key == both.key, "the last run is the head's still"
    assert not asked(loop)
    again = train("finetune")
    assert (again.key, again.challenger) == (alone.key, False)
    assert place(loop, "epochs").read_text().split() == ["1", "2", "3"], "it was trained once"


def test_a_run_of_all_recipes_in_one_go_is_known_and_made_anew_by_force(
    loop: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        # As releases without challengers had it.
        patched.setattr(two_speeds_kind.TwoSpeeds, "quick", ())
        whole = run(loop)
    assert run(loop).key == whole.key
    jobs.retrain(str(loop.project(7)), "labelloop retrain", True)
    forced = loop.runs(loop.project(7)).latest()
    assert forced is not None
    assert (whole.recipe, forced.recipe, forced.forced) == ("finetune", "head", True)


@pytest.mark.parametrize("stage", ["prelabel", "done"])
def test_killed_after_its_verdict_it_is_wound_up(loop: Hub, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    run(loop)
    tell = ProgressReporter.stage

    def killed(reporter: ProgressReporter, name: str) -> None:
        tell(reporter, name)
        if name == stage:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ProgressReporter, "stage", killed)
        with pytest.raises(Killed):
            challenge(loop)
    found, opened = challenger(loop), loop.open_runs(loop.project(7), challenger=True)
    opened.begin(OpenRun(key=found.key, fence=found.fence))
    folder = loop.settings.directory / "runs" / str(loop.project(7)) / found.key
    assert (found.state, folder.is_dir()) == ("promoted", True)
    assert asked(loop)
    assert "no challenger is due" in challenge(loop)
    assert opened.read() is None
    assert reported(loop, loop.project(7), "v2")
    assert not folder.exists()
    assert not asked(loop)


def test_other_classes_end_it_before_it_trains(loop: Hub, studio: StudioApi) -> None:
    run(loop)
    studio.config = NUMBERS.replace('"low"', '"tiny"')
    with pytest.raises(TrainingError, match="the classes have changed since it began"):
        challenge(loop)
    assert not place(loop, "epochs").exists()
    assert (challenger(loop).state, challenger(loop).final) == ("failed", True)
    assert loop.open_runs(loop.project(7), challenger=True).read() is None


@pytest.mark.parametrize("begun", [False, True])
def test_a_project_that_came_in_the_place_of_its_own_gets_nothing(
    loop: Hub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    studio.created_at = "2026-01-29T09:24:47.000000Z"
    project, _ = confirmed_project(loop, 7)
    run(loop)
    tell = ProgressReporter.stage

    def replaced(reporter: ProgressReporter, name: str) -> None:
        if name == "wait":
            studio.created_at = LATER
        tell(reporter, name)

    if begun:
        monkeypatch.setattr(ProgressReporter, "stage", replaced)
    else:
        studio.created_at = LATER
    with pytest.raises(NoSuchProject, match="has another project 7 now"):
        jobs.challenge(str(project))
    assert place(loop, "epochs").exists() == begun
    assert loop.versions(project).names() == ["v1"]


@pytest.mark.process
def test_it_goes_on_from_its_checkpoint_when_its_process_was_killed(loop: Hub, eager_background: None) -> None:
    project = loop.project(7)
    run(loop)
    place(loop, "hold").touch()
    beside = Background("challengers", lambda: train_challengers(loop, CountingFiles()))
    try:
        beside.tend()
        consider(loop, project)
        in_its_epoch(loop, 2)
        [worker] = Worker.all(queue=queue(loop.redis, CHALLENGERS))
        process = psutil.Process(worker.pid)
        [job] = process.children()
        process.kill()
        wait_until(lambda: not job.is_running() or job.status() == psutil.STATUS_ZOMBIE, "its job ends with it")
        # Its lease runs out.
        loop.redis.delete(key_of(project, "challenger-lease"), *loop.redis.keys("rq:worker*"))

        def another() -> bool:
            beside.tend()
            return bool(Worker.all(queue=queue(loop.redis, CHALLENGERS)))

        wait_until(another, "there is another one")
        consider(loop, project)
        place(loop, "hold").unlink()
        wait_until(lambda: challenger(loop).state == "promoted", lambda: f"{challenger(loop)}")
    finally:
        beside.end()
    assert place(loop, "epochs").read_text().split() == ["1", "2", "3"], "no epoch was made twice"
    assert (challenger(loop).attempts, challenger(loop).own_failures) == (2, 0)
    assert os.getpid() != worker.pid
