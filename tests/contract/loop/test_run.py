"""Which record a run goes on with: new, taken up, given up, forced."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.data.manifest import Manifest
from labelloop.errors import (
    EndpointError,
    MediaError,
    QueueError,
    StoreAway,
    StoreError,
    StudioAway,
    TrainingDied,
    TrainingError,
)
from labelloop.kinds.base import find
from labelloop.loop.attempts import Attempt, note_failure, open_record
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.queue import LONG
from labelloop.loop.retrain import open_run
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.run.context import Context, Labeled
from labelloop.run.driver import is_written
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import improvement
from labelloop.types import IMAGES, Item
from support.file_bundle import write_bundle

from .conftest import PROJECT, MakeHub
from .test_consider import waiting

Begin = Callable[[], Attempt]


@pytest.fixture
def attempt(make_hub: MakeHub) -> Iterator[Begin]:
    """Begin attempts at the same manifest, each with a newer fence."""
    hub = make_hub(run_attempts=2, retry_seconds=0)
    manifest = Manifest.of(PROJECT, "single", ("cat", "dog"), [Item(1, "a" * 64, ("cat",))])
    with Lease(hub, PROJECT) as lease:

        def begin() -> Attempt:
            fence = ChampionPointer(hub.store, PROJECT).take_fence()
            return Attempt(hub, PROJECT, fence, ProgressReporter(hub, PROJECT, lease), str, Labeled(manifest))

        yield begin


def ended(run: Attempt, record: RunRecord, **given: object) -> RunRecord:
    return run.save(replace(record, **given))  # type: ignore[arg-type]


def failing(run: Attempt, record: RunRecord, error: Exception) -> RunRecord:
    note_failure(run, record.key, error)
    found = Runs(run.hub.store, run.project).get(record.key)
    assert found is not None
    return found


def died(run: Attempt) -> None:
    run.hub.state(PROJECT).progress().note_death("signal SIGKILL")


def test_interruptions_are_not_held_against_a_run(attempt: Begin) -> None:
    records = [open_record(attempt(), "labels", force=False) for _ in range(7)]

    assert len({one.key for one in records}) == 1
    assert [(one.state, one.attempts, one.own_failures) for one in records] == [("running", n, 0) for n in range(1, 8)]
    assert [one.interruptions for one in records] == list(range(7))


@pytest.mark.parametrize(
    "error",
    [
        StoreAway("the bucket does not answer"),
        QueueError("Redis cannot be reached"),
        StudioAway("no answer"),
        EndpointError("it is down"),
        MediaError("100 pictures could not be fetched"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_an_outage_is_waited_for_however_long_it_takes(attempt: Begin, error: Exception) -> None:
    for _ in range(5):
        run = attempt()
        stopped = failing(run, open_record(run, "labels", force=False), error)
        assert (stopped.state, stopped.own_failures, stopped.interruptions) == ("running", 0, min(_, 1))
        assert stopped.reason.startswith("waits for ")
    assert open_record(attempt(), "labels", force=False).state == "running"


def test_a_runs_own_errors_count_and_end_it(attempt: Begin) -> None:
    for count in (1, 2):
        run = attempt()
        stopped = failing(run, open_record(run, "labels", force=False), ValueError("no such luck"))
        assert (stopped.state, stopped.own_failures, stopped.given_up(2)) == ("failed", count, count == 2)
    again = open_record(attempt(), "labels", force=False)
    assert (again.state, again.attempts) == ("failed", 2)
    assert again.reason == "ValueError; the worker's log has the traceback"


def test_what_another_attempt_cannot_mend_ends_a_run_at_once(attempt: Begin) -> None:
    run = attempt()
    stopped = failing(run, open_record(run, "labels", force=False), TrainingError("the weights are of another network"))
    assert stopped.given_up(2)
    run = attempt()
    forced = open_record(run, "by hand", force=True)
    assert forced.key == f"{stopped.key}.2"
    assert not failing(run, forced, TrainingDied("rank-1 ended by signal SIGKILL")).given_up(2)


def test_a_process_that_dies_in_the_same_place_again_and_again_ends_the_run(attempt: Begin) -> None:
    run = attempt()
    run.reporter.stage("train")
    ended(run, open_record(run, "labels", force=False), stage="train")
    for deaths in (1, 2):
        died(run)
        assert open_record(attempt(), "labels", force=False).deaths == deaths
        # Cut off with its worker in between: neither counted nor forgiven.
        assert open_record(attempt(), "labels", force=False).deaths == deaths
    died(run)
    last = open_record(attempt(), "labels", force=False)

    assert (last.state, last.given_up(2), last.deaths) == ("failed", True, 3)
    assert last.reason.startswith(
        "its process ended 3 times without getting any further, last by signal SIGKILL in stage"
    )
    assert "too little memory" in last.reason


def test_a_run_that_gets_further_between_deaths_goes_on(attempt: Begin) -> None:
    run = attempt()
    record = open_record(run, "labels", force=False)
    checkpoints = RunFolder(run.folder / record.key).checkpoints
    checkpoints.mkdir(parents=True)
    for epoch in range(6):
        (checkpoints / "finetune-1.ckpt").write_text(f"epoch {epoch}")
        os.utime(checkpoints / "finetune-1.ckpt", ns=(epoch, epoch))
        died(run)
        found = open_record(attempt(), "labels", force=False)
        assert (found.state, found.deaths, found.interruptions) == ("running", 1, 1)


@pytest.mark.usefixtures("first_methods")
def test_a_record_of_the_first_release_is_read_as_it_was_meant(hub: Hub) -> None:
    values = {"key": "k", "project": str(PROJECT), "manifest": "m", "settings": "s", "seed": 0, "fence": 1}
    values |= {"created": "2026-11-20T10:00:00+00:00", "updated": "2026-11-20T10:00:00+00:00", "trigger": "labels"}
    # It names no methods, for it was made with the first ones.
    news = improvement(RunRecord("k", str(PROJECT), "m", "s", 0), hub.settings.recipes, find(IMAGES).recipes)
    ended = f"run enqueued: {news}" if news else "nothing has changed"
    expected = {("failed", 3): ended, ("failed", 1): "run enqueued: labels"}
    expected |= {("running", 3): "run enqueued: labels", ("promoted", 1): ended}
    for (state, attempts), done in expected.items():
        content = json.dumps({**values, "state": state, "attempts": attempts}).encode()
        hub.store.write(f"{PROJECT}/runs/k.json", content)
        assert consider(hub, PROJECT) == done, (state, attempts)


def test_a_forced_run_gets_a_name_of_its_own_and_keeps_it_when_it_is_cut_short(attempt: Begin) -> None:
    run = attempt()
    first = ended(run, open_record(run, "labels", force=False), state="promoted")
    forced = open_record(attempt(), "by hand", force=True)
    again = open_record(attempt(), "by hand", force=True)
    run = attempt()
    failing(run, open_record(run, "by hand", force=True), ValueError("no"))
    run = attempt()
    given_up = failing(run, open_record(run, "by hand", force=True), ValueError("no"))

    assert forced.key == again.key == given_up.key == f"{first.key}.2"
    assert [forced.attempts, again.attempts, given_up.state] == [1, 2, "failed"]
    assert open_record(attempt(), "by hand", force=True).key == f"{first.key}.3"


def test_a_forced_run_that_failed_is_tried_again_under_its_name(attempt: Begin) -> None:
    run = attempt()
    first = ended(run, open_record(run, "labels", force=False), state="promoted")
    run = attempt()
    failing(run, open_record(run, "by hand", force=True), ValueError("no luck"))

    again = open_record(attempt(), "by hand", force=True)
    assert (again.key, again.attempts, again.state) == (f"{first.key}.2", 2, "running")


def test_a_killed_forced_run_is_taken_up_as_one(hub: Hub) -> None:
    record = RunRecord("k.2", str(PROJECT), "m", "s", 0, trigger="by hand", forced=True, attempts=1)
    Runs(hub.store, PROJECT).save(record)

    assert consider(hub, PROJECT) == "run enqueued: by hand"
    assert [job.args for job in waiting(hub, LONG)] == [[str(PROJECT), "by hand", True]]


def test_a_failure_keeps_what_the_stages_have_saved(attempt: Begin) -> None:
    run = attempt()
    record = open_record(run, "labels", force=False)
    ended(run, record, version="v4", stage="publish", metrics={"a": 1}, seconds={"train": 9.0})
    failing(run, record, StoreAway("the store is full"))
    found = open_record(attempt(), "labels", force=False)

    assert (found.version, found.metrics, found.seconds, found.attempts) == ("v4", {"a": 1}, {"train": 9.0}, 2)


def test_a_promoted_version_stays_promoted_when_only_its_announcement_fails(attempt: Begin) -> None:
    run = attempt()
    record = ended(run, open_record(run, "labels", force=False), state="promoted")
    failing(run, record, EndpointError("the endpoint is down"))

    latest = Runs(run.hub.store, PROJECT).latest()
    assert latest is not None
    assert (latest.state, latest.reason) == ("promoted", "the endpoint is down")


def test_while_a_failed_run_waits_the_champion_is_announced(hub: Hub) -> None:
    pointer = ChampionPointer(hub.store, PROJECT)
    pointer.promote("v1", pointer.take_fence())
    Runs(hub.store, PROJECT).save(RunRecord("k", str(PROJECT), "m", "s", 0, state="failed", attempts=1))

    assert consider(hub, PROJECT) == "v1 is to be announced"


def test_a_bundle_without_what_tells_of_its_training_is_trained_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_bundle(folder.bundle)
    assert not is_written(folder, "train", archive=False)
    folder.trained.write_text("{}")
    assert is_written(folder, "train", archive=False)
    (folder.bundle / "model.onnx").write_bytes(b"half")
    assert not is_written(folder, "train", archive=False)


def test_a_run_folder_that_was_left_half_made_is_made_whole(attempt: Begin) -> None:
    run = attempt()
    record = open_record(run, "labels", force=False)
    in_the_way = run.folder / record.key / "manifest.jsonl"
    in_the_way.mkdir(parents=True)
    made = open_run(run, record)
    with made.alone():
        with pytest.raises(StoreError, match=r"the fetch stage cannot read or write .*manifest\.jsonl.* directory"):
            made.make("fetch")
        in_the_way.rmdir()
        made.make("fetch")
    assert Context(made.folder, run.settings, run).manifest == run.labeled.manifest
