"""What Prometheus is told of the loop: by the sweep's look at store and Redis, without either when they are away."""

import time
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from labelloop.loop.deploy import deployment_of
from labelloop.loop.gauges import Gauges, OfLoop, keep_gauges
from labelloop.loop.hub import Hub
from labelloop.loop.queue import LONG, SHORT
from labelloop.models.deployments import Deployment, Deployments
from labelloop.models.runs import RunRecord
from labelloop.models.store import Store, Versioned
from labelloop.models.versions import VersionRecord
from labelloop.types import ProjectKey
from support.file_bundle import write_bundle

from .conftest import MakeHub

TESTED = {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.94}, "macro": {"f1": {"value": 0.8}}}


@pytest.fixture
def project(hub: Hub) -> ProjectKey:
    """A project with a champion of which Label Studio has not been told."""
    project = hub.project(7)
    hub.versions(project).claim("k1")
    record = VersionRecord("v1", "k1", "head", None, "", True, "it is the first", {"test": TESTED})
    hub.versions(project).publish("v1", write_bundle(hub.settings.directory / "b", b"1"), record)
    pointer = hub.pointer(project)
    pointer.promote("v1", pointer.take_fence())
    return project


def ended(hub: Hub, project: ProjectKey, key: str, **given: object) -> RunRecord:
    record = RunRecord(key, str(project), "m", "s", 0, fence=hub.pointer(project).take_fence())
    return hub.runs(project).save(replace(record, **given))  # type: ignore[arg-type]


def told(hub: Hub) -> dict[tuple[str, ...], float]:
    """Each sample of a scrape: its name and the values of its labels, a project's number first, and its value."""
    registry = CollectorRegistry()
    registry.register(OfLoop(hub))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [
        (
            one.name,
            tuple(one.labels[name] for name in sorted(one.labels, key=lambda name: name != "project")),
            one.value,
        )
        for family in families
        for one in family.samples
    ]
    assert len({(name, labels) for name, labels, _ in samples}) == len(samples), "Prometheus takes no series twice"
    return {(name.removeprefix("labelloop_"), *labels): value for name, labels, value in samples}


def test_a_project_is_told_by_its_number(hub: Hub, project: ProjectKey) -> None:
    ended(hub, project, "k1", state="promoted", version="v1")
    ended(hub, project, "k2", state="rejected")
    ended(hub, project, "k3", state="failed", seconds={"train": 12.5})
    hub.state(project).changes.add(["a1", "a2"], time.time())
    hub.state(project).note("drift", "they are other than they were")
    hub.state(project).note_swept()

    keep_gauges(hub, [project])
    found = told(hub)

    assert found["redis_up",] == 1
    assert found["champion_info", "7", "v1"] == 1
    assert found["champion_announced", "7"] == 0
    assert [found[f"champion_measure{end}", "7", "accuracy"] for end in ("", "_low", "_high")] == [0.9, 0.85, 0.94]
    assert found["champion_measure", "7", "macro_f1"] == 0.8
    assert {key[2]: value for key, value in found.items() if key[0] == "runs"} == {
        "promoted": 1,
        "rejected": 1,
        "failed": 1,
    }
    assert found["last_run_failed", "7"] == 1
    assert found["run_stage_seconds", "7", "train"] == 12.5
    assert found["changed_labels", "7"] == 2
    assert found["drift", "7"] == 1
    assert time.time() - 60 < found["last_success_timestamp_seconds", "7"] < found["swept_timestamp_seconds", "7"]
    assert not any(key[0] in ("deployment_failed", "agreement_ratio") for key in found)


def test_what_changes_is_told_after_the_next_sweep(hub: Hub, project: ProjectKey) -> None:
    running = ended(hub, project, "k1")
    keep_gauges(hub, [project])
    assert told(hub)["runs", "7", "running"] == 1

    hub.runs(project).save(replace(running, state="promoted"))
    pointer = hub.pointer(project)
    pointer.announce("v1", pointer.take_fence())
    keep_gauges(hub, [project])
    found = told(hub)

    assert found["runs", "7", "promoted"] == 1
    assert ("runs", "7", "running") not in found
    assert found["champion_announced", "7"] == 1


def test_nothing_is_read_twice_of_what_stays(hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(20):
        ended(hub, project, f"k{at}", state="rejected")
    keep_gauges(hub, [project])
    read: list[str] = []
    before = type(hub.store).read

    def reading(store: Store, name: str) -> Versioned:
        read.append(name)
        return before(store, name)

    monkeypatch.setattr(type(hub.store), "read", reading)
    keep_gauges(hub, [project])

    assert sorted(name.rpartition("/")[2] for name in read) == ["champion.json", "k19.json", "latest-run.json"]


def test_agreement_has_its_interval(hub: Hub, project: ProjectKey) -> None:
    pointer = hub.pointer(project)
    pointer.announce("v1", pointer.take_fence())
    hub.state(project).agreement.begin("v1", lambda: "2026-11-30T00:00:00Z")
    hub.redis.hset(f"labelloop:{project}:agreement", mapping={"t1": "2 2", "t2": "2 1"})
    keep_gauges(hub, [project])
    found = told(hub)
    assert (found["agreement_ratio", "7"], found["agreement_annotations", "7"]) == (0.75, 4)
    assert 0 < found["agreement_ratio_low", "7"] < 0.75 < found["agreement_ratio_high", "7"] < 1


def test_a_deployment_that_failed_is_told(make_hub: MakeHub) -> None:
    hub = make_hub(endpoint="http://127.0.0.1:1/predict", deployer="command:true", allow_private_addresses=True)
    project = hub.project(7)
    seen = deployment_of(hub, project)
    assert seen is not None
    Deployments(hub.store, project).replace(seen, Deployment(seen.place, wanted="v1", stage="failed", reason="no"))
    keep_gauges(hub, [project])
    assert told(hub)["deployment_failed", "7"] == 1


def test_one_project_that_cannot_be_read_takes_nothing_from_the_others(hub: Hub, project: ProjectKey) -> None:
    other = hub.project(8)
    hub.store.write(f"{other}/champion.json", b"{")
    keep_gauges(hub, [other, project])
    found = told(hub)
    assert found["champion_info", "7", "v1"] == 1
    keep_gauges(hub, [other])
    assert ("champion_info", "7", "v1") not in told(hub), "a project that is there no more is not told of"


def test_jobs_and_workers_are_counted(hub: Hub, project: ProjectKey) -> None:
    hub.queue(project).retrain("by hand")
    hub.queue(project).consider(time.time() + 100)
    # One that was killed stays in RQ's list until another worker cleans up.
    hub.redis.sadd(f"rq:workers:{LONG}", "rq:worker:dead", "rq:worker:there")
    hub.redis.hset("rq:worker:there", "birth", "now")
    found = told(hub)
    assert found["queue_jobs", LONG, "waiting"] == 1
    assert found["queue_jobs", SHORT, "scheduled"] == 1
    assert found["queue_jobs", SHORT, "waiting"] == 0
    assert found["workers",] == 1


def test_without_redis_that_is_all_that_is_told(make_hub: MakeHub) -> None:
    hub = make_hub(redis_url="redis://127.0.0.1:1/0")
    assert told(hub) == {("redis_up",): 0}


def test_what_a_newer_release_tells_beside_is_passed_over() -> None:
    assert Gauges.parse('{"champion": "v1", "new": 1}') == Gauges(champion="v1")
