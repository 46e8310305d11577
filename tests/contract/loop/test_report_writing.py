"""Reports are written beside the runs, by the machine that has their files: which, of what, and whoever is killed."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.errors import Conflict, MediaError, NotFound, StoreAway
from labelloop.loop import erasure, jobs, lease, report_writing
from labelloop.loop.background import Background, machine_of
from labelloop.loop.erasure import erase, plan_erasure
from labelloop.loop.housekeeping import look_after
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.queue import BACKGROUND, count_jobs, drop_lost_queues, machine_queue, queue
from labelloop.loop.report_writing import ask_for_reports, write_reports
from labelloop.loop.reports import (
    ERASED,
    ERASED_FILES,
    GONE,
    NO_FILES,
    REMOVED,
    UNTOUCHED,
    await_report,
    report_stands,
)
from labelloop.loop.worker import CountingFiles, work_in_background
from labelloop.models.runs import DUE, WRITTEN, RunRecord, Runs
from labelloop.run import driver
from labelloop.run.folder import RunFolder
from labelloop.run.report.html import write_report
from labelloop.types import ProjectKey
from support.crash_store import Killed
from support.number_tasks import label_numbers
from support.reports import reported
from support.studio_api import StudioApi
from support.waiting import wait_until

from .conftest import run_once


@pytest.fixture
def project(numbers_loop: Hub) -> ProjectKey:
    return numbers_loop.project(7)


def asked(hub: Hub) -> list[str]:
    """Name the jobs that wait for this machine, and take them."""
    mine = queue(hub.redis, machine_queue(machine_of(hub.settings.directory)))
    found = [f"{str(job.func_name).rpartition('.')[2]} {' '.join(job.args)}" for job in mine.jobs]
    mine.empty()  # type: ignore[no-untyped-call]
    return found


def folders(hub: Hub) -> list[Path]:
    return [one for one in (hub.settings.directory / "runs").glob("*/*/*") if one.is_dir()]


def stands(hub: Hub, record: RunRecord) -> RunRecord:
    found = hub.runs(hub.project(7)).get(record.key)
    assert found is not None
    return found


def test_a_run_leaves_its_report_to_its_machine(numbers_loop: Hub, project: ProjectKey) -> None:
    record = run_once(numbers_loop)
    machine = machine_of(numbers_loop.settings.directory)
    assert (record.state, record.stage, record.report, record.machine) == ("promoted", "done", DUE, machine)
    assert "report" not in record.seconds
    assert count_jobs(numbers_loop.redis)[BACKGROUND, "waiting"] == 1
    assert asked(numbers_loop) == [f"report {project}"]

    assert jobs.report(str(project)) == "reports are written of v1"
    assert record.verdict in numbers_loop.versions(project).read_report("v1").decode()
    after = stands(numbers_loop, record)
    assert (after.report, after.updated) == (WRITTEN, record.updated)
    assert after.seconds["report"] > 0
    assert folders(numbers_loop) == []
    assert jobs.report(str(project)) == "no report is due"


def test_of_versions_that_followed_each_other_only_the_newest_gets_one(
    numbers_loop: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    first = run_once(numbers_loop)
    for begin in (61, 65):
        label_numbers(studio, range(begin, begin + 4))
        run_once(numbers_loop)
    jobs.challenge(str(project))
    (numbers_loop.settings.directory / "worse").touch()
    label_numbers(studio, range(69, 73))
    assert run_once(numbers_loop).state == "rejected"
    assert len(folders(numbers_loop)) == 5

    assert write_reports(numbers_loop, project) == "reports are written of v5, v4"
    assert folders(numbers_loop) == []
    assert stands(numbers_loop, first).report.startswith("v5 followed before its turn came")
    answer = CliRunner().invoke(main, ["report", "--project", "7", "--version", "v1", "--output", "-"])
    assert answer.exit_code == 1
    assert "v1 of " in answer.stderr
    assert "has no report: v5 followed before its turn came" in answer.stderr


def test_what_waits_for_a_person_gets_one(numbers_loop: Hub, project: ProjectKey, studio: StudioApi) -> None:
    record = run_once(numbers_loop)
    numbers_loop.runs(project).amend(record.key, lambda one: replace(one, state="waiting"))
    numbers_loop.store.write(f"{project}/champion.json", b"{}")
    label_numbers(studio, range(61, 65))
    run_once(numbers_loop)
    assert write_reports(numbers_loop, project) == "reports are written of v2, v1"


@pytest.mark.process
def test_the_process_beside_a_worker_of_that_machine_writes_it(
    numbers_loop: Hub, project: ProjectKey, eager_background: None
) -> None:
    record = run_once(numbers_loop)
    assert report_stands(numbers_loop, project, "v1").startswith("it is due, but no worker runs where the run was made")
    beside = Background("background", lambda: work_in_background(numbers_loop, CountingFiles()))
    try:
        beside.tend()
        wait_until(lambda: report_stands(numbers_loop, project, "v1") in (DUE, WRITTEN), "it is about to be written")
        assert record.verdict in await_report(numbers_loop, project, "v1", 60).decode()
        wait_until(lambda: not folders(numbers_loop), "its folder is removed")
    finally:
        beside.end()


@contextmanager
def before_writing(monkeypatch: pytest.MonkeyPatch, do: Callable[[RunFolder], object]) -> Iterator[None]:
    """Do something inside the block before a page is made and kept in the store."""

    def write(folder: RunFolder) -> Path:
        do(folder)
        return write_report(folder)

    with monkeypatch.context() as patched:
        patched.setattr(driver, "write_report", write)
        yield


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Iterator[None]:
    def fail(_: RunFolder) -> None:
        raise error

    with before_writing(monkeypatch, fail):
        yield


def test_killed_it_is_tried_again_but_not_for_ever(
    numbers_loop: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = run_once(numbers_loop)
    for _ in range(3):
        asked(numbers_loop)
        with failing(monkeypatch, Killed()), pytest.raises(Killed):
            write_reports(numbers_loop, project)
        ask_for_reports(numbers_loop)
        assert asked(numbers_loop) == [f"report {project}"]
    assert write_reports(numbers_loop, project) == "no report is due"
    assert stands(numbers_loop, record).report.startswith("its process ended 3 times while it was written")
    assert folders(numbers_loop) == []


def test_who_asks_it_to_end_takes_no_try_from_it(
    numbers_loop: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_once(numbers_loop)

    def full() -> None:
        raise OSError(28, "No space left on device")

    def end(_: RunFolder) -> None:
        with lease.when_asked_to_end(full):
            lease.give_back()
        raise Killed

    for _ in range(4):
        with monkeypatch.context() as process, before_writing(monkeypatch, end):
            process.setattr(lease, "_ending", threading.Event())
            with pytest.raises(Killed):
                write_reports(numbers_loop, project)
    assert caplog.text.count("could not keep that: [Errno 28] No space left on device") == 4
    assert write_reports(numbers_loop, project) == "reports are written of v1"


def test_one_whose_folder_somebody_has_removed_is_given_up_when_it_is_asked_for(
    numbers_loop: Hub, project: ProjectKey, caplog: pytest.LogCaptureFixture
) -> None:
    record = run_once(numbers_loop)
    asked(numbers_loop)
    shutil.rmtree(folders(numbers_loop)[0])
    with Lease(numbers_loop, project), pytest.raises(NotFound, match="the report of v1 is being written"):
        await_report(numbers_loop, project, "v1")
    assert asked(numbers_loop) == [f"report {project} {record.key}"]
    for _ in range(2):
        assert jobs.report(str(project), record.key) == "no report is due"
    with pytest.raises(NotFound, match="has no report: the folder of its run, with the files"):
        await_report(numbers_loop, project, "v1", 60)
    assert caplog.text.count(REMOVED) == 1
    assert asked(numbers_loop) == []


def test_one_that_is_asked_for_is_written_where_its_folder_is(numbers_loop: Hub, project: ProjectKey) -> None:
    record = run_once(numbers_loop)
    assert jobs.report(str(project), record.key) == "reports are written of v1"
    assert jobs.report(str(project), record.key) == "no report is due"
    assert stands(numbers_loop, record).report == WRITTEN


def test_one_that_fails_takes_nothing_from_the_version_and_what_is_away_is_waited_for(
    numbers_loop: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = run_once(numbers_loop)
    for _ in range(4):
        with failing(monkeypatch, StoreAway("the store is away")), pytest.raises(StoreAway):
            write_reports(numbers_loop, project)
    assert len(folders(numbers_loop)) == 1

    def unnoted(*_: object) -> None:
        raise StoreAway("the store is away")

    for _ in range(4):
        with monkeypatch.context() as patched:
            patched.setattr(Runs, "amend", unnoted)
            with pytest.raises(StoreAway):
                write_reports(numbers_loop, project)
    with failing(monkeypatch, ValueError("a secret")):
        assert write_reports(numbers_loop, project) == "no report is due"
    told = report_stands(numbers_loop, project, "v1")
    assert told == "it could not be made: ValueError. The worker's log says more"
    assert (stands(numbers_loop, record).state, folders(numbers_loop)) == ("promoted", [])


def test_what_an_earlier_release_left_gets_its_report(numbers_loop: Hub, project: ProjectKey) -> None:
    record = run_once(numbers_loop)
    asked(numbers_loop)
    runs = numbers_loop.runs(project)
    runs.amend(record.key, lambda one: replace(one, stage="promote", report="", machine=""))
    with Lease(numbers_loop, project):
        assert write_reports(numbers_loop, project) == "no report is due", "its worker is at it"
    (numbers_loop.settings.directory / "runs" / "no-instance" / "x").mkdir(parents=True)
    ask_for_reports(numbers_loop)
    assert asked(numbers_loop) == [f"report {project}"]
    assert record.verdict in reported(numbers_loop, project)


def test_one_that_is_due_somewhere_else_shows_nothing_that_is_erased(
    numbers_loop: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    record = run_once(numbers_loop)
    (folder,) = folders(numbers_loop)
    elsewhere = folder.rename(numbers_loop.settings.directory / "elsewhere")
    with Lease(numbers_loop, project):
        erase(numbers_loop, plan_erasure(numbers_loop, project, [1]))
    assert stands(numbers_loop, record).report == ERASED
    folder.parent.mkdir(parents=True, exist_ok=True)
    elsewhere.rename(folder)
    # As a release says it that knows of no reports in the background.
    numbers_loop.runs(project).amend(record.key, lambda one: replace(one, report=""))
    label_numbers(studio, range(61, 65))
    run_once(numbers_loop)
    assert write_reports(numbers_loop, project) == "reports are written of v2"
    assert (report_stands(numbers_loop, project, "v1"), folders(numbers_loop)) == (ERASED, [])
    assert not numbers_loop.versions(project).fetch_events("v1", elsewhere)


def test_while_one_is_written_nothing_is_erased_or_pruned(
    numbers_loop: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(numbers_loop, "settings", replace(numbers_loop.settings, keep_versions=1))
    run_once(numbers_loop)
    with Lease(numbers_loop, project, reports=True):
        assert write_reports(numbers_loop, project).startswith("reports are written later")
        with pytest.raises(Conflict, match="a report of project 7 is being written: give this command again"):
            erase(numbers_loop, plan_erasure(numbers_loop, project, [1]))
        look_after(numbers_loop, [project])
        assert numbers_loop.state(project).claim_housekeeping(1), "the next sweep asks again"


def test_a_run_that_comes_while_another_is_written_is_not_left_to_the_next_look(
    numbers_loop: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(numbers_loop)
    label_numbers(studio, range(61, 65))
    with before_writing(monkeypatch, lambda _: run_once(numbers_loop)):
        assert write_reports(numbers_loop, project) == "reports are written of v1, v2"


def test_one_that_cannot_be_had_takes_nothing_from_the_others_and_is_not_tried_for_ever(
    numbers_loop: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_once(numbers_loop)
    numbers_loop.runs(project).amend(first.key, lambda one: replace(one, state="waiting"))
    label_numbers(studio, range(61, 65))
    second = run_once(numbers_loop)

    def fail(folder: RunFolder) -> None:
        if folder.path.name == second.key:
            raise MediaError("its pictures are away")

    with before_writing(monkeypatch, fail):
        for _ in range(4):
            with pytest.raises(MediaError, match="its pictures are away"):
                write_reports(numbers_loop, project)
        assert (stands(numbers_loop, first).report, stands(numbers_loop, second).report) == (WRITTEN, DUE)
        monkeypatch.setattr(report_writing, "_UNREAD_SECONDS", 0.0)
        assert write_reports(numbers_loop, project) == "no report is due"
    assert stands(numbers_loop, second).report.startswith("it could not be made: its pictures are away")
    assert folders(numbers_loop) == []


def test_who_has_lost_the_right_to_write_writes_nothing(
    numbers_loop: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = run_once(numbers_loop)
    monkeypatch.setattr(report_writing, "_LEASE_SECONDS", 0.03)

    def take(_: RunFolder) -> None:
        numbers_loop.redis.set(f"labelloop:{project}:reports", "another's")
        renewing = f"lease {project}"
        wait_until(lambda: all(one.name != renewing for one in threading.enumerate()), "the lease is lost")

    with before_writing(monkeypatch, take):
        assert "another worker has taken project" in write_reports(numbers_loop, project)
    assert stands(numbers_loop, record).report == DUE
    with pytest.raises(NotFound):
        numbers_loop.versions(project).read_report("v1")


def test_who_erases_other_tasks_says_that_there_will_be_none(numbers_loop: Hub, project: ProjectKey) -> None:
    record = run_once(numbers_loop)
    with Lease(numbers_loop, project):
        erase(numbers_loop, plan_erasure(numbers_loop, project, [150]))
    after = stands(numbers_loop, record)
    assert (folders(numbers_loop), after.report, after.manifest) == ([], ERASED_FILES, record.manifest)


@pytest.mark.parametrize(("other", "report"), [(True, DUE), (False, NO_FILES)])
def test_who_goes_on_with_a_published_run_says_where_its_files_are(
    numbers_loop: Hub, project: ProjectKey, other: bool, report: str
) -> None:
    record = run_once(numbers_loop)
    shutil.rmtree(folders(numbers_loop)[0])
    machine = "other" if other else record.machine
    cut_off = {"state": "running", "stage": "publish", "machine": machine}
    numbers_loop.runs(project).amend(record.key, lambda one: replace(one, **cut_off))  # type: ignore[arg-type]
    after = run_once(numbers_loop)
    assert (after.key, after.state, after.stage) == (record.key, "promoted", "done")
    assert (after.machine, after.report) == (machine, report)


def test_who_measures_a_run_has_its_folder(numbers_loop: Hub, project: ProjectKey) -> None:
    record = run_once(numbers_loop)
    cut_off = {"state": "running", "machine": "where it was begun", "report": ""}
    numbers_loop.runs(project).amend(record.key, lambda one: replace(one, **cut_off))  # type: ignore[arg-type]
    after = run_once(numbers_loop)
    assert (after.machine, after.report) == (record.machine, DUE)


def test_a_folder_that_nobody_touched_for_a_week_goes_and_its_record_says_so(
    numbers_loop: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers_loop, "settings", replace(numbers_loop.settings, keep_versions=9))
    record = run_once(numbers_loop)
    label_numbers(studio, range(61, 65))
    run_once(numbers_loop)
    for folder in folders(numbers_loop):
        os.utime(folder, (0, 0))
    look_after(numbers_loop, [project])
    assert len(folders(numbers_loop)) == 1
    assert stands(numbers_loop, record).report == UNTOUCHED


def test_reports_are_asked_for_only_where_a_run_is_over(numbers_loop: Hub, project: ProjectKey) -> None:
    record = run_once(numbers_loop)
    asked(numbers_loop)
    runs = numbers_loop.runs(project)
    runs.amend(record.key, lambda one: replace(one, state="failed", stage="evaluate", version=None, failures=1))
    ask_for_reports(numbers_loop)
    assert (asked(numbers_loop), len(folders(numbers_loop))) == ([], 1), "it may be tried again"
    runs.amend(record.key, lambda one: replace(one, final=True))
    ask_for_reports(numbers_loop)
    assert asked(numbers_loop) == [f"report {project}"]
    assert write_reports(numbers_loop, project) == "no report is due"
    assert folders(numbers_loop) == []


def test_of_a_project_that_is_gone_no_folders_stay(numbers_loop: Hub, project: ProjectKey) -> None:
    record = run_once(numbers_loop)
    asked(numbers_loop)
    numbers_loop.state(project).lose("there is no project 7")
    ask_for_reports(numbers_loop)
    assert (asked(numbers_loop), folders(numbers_loop)) == ([], [])
    assert stands(numbers_loop, record).report == GONE


def test_a_machine_has_one_name_and_what_it_was_asked_for_goes_with_its_workers(
    numbers_loop: Hub, project: ProjectKey
) -> None:
    directory = numbers_loop.settings.directory
    assert machine_of(directory) == machine_of(directory) != machine_of(directory / "other")
    numbers_loop.queue(project).report("gone")
    assert numbers_loop.queue(project).report("gone") == numbers_loop.queue(project).report("gone")
    (job,) = queue(numbers_loop.redis, machine_queue("gone")).jobs
    assert job.result_ttl == 60, "it is asked for often"
    assert count_jobs(numbers_loop.redis)[BACKGROUND, "waiting"] == 1
    drop_lost_queues(numbers_loop.redis)
    assert count_jobs(numbers_loop.redis)[BACKGROUND, "waiting"] == 0
    assert not numbers_loop.redis.keys("rq:job:*")


def test_of_a_lost_machine_nothing_is_left_in_redis(numbers_loop: Hub, project: ProjectKey) -> None:
    redis, name = numbers_loop.redis, machine_queue("gone")
    lost = queue(redis, name)
    for registry in (lost.failed_job_registry, lost.finished_job_registry):
        numbers_loop.queue(project).report("gone")
        [job] = lost.jobs
        lost.remove(job)
        registry.add(job, ttl=-1)
        redis.delete(f"labelloop:{project}:report:gone")
    # As a worker leaves it whose process was killed.
    redis.sadd(f"rq:workers:{name}", "rq:worker:killed")
    drop_lost_queues(redis)
    assert not [*redis.keys("*gone*"), *redis.keys("rq:job:*")]


@pytest.mark.parametrize("found", ["", "0123456789abcdef0", "../../other", "0123456789ABCDEF", "ü"])
def test_what_is_no_name_of_a_machine_is_made_anew(tmp_path: Path, found: str) -> None:
    path = tmp_path / "runs" / "machine"
    path.parent.mkdir()
    path.write_text(found)
    assert machine_of(tmp_path) == path.read_text() != found
    path.write_text("0123456789abcdef\n")
    assert machine_of(tmp_path) == "0123456789abcdef"
