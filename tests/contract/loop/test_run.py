"""Which record a run goes on with: new, taken up, given up, forced."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.data.cache import PictureCache
from labelloop.data.manifest import Manifest
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.progress import Reporter
from labelloop.loop.queue import LONG
from labelloop.loop.run import Run, note_failure, open_record, save
from labelloop.loop.training import is_trained, open_context
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.pipeline.folder import RunFolder
from labelloop.studio.control import parse_control
from labelloop.types import Item
from support.file_bundle import write_bundle
from support.studio_api import CONFIG

from .conftest import PROJECT, MakeHub
from .test_consider import waiting

Attempt = Callable[[], Run]


@pytest.fixture
def attempt(make_hub: MakeHub) -> Iterator[Attempt]:
    """Begin attempts at the same manifest, each with a newer fence."""
    hub = make_hub(run_attempts=2, retry_seconds=0)
    manifest = Manifest.of(PROJECT, "single", ("cat", "dog"), [Item(1, "a" * 64, ("cat",))])
    cache = PictureCache(hub.settings.directory / "pictures")
    with Lease(hub, PROJECT) as lease:

        def begin() -> Run:
            fence = ChampionPointer(hub.store, PROJECT).take_fence()
            return Run(hub, PROJECT, fence, Reporter(hub, PROJECT, lease), cache, parse_control(CONFIG), manifest)

        yield begin


def ended(run: Run, record: RunRecord, **given: object) -> RunRecord:
    return save(run, replace(record, **given))  # type: ignore[arg-type]


def test_an_interrupted_run_is_taken_up_a_bounded_number_of_times(attempt: Attempt) -> None:
    first = open_record(attempt(), "labels", force=False)
    second = open_record(attempt(), "labels", force=False)
    third = open_record(attempt(), "labels", force=False)

    assert first.key == second.key == third.key
    assert [(one.state, one.attempts) for one in (first, second, third)] == [
        ("running", 1),
        ("running", 2),
        ("failed", 2),
    ]
    assert third.reason == "interrupted in stage train every time"


def test_a_forced_run_gets_a_name_of_its_own_and_keeps_it_when_it_is_cut_short(attempt: Attempt) -> None:
    run = attempt()
    first = ended(run, open_record(run, "labels", force=False), state="promoted")
    forced = open_record(attempt(), "by hand", force=True)
    again = open_record(attempt(), "by hand", force=True)
    given_up = open_record(attempt(), "by hand", force=True)

    assert forced.key == again.key == given_up.key == f"{first.key}.2"
    assert [forced.attempts, again.attempts, given_up.state] == [1, 2, "failed"]
    assert open_record(attempt(), "by hand", force=True).key == f"{first.key}.3"


def test_a_forced_run_that_failed_is_tried_again_under_its_name(attempt: Attempt) -> None:
    run = attempt()
    first = ended(run, open_record(run, "labels", force=False), state="promoted")
    run = attempt()
    note_failure(run, open_record(run, "by hand", force=True).key, "no disk")

    again = open_record(attempt(), "by hand", force=True)
    assert (again.key, again.attempts, again.state) == (f"{first.key}.2", 2, "running")


def test_a_killed_forced_run_is_taken_up_as_one(hub: Hub) -> None:
    record = RunRecord("k.2", str(PROJECT), "m", "s", 0, trigger="by hand", forced=True, attempts=1)
    Runs(hub.store, PROJECT).save(record)

    assert consider(hub, PROJECT) == "run enqueued: by hand"
    assert [job.args for job in waiting(hub, LONG)] == [[str(PROJECT), "by hand", True]]


def test_a_failure_keeps_what_the_stages_have_saved(attempt: Attempt) -> None:
    run = attempt()
    record = open_record(run, "labels", force=False)
    ended(run, record, version="v4", stage="publish", metrics={"a": 1}, seconds={"train": 9.0})
    note_failure(run, record.key, "the store is full")
    found = open_record(attempt(), "labels", force=False)

    assert (found.version, found.metrics, found.seconds, found.attempts) == ("v4", {"a": 1}, {"train": 9.0}, 2)


def test_a_promoted_version_stays_promoted_when_only_its_announcement_fails(attempt: Attempt) -> None:
    run = attempt()
    record = ended(run, open_record(run, "labels", force=False), state="promoted")
    note_failure(run, record.key, "the endpoint is down")

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
    assert not is_trained(folder)
    folder.trained.write_text("{}")
    assert is_trained(folder)
    (folder.bundle / "model.onnx").write_bytes(b"half")
    assert not is_trained(folder)


def test_a_run_folder_that_was_left_half_made_is_made_whole(attempt: Attempt) -> None:
    run = attempt()
    record = open_record(run, "labels", force=False)
    in_the_way = run.folder / record.key / "manifest.jsonl"
    in_the_way.mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        open_context(run, record)
    in_the_way.rmdir()
    assert open_context(run, record).manifest == run.manifest
