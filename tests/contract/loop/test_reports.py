"""Reports that somebody asks for: one that is due is waited for, and where there is none the reason is said."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from labelloop.cli import main
from labelloop.errors import NotFound
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.reports import await_report
from labelloop.models.runs import DUE, RunRecord
from labelloop.models.versions import VersionRecord
from labelloop.types import ProjectKey
from support.file_bundle import write_bundle
from support.studio_api import StudioApi


@pytest.fixture
def project(job_hub: Hub, studio: StudioApi) -> ProjectKey:
    studio.connect("v1")
    return confirmed_project(job_hub, 7)[0]


def publish(hub: Hub, project: ProjectKey, folder: Path, report: str = DUE) -> RunRecord:
    """Publish a version as a run leaves it whose report is due, and make it champion."""
    versions, pointer = hub.versions(project), hub.pointer(project)
    name, fence = versions.claim(f"run-{len(versions.names())}"), pointer.take_fence()
    key = f"run-{int(name[1:]) - 1}"
    bundle = write_bundle(folder / name, name.encode())
    versions.publish(name, bundle, VersionRecord(name, key, "head", None, "2026-01-01", True, f"{name} passed"))
    pointer.promote(name, fence)
    record = RunRecord(key, str(project), "m", "s", 1, state="promoted", version=name, report=report, fence=fence)
    return hub.runs(project).save(record)


def asked(*more: str) -> Result:
    return CliRunner().invoke(main, ["report", "--project", "7", "--output", "-", *more])


def test_one_that_is_being_written_is_waited_for(job_hub: Hub, project: ProjectKey, tmp_path: Path) -> None:
    publish(job_hub, project, tmp_path)
    told: list[str] = []

    def write(sentence: str) -> None:
        told.append(sentence)
        job_hub.versions(project).write_report("v1", b"<html>")

    with Lease(job_hub, project):
        assert await_report(job_hub, project, "v1", 20, write) == b"<html>"
    assert told == ["the report of v1 is being written; it is waited for, 20 s at most ..."]


def test_a_wait_ends_with_what_to_do(job_hub: Hub, project: ProjectKey, tmp_path: Path) -> None:
    publish(job_hub, project, tmp_path)
    with Lease(job_hub, project):
        answer = asked("--wait", "0.1")
    assert answer.exit_code == 1
    assert "the report of v1 is being written" in answer.stderr
    assert "is being written: it was waited for, for 0.1 s. Ask for it again in a minute" in answer.stderr


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (DUE, "v1 of .* has no report: it is due, but no worker runs where the run was made"),
        ("it could not be made: why not", "v1 of .* has no report: it could not be made: why not"),
        ("", "v1 of .* has no report: it was adopted, or its worker was ended"),
    ],
)
def test_what_will_not_come_is_not_waited_for(
    job_hub: Hub, project: ProjectKey, tmp_path: Path, report: str, told: str
) -> None:
    publish(job_hub, project, tmp_path, report)
    with pytest.raises(NotFound, match=told):
        await_report(job_hub, project, "v1", 60, pytest.fail)
