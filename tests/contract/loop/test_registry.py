"""Which projects the loop knows: after a wiped Redis, with one that Label Studio does not have, with a damaged one."""

import logging
from typing import Any

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.data.site_events import LabelsChanged
from labelloop.errors import NoSuchProject
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.project_registry import backend_url, known_projects, remember_project, why_gone
from labelloop.loop.queue import LONG
from labelloop.loop.redis_client import as_text, key_of
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.types import ProjectKey
from support.studio_api import StudioApi

from .conftest import MakeHub
from .test_consider import waiting

URL = "http://labelloop:9090"


@pytest.fixture
def project(studio_hub: Hub, studio: StudioApi) -> ProjectKey:
    """A project that Label Studio has, with one task."""
    studio.add_tasks(1)
    return studio_hub.project(7)


def test_a_project_is_known_after_redis_was_wiped_before_its_first_run(studio_hub: Hub, project: ProjectKey) -> None:
    remember_project(studio_hub, project, URL)
    sweep(studio_hub)
    studio_hub.redis.flushall()

    assert known_projects(studio_hub) == [project]
    assert sweep(studio_hub) == {str(project): "nothing has changed"}
    assert backend_url(studio_hub, project.id) == URL


def test_a_damaged_note_of_a_project_is_written_anew(studio_hub: Hub, project: ProjectKey) -> None:
    remember_project(studio_hub, project, URL)
    studio_hub.store.write(f"{project}/project.json", b"[]")
    for _ in range(2):
        assert sweep(studio_hub) == {str(project): "nothing has changed"}
        studio_hub.redis.flushall()
    sweep(studio_hub)
    assert backend_url(studio_hub, project.id) == URL


def test_an_address_that_changes_is_kept_too(studio_hub: Hub, project: ProjectKey) -> None:
    for url in (URL, "http://elsewhere:9090"):
        remember_project(studio_hub, project, url)
        sweep(studio_hub)
    studio_hub.redis.flushall()
    sweep(studio_hub)

    assert backend_url(studio_hub, project.id) == "http://elsewhere:9090"


def test_a_webhook_makes_its_project_known(job_hub: Hub, studio: StudioApi) -> None:
    studio.add_tasks(1)
    note(job_hub, LabelsChanged(7, (1,)))
    assert known_projects(job_hub) == []

    jobs.consider(str(job_hub.project(7)))
    assert known_projects(job_hub) == [job_hub.project(7)]


def test_nothing_is_kept_of_a_project_that_label_studio_does_not_have(
    job_hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = job_hub.project(999)
    remember_project(job_hub, stranger, URL)
    note(job_hub, LabelsChanged(999, (1, 2, 3)))
    job_hub.queue(stranger).retrain("Start Training")
    with pytest.raises(NoSuchProject, match="404"):
        jobs.retrain(str(stranger), "Start Training", False)
    assert "Not found" in jobs.consider(str(stranger))
    with pytest.raises(NoSuchProject):
        jobs.prelabel(str(stranger))
    with pytest.raises(NoSuchProject):
        jobs.deploy(str(stranger), None)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            sweep(job_hub)

    assert list(job_hub.store.walk("")) == []
    assert known_projects(job_hub) == []
    assert job_hub.state(stranger).changes.pending().changed == 0
    left = {as_text(key) for key in job_hub.redis.keys(f"labelloop:*{stranger}*")}
    assert left <= {key_of(stranger, name) for name in ("gone", "note", "failures", "job")}
    assert len([record for record in caplog.records if "999 is left alone" in record.getMessage()]) == 1


def test_a_project_deleted_in_label_studio_is_spoken_of_once_and_its_versions_stay(
    studio: StudioApi, studio_hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    deleted = studio_hub.project(8)
    pointer = ChampionPointer(studio_hub.store, deleted)
    pointer.promote("v1", pointer.take_fence())
    studio_hub.state(deleted).changes.add(["a1"], 1.0)
    remember_project(studio_hub, deleted, URL)
    with caplog.at_level(logging.WARNING):
        done = [sweep(studio_hub)[str(deleted)] for _ in range(4)]

    assert done[0].startswith("failed: ")
    assert all(one.startswith("left alone: ") for one in done[1:])
    assert len([record for record in caplog.records if "8 is left alone" in record.getMessage()]) == 1
    assert len(studio.asked) == 1
    assert studio_hub.state(deleted).changes.pending().changed == 0
    stands = project_status(studio_hub, deleted)
    assert (stands.champion, stands.trouble) == ("v1", why_gone(studio_hub, deleted))
    assert "404" in stands.trouble

    # Label Studio names it again: it is back.
    remember_project(studio_hub, deleted, URL)
    sweep(studio_hub)
    assert len(studio.asked) == 2


def test_a_404_of_a_proxy_is_not_taken_for_label_studios(
    studio_hub: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    remember_project(studio_hub, project, URL)
    studio_hub.state(project).changes.add(["a1"], 1.0)
    studio.pages["/api/projects/7"] = (404, b"404 page not found")
    assert sweep(studio_hub)[str(project)].startswith("failed: ")

    assert not why_gone(studio_hub, project)
    assert studio_hub.state(project).changes.pending().changed == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"champion": 7}',
        b'{"fence": "3"}',
        b'{"history": 3}',
        b'{"history": [{"version": "v1"}]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_damaged_champion_file_concerns_its_project_alone(
    studio: StudioApi, make_hub: MakeHub, content: bytes
) -> None:
    hub = make_hub()
    well, damaged = hub.project(7), hub.project(3)
    for project in (well, damaged):
        pointer = ChampionPointer(hub.store, project)
        pointer.announce("v1", pointer.promote("v1", pointer.take_fence()).fence)
    hub.store.write(f"{damaged}/champion.json", content)

    stands = {project.id: project_status(hub, project) for project in known_projects(hub)}
    assert (stands[7].champion, stands[7].store) == ("v1", True)
    assert (stands[3].champion, stands[3].store) == (None, False)
    assert "champion.json is damaged" in stands[3].trouble
    assert "`labelloop rollback --project 3 --to VERSION`" in stands[3].trouble
    studio.others = {3}
    studio.connect("v1")
    done = sweep(hub)
    assert done[str(well)] == "nothing has changed"
    assert "champion.json is damaged" in done[str(damaged)]


def test_damaged_records_of_runs_count_as_missing_and_are_written_anew(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs(studio_hub.store, project)
    earlier: dict[str, Any] = {"project": str(project), "manifest": "m", "settings": "s", "seed": 0}
    runs.save(RunRecord("one", state="promoted", fence=1, **earlier))
    runs.save(RunRecord("two", state="failed", attempts=1, fence=2, **earlier))
    studio_hub.store.write(f"{project}/runs/two.json", b'{"key": "two", "fence": {}}')
    studio_hub.store.write(f"{project}/latest-run.json", b"no JSON")
    studio_hub.store.write(f"{project}/manifests/m.jsonl", b"\xff")

    latest = runs.latest()
    assert latest is not None
    assert latest.key == "one"
    assert sweep(studio_hub, scan_now=True) == {str(project): "nothing has changed"}
    assert project_status(studio_hub, project).run is not None
    for name in ("runs/two.json", "latest-run.json", "manifests/m.jsonl"):
        assert f"{name} is damaged" in caplog.text

    runs.save(RunRecord("two", state="rejected", fence=3, **earlier))
    latest = runs.latest()
    assert latest is not None
    assert latest.key == "two"


@pytest.mark.parametrize(
    "arguments",
    [
        ["connect", "--project", "999", "--url", URL],
        ["connect", "--project", "999", "--url", URL, "--extra-params", "{}"],
        ["search", "--project", "999", "--run", "run"],
        ["sweep", "--project", "999"],
        ["predict", "--project", "999"],
    ],
)
def test_commands_leave_nothing_of_a_project_that_label_studio_does_not_have(
    job_hub: Hub, arguments: list[str]
) -> None:
    answer = CliRunner().invoke(main, arguments)

    assert answer.exit_code == 1
    assert "answered 404" in answer.output
    assert list(job_hub.store.walk("")) == []
    assert known_projects(job_hub) == []


def test_start_training_of_a_stranger_waits_for_nobody(studio_hub: Hub) -> None:
    studio_hub.queue(studio_hub.project(999)).retrain("Start Training")
    assert [job.args[0] for job in waiting(studio_hub, LONG)] == [str(studio_hub.project(999))]
    assert list(studio_hub.store.walk("")) == []
