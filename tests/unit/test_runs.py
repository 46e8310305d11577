from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.errors import Fenced, StoreError
from labelloop.loop.promotion import reject
from labelloop.models.file_store import FileStore
from labelloop.models.runs import DUE, WRITTEN, RunRecord, Runs, run_key
from labelloop.models.store import Versioned
from labelloop.models.versions import VersionRecord, Versions
from labelloop.types import ProjectKey
from support.contest import PROJECT
from support.crash_store import CrashStore, Killed
from support.file_bundle import write_bundle

KEY = run_key("m" * 64, "s" * 64, 0)
RECORD = RunRecord(
    key=KEY,
    project=str(PROJECT),
    manifest="m" * 64,
    settings="s" * 64,
    seed=0,
    trigger="20 changed labels",
    stage="train",
    attempts=1,
    seconds={"fetch": 1.5},
    metrics={"validation": {"head": 0.9}},
    fence=3,
)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


@pytest.fixture
def runs(store: FileStore) -> Runs:
    return Runs(store, PROJECT)


def test_a_run_is_named_by_all_that_decides_its_result() -> None:
    assert run_key("m" * 64, "s" * 64, 0) == KEY
    assert len(KEY) == 16
    assert int(KEY, 16)
    assert (
        len({KEY, run_key("n" * 64, "s" * 64, 0), run_key("m" * 64, "t" * 64, 0), run_key("m" * 64, "s" * 64, 1)}) == 4
    )


def test_a_record_is_read_as_it_was_saved(runs: Runs) -> None:
    saved = runs.save(RECORD)
    assert runs.get(KEY) == saved
    assert saved == replace(RECORD, created=saved.created, updated=saved.updated)
    assert saved.created
    assert saved.updated


def test_a_run_that_never_began_has_no_record(runs: Runs) -> None:
    assert runs.get(KEY) is None
    assert runs.latest() is None
    assert runs.all() == []


def test_saving_again_keeps_when_it_began(runs: Runs) -> None:
    first = runs.save(RECORD)
    again = runs.save(replace(RECORD, stage="gate", created=""))
    assert again.created == first.created
    assert again.updated > first.updated
    assert runs.get(KEY) == again


def test_an_attempt_left_behind_does_not_overwrite_its_successor(runs: Runs) -> None:
    runs.save(replace(RECORD, fence=4, state="promoted", version="v1"))
    with pytest.raises(
        Fenced, match=f"run {KEY} of localhost-8080/7 was taken over under fence 4, this attempt holds 3"
    ):
        runs.save(replace(RECORD, state="failed", reason="fenced"))
    found = runs.get(KEY)
    assert found is not None
    assert (found.state, found.version) == ("promoted", "v1")


def test_what_a_report_has_noted_meanwhile_is_not_undone(runs: Runs) -> None:
    before = runs.save(replace(RECORD, report=DUE))
    runs.amend(KEY, lambda stands: replace(stands, report=WRITTEN, metrics={"label_errors": [7]}))
    after = runs.save(before, lambda stands: replace(stands, stage="done"))
    assert (after.stage, after.report, after.metrics) == ("done", WRITTEN, {"label_errors": [7]})
    assert runs.get(KEY) == after
    assert runs.save(replace(RECORD, key="new"), lambda stands: replace(stands, stage="done")).stage == "train"
    with pytest.raises(Fenced):
        runs.save(replace(before, fence=2), lambda stands: stands)


class Overtaken(FileStore):
    """One whose run is amended by somebody else after it was read first, as who writes its report does."""

    amended = False

    def read(self, path: str) -> Versioned:
        found = super().read(path)
        if path.endswith(f"runs/{KEY}.json") and not self.amended:
            self.amended = True
            Runs(self, PROJECT).amend(KEY, lambda stands: replace(stands, report=WRITTEN))
        return found


def test_who_is_approved_keeps_the_note_of_its_report(store: FileStore, tmp_path: Path) -> None:
    versions, name = Versions(store, PROJECT), Versions(store, PROJECT).claim(KEY)
    version = VersionRecord(name, KEY, "head", None, "", True, "v1 waits", waits=True)
    versions.publish(name, write_bundle(tmp_path / "bundle", b"model"), version)
    Runs(store, PROJECT).save(replace(RECORD, state="waiting", version=name, report=DUE))
    reject(Overtaken(tmp_path), PROJECT, name, "it is blind")
    found = Runs(store, PROJECT).get(KEY)
    assert found is not None
    assert (found.state, found.report) == ("rejected", WRITTEN)


def test_the_latest_is_the_newest_fence_then_the_last_saved(runs: Runs) -> None:
    runs.save(replace(RECORD, key="a", fence=1))
    runs.save(replace(RECORD, key="b", fence=2))
    assert named(runs.latest()) == "b"
    runs.save(replace(RECORD, key="a", fence=1, state="failed"))
    assert named(runs.latest()) == "b", "an attempt left behind is never the latest"
    runs.save(replace(RECORD, key="c", fence=2))
    assert named(runs.latest()) == "c"
    runs.save(replace(RECORD, key="a", fence=3))
    assert named(runs.latest()) == "a"
    assert [record.key for record in runs.all()] == ["b", "c", "a"]


@pytest.mark.parametrize("step", range(4))
def test_saving_may_be_cut_anywhere(store: FileStore, runs: Runs, step: int) -> None:
    runs.save(replace(RECORD, key="a", fence=1))
    with pytest.raises(Killed):
        Runs(CrashStore(store, step // 2, after=bool(step % 2)), PROJECT).save(replace(RECORD, key="b", fence=2))
    found = runs.latest()
    assert found is not None
    assert found.key in {"a", "b"}
    runs.save(replace(RECORD, key="b", fence=3))
    assert named(runs.latest()) == "b"


def test_without_the_note_all_records_are_looked_at(runs: Runs, tmp_path: Path) -> None:
    for key, fence in (("a", 1), ("b", 3), ("c", 2)):
        runs.save(replace(RECORD, key=key, fence=fence))
    (tmp_path / str(PROJECT) / "latest-run.json").unlink()
    assert named(runs.latest()) == "b"
    runs.save(replace(RECORD, key="b", fence=4))
    (tmp_path / str(PROJECT) / "runs" / "b.json").unlink()
    assert named(runs.latest()) == "c"


def test_a_forced_run_has_a_key_of_its_own(runs: Runs) -> None:
    assert runs.next_key(KEY) == KEY
    for expected in (f"{KEY}.2", f"{KEY}.3"):
        runs.save(replace(RECORD, key=runs.next_key(KEY), state="rejected"))
        assert runs.next_key(KEY) == expected


def test_a_forced_run_that_was_cut_short_is_taken_up(runs: Runs) -> None:
    runs.save(replace(RECORD, state="promoted"))
    runs.save(replace(RECORD, key=f"{KEY}.2", state="running"))
    assert runs.next_key(KEY) == f"{KEY}.2"


def test_projects_do_not_meet(store: FileStore, runs: Runs) -> None:
    runs.save(RECORD)
    other = Runs(store, ProjectKey("localhost-8080", 70))
    assert other.get(KEY) is None
    assert other.latest() is None


def test_threads_save_without_losing_the_newest(runs: Runs) -> None:
    def save(fence: int) -> None:
        with suppress(Fenced):
            runs.save(replace(RECORD, fence=fence))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(save, range(1, 25)))
    found = runs.get(KEY)
    assert found is not None
    assert found.fence == 24


def test_what_json_cannot_hold_is_refused(runs: Runs) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        runs.save(replace(RECORD, metrics={"loss": float("nan")}))
    assert runs.get(KEY) is None


def test_a_damaged_record_is_named(store: FileStore, runs: Runs) -> None:
    store.write(f"{PROJECT}/runs/{KEY}.json", b'{"key": 1')
    with pytest.raises(StoreError, match=rf"{PROJECT}/runs/{KEY}\.json is damaged"):
        runs.get(KEY)


def named(record: RunRecord | None) -> str | None:
    return record.key if record else None
