"""``labelloop rollback``, also to a version that the gate has rejected."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from labelloop.cli import main
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.queue import SHORT
from labelloop.loop.status import project_status
from labelloop.loop.worker import make_worker
from labelloop.models.champion import ChampionPointer
from labelloop.models.versions import VersionRecord, Versions, state_of
from labelloop.types import ProjectKey
from support.file_bundle import write_bundle
from support.studio_api import StudioApi
from support.waiting import wait_until

from .test_consider import waiting


@pytest.fixture
def project(job_hub: Hub, tmp_path: Path) -> ProjectKey:
    """A project with two versions: v1 is champion, v2 was rejected."""
    project = job_hub.project(7)
    versions, pointer = Versions(job_hub.store, project), ChampionPointer(job_hub.store, project)
    for name, parent, verdict in (("v1", None, "v1 becomes the first champion"), ("v2", "v1", "v2 is rejected: worse")):
        bundle = write_bundle(tmp_path / name, name.encode())
        numbers = {"gate": {"conceded": 0.25}}
        passed = parent is None
        versions.claim(f"run of {name}")
        versions.publish(
            name, bundle, VersionRecord(name, f"run of {name}", "head", parent, "", passed, verdict, numbers)
        )
    pointer.promote("v1", pointer.take_fence())
    return project


def rollback(*options: str) -> Result:
    return CliRunner().invoke(main, ["rollback", "--project", "7", "--to", "v2", *options])


def test_a_rejected_version_is_refused_and_says_how_to_take_it(job_hub: Hub, project: ProjectKey) -> None:
    answer = rollback()
    assert answer.exit_code == 1
    assert "v2 was rejected (v2 is rejected: worse)" in answer.output
    assert "--force" in answer.output
    assert not waiting(job_hub, SHORT)
    assert not Versions(job_hub.store, project).get("v2").promoted


def test_a_damaged_champion_file_is_written_anew(studio: StudioApi, job_hub: Hub, project: ProjectKey) -> None:
    studio.connect("v1")
    path, pointer = f"{project}/champion.json", ChampionPointer(job_hub.store, project)
    held = job_hub.store.read(path).content
    damaged = held.replace(b'"fence": 1', b'"fence": 4000000000')[:-20]
    job_hub.store.write(path, damaged)
    listed = CliRunner().invoke(main, ["versions", "--project", "7"])
    assert "v1   published" in listed.output
    assert "labelloop rollback --project 7 --to VERSION" in listed.output
    status = CliRunner().invoke(main, ["status"])
    assert (status.exit_code, "champion.json is damaged" in status.output) == (0, True)

    assert "there is no worker" in CliRunner().invoke(main, ["rollback", "--project", "7", "--to", "v1"]).output
    [job] = waiting(job_hub, SHORT)
    assert jobs.deploy(*job.args) == "v1 is announced"

    mended = pointer.read()
    assert (mended.champion, mended.announced, [reign.version for reign in mended.history]) == ("v1", "v1", ["v1"])
    assert mended.fence > 4_000_000_000, "older fences stay older"
    job_hub.store.write(path, b"")
    began = time.time()
    assert pointer.mend("v1")
    assert began <= pointer.read().fence <= time.time() + 2
    assert not pointer.mend("v2")
    assert pointer.read().champion == "v1"


def test_forced_it_becomes_champion_and_its_record_says_so(
    studio: StudioApi, job_hub: Hub, project: ProjectKey
) -> None:
    studio.connect("v1")
    answer = rollback("--force")
    assert "there is no worker" in answer.output
    [job] = waiting(job_hub, SHORT)
    assert job.args == [str(project), "v2"]

    jobs.deploy(*job.args)

    record, pointers = Versions(job_hub.store, project).get("v2"), ChampionPointer(job_hub.store, project).read()
    assert (record.promoted, record.forced, state_of("v2", record, pointers)) == (True, True, "announced")
    assert record.verdict == "promoted by force, though the gate said: v2 is rejected: worse"
    assert record.metrics["gate"]["conceded"] == 0.0
    listed = CliRunner().invoke(main, ["versions", "--project", "7"]).output
    assert "v2   announced head       promoted by force" in listed
    assert not project_status(job_hub, project).rollback

    jobs.deploy(str(project), "v1")

    assert project_status(job_hub, project).rollback == "a person went back from v2 to v1"


def test_what_was_carried_out_when_redis_lost_it_is_no_failure(
    studio: StudioApi, job_hub: Hub, project: ProjectKey
) -> None:
    studio.connect("v1")
    worker = make_worker(job_hub)
    worker.register_birth()

    def carry_out() -> None:
        wait_until(lambda: bool(waiting(job_hub, SHORT)), lambda: "nothing is asked for")
        jobs.deploy(*waiting(job_hub, SHORT)[0].args)
        job_hub.redis.flushall()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(carry_out)
        answer = rollback("--force")
        done.result()
    worker.connection.close()
    assert (answer.exit_code, answer.stdout) == (0, "v2 is champion\n")


def test_forcing_one_that_passed_changes_nothing_of_its_record(job_hub: Hub, project: ProjectKey) -> None:
    before = Versions(job_hub.store, project).get("v1")
    CliRunner().invoke(main, ["rollback", "--project", "7", "--to", "v1", "--force"])
    assert Versions(job_hub.store, project).get("v1") == before
