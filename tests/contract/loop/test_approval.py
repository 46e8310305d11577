"""Versions that wait for a person: ``labelloop approve`` and ``labelloop reject``, and what they say meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from labelloop.cli import main
from labelloop.errors import Conflict
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.promotion import promote, reject
from labelloop.loop.queue import SHORT
from labelloop.models.champion import ChampionPointer
from labelloop.models.open_run import OpenRun
from labelloop.models.runs import RunRecord, Runs
from labelloop.models.versions import VersionRecord, Versions, number_of, state_of
from labelloop.types import ProjectKey
from support.file_bundle import write_bundle
from support.mlflow_server import mlflow_server
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_consider import waiting


@pytest.fixture
def hub_7(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of this process whose project 7 has a champion v1, and v2 and v3 that wait for approval."""
    for hub in of_this_process(make_hub(approval="manual"), monkeypatch):
        project = hub.project(7)
        publish(hub, project, "v1", parent=None, waits=False)
        pointer = hub.pointer(project)
        pointer.promote("v1", pointer.take_fence())
        for version in ("v2", "v3"):
            publish(hub, project, version)
        yield hub


def publish(hub: Hub, project: ProjectKey, name: str, parent: str | None = "v1", *, waits: bool = True) -> None:
    versions, key = Versions(hub.store, project), f"run-of-{name}"
    bundle = write_bundle(Path(hub.settings.directory) / "made" / name, name.encode())
    versions.claim(key)
    verdict = f"{name} replaces {parent}"
    versions.publish(name, bundle, VersionRecord(name, key, "head", parent, "", True, verdict, waits=waits))
    Runs(hub.store, project).save(
        RunRecord(
            key,
            str(project),
            "m",
            "s",
            0,
            state="waiting",
            version=name,
            verdict=f"{verdict}; it waits",
            fence=number_of(name),
        )
    )


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, [arguments[0], "--project", "7", *arguments[1:]])


def done(hub: Hub) -> str:
    """Do the job that a command has left, for there is no worker."""
    [job] = waiting(hub, SHORT)
    return jobs.deploy(*job.args)


def stands(hub: Hub) -> dict[str, str]:
    project = hub.project(7)
    pointers = hub.pointer(project).read()
    return {one.version: state_of(one.version, one, pointers) for one in hub.versions(project).all()}


def test_what_waits_says_so_and_how_to_approve(hub_7: Hub) -> None:
    listed, status = command("versions").output, command("status").output
    for version in ("v2", "v3"):
        told = f"{version} waits for approval: `labelloop approve --project 7 {version}`"
        assert told in listed
        assert told in status
    assert "v2   waiting   head       v2 replaces v1; v2 waits" in listed


def test_the_newest_is_approved_and_the_other_one_is_passed_over(studio: StudioApi, hub_7: Hub) -> None:
    studio.connect("v1")
    command("approve")
    assert done(hub_7) == "v3 is announced"

    assert stands(hub_7) == {"v1": "retired", "v2": "published", "v3": "announced"}
    runs = Runs(hub_7.store, hub_7.project(7))
    assert [(one.state, one.verdict) for key in ("run-of-v2", "run-of-v3") if (one := runs.find(key))] == [
        ("waiting", "v2 replaces v1; it waits"),
        ("promoted", "v3 replaces v1"),
    ]
    assert "waits for approval" not in command("status").output + command("versions").output
    late = command("approve", "v2")
    assert late.exit_code == 1
    assert "v2 does not wait for approval: it met v1, and now v3 is champion. --force makes it" in late.output
    assert "no version of project 7 waits for approval" in command("approve").output


def test_the_run_of_what_was_passed_over_asks_for_no_approval(hub_7: Hub) -> None:
    assert "last run run-of-v3: waiting" in command("status").output
    promote(hub_7.store, hub_7.project(7), "v2")
    told = command("status").output
    assert "last run run-of-v3: passed over, for v3 has not met the champion of today" in told
    assert "it waits" not in told


def test_what_was_passed_over_is_approved_by_force(studio: StudioApi, hub_7: Hub) -> None:
    studio.connect("v1")
    promote(hub_7.store, hub_7.project(7), "v3")
    command("approve", "v2", "--force")
    assert done(hub_7) == "v2 is announced"
    assert not hub_7.versions(hub_7.project(7)).get("v2").forced, "the gate had let it pass"


def test_what_waits_is_rejected_with_the_reason(hub_7: Hub) -> None:
    answer = command("reject", "--reason", "it mixes up cats")
    assert answer.output == "v3 is rejected: v3 replaces v1; a person rejected it: it mixes up cats\n"
    assert stands(hub_7) == {"v1": "champion", "v2": "waiting", "v3": "rejected"}
    found = Runs(hub_7.store, hub_7.project(7)).find("run-of-v3")
    assert found is not None
    assert (found.state, found.verdict) == ("rejected", "v3 replaces v1; a person rejected it: it mixes up cats")
    refused = command("approve", "v3")
    assert (refused.exit_code, "v3 does not wait for approval: it was rejected" in refused.output) == (1, True)
    assert command("reject", "v3").exit_code == 0, "it may be repeated"


def test_mlflow_is_told_what_a_person_decides(
    studio: StudioApi, hub_7: Hub, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.connect("v1")
    project = hub_7.project(7)
    with mlflow_server() as tracked:
        tracked.experiments[f"labelloop/{project}"] = "1"
        for version in ("v2", "v3"):
            tags = {"labelloop.run": f"run-of-{version}", "labelloop.gate": "as the gate said"}
            tracked.runs[version] = {"name": version, "experiment": "1", "status": "FINISHED", "tags": tags}
            tracked.runs[version] |= {"metrics": {}, "params": {}}
        for _ in of_this_process(make_hub(approval="manual", mlflow=tracked.address), monkeypatch):
            command("reject", "v3")
            command("approve", "v3", "--force")
            assert done(hub_7) == "v3 is announced"
            command("reject", "v2")
    gates = {version: run["tags"]["labelloop.gate"] for version, run in tracked.runs.items()}
    assert gates == {"v2": "rejected", "v3": "promoted"}
    assert tracked.runs["v3"]["tags"]["labelloop.verdict"].startswith("promoted by force")


def test_rejecting_the_champion_goes_back_to_the_one_before(studio: StudioApi, hub_7: Hub) -> None:
    studio.connect("v1")
    project = hub_7.project(7)
    assert "there is no version before it" in command("reject", "v1").output
    for version in ("v2", "v3", "v2"):  # v3 was taken back already
        promote(hub_7.store, project, version)
    command("reject", "v2")
    assert done(hub_7) == "v1 is announced"
    assert hub_7.versions(project).get("v2").promoted, "a rollback says nothing of its verdict"


def test_what_is_rejected_before_its_approval_is_carried_out_does_not_become_champion(hub_7: Hub) -> None:
    command("approve", "v3")
    command("reject", "v3", "--reason", "it mixes up cats")
    with pytest.raises(Conflict, match="v3 does not become champion, for it was rejected: v3 replaces v1; a person"):
        done(hub_7)
    assert stands(hub_7) == {"v1": "champion", "v2": "waiting", "v3": "rejected"}
    assert "does not become champion" in command("status").output


def test_the_run_of_a_champion_says_so_even_where_whoever_approved_it_was_cut_off(
    studio: StudioApi, hub_7: Hub
) -> None:
    studio.connect("v1")
    pointer = hub_7.pointer(hub_7.project(7))
    pointer.promote("v2", pointer.take_fence())
    assert jobs.deploy(str(hub_7.project(7)), None) == "v2 is announced"
    found = Runs(hub_7.store, hub_7.project(7)).find("run-of-v2")
    assert found is not None
    assert (found.state, found.verdict) == ("promoted", "v2 replaces v1")


def test_approving_takes_the_right_to_promote_from_the_open_run(hub_7: Hub) -> None:
    project = hub_7.project(7)
    hub_7.open_runs(project).begin(OpenRun("run-of-v4", "m", fence=1))
    promote(hub_7.store, project, "v2")
    opened = hub_7.open_runs(project).read()
    assert opened is not None
    assert opened.barred == "v2 was made champion by a person while it was being trained"


def test_a_word_that_is_given_twice_counts_once(hub_7: Hub) -> None:
    project = hub_7.project(7)
    for _ in range(2):
        promote(hub_7.store, project, "v2")
        reject(hub_7.store, project, "v3", "a person rejected it")
    assert [reign.version for reign in ChampionPointer(hub_7.store, project).read().history] == ["v1", "v2"]
    assert hub_7.versions(project).get("v3").verdict == "v3 replaces v1; a person rejected it"
