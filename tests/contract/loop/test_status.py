"""What status, the registry, the cached version, the values and the progress say, with Redis and without."""

import json
import logging
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelloop.errors import LeaseLost, QueueError, SettingsError
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.process import open_hub
from labelloop.loop.project_registry import backend_url, forget, known_projects, remember_project
from labelloop.loop.redis_client import as_text, key_of
from labelloop.loop.serving import announced_version
from labelloop.loop.standing import standing
from labelloop.loop.state import Seen, note_loading
from labelloop.loop.status import project_status
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.settings import Settings
from labelloop.types import NO_VERSION
from support.examples import examples
from support.waiting import wait_until

from .conftest import PROJECT
from .test_lease import is_lost


@pytest.fixture
def gone(hub: Hub) -> Hub:
    """A hub on the same store whose Redis is not there."""
    return open_hub(replace(hub.settings, redis_url="redis://127.0.0.1:1/0"))


def announce(hub: Hub, version: str) -> None:
    pointer = ChampionPointer(hub.store, PROJECT)
    fence = pointer.take_fence()
    pointer.promote(version, fence)
    pointer.announce(version, fence)


def run(hub: Hub, **given: object) -> None:
    record = RunRecord("k", str(PROJECT), "m", "s", 0, **given)  # type: ignore[arg-type]
    Runs(hub.store, PROJECT).save(record)


def test_a_new_project_lacks_all_labels(hub: Hub) -> None:
    stands = project_status(hub, PROJECT)

    assert stands.missing == "40 more labels"
    assert (stands.champion, stands.announced, stands.run, stands.step) == (None,) * 4
    assert stands.queue
    assert stands.outlook is not None
    assert (stands.outlook.next, stands.outlook.at, stands.outlook.why) == ("nothing", None, "nothing has changed")


def test_before_a_first_run_changed_labels_count(hub: Hub) -> None:
    hub.state(PROJECT).changes.add([f"a{number}" for number in range(39)], now=1)
    assert project_status(hub, PROJECT).missing == "1 more label"
    hub.state(PROJECT).changes.add(["a39"], now=1)
    assert project_status(hub, PROJECT).missing == "nothing; the first run is about to begin"
    hub.state(PROJECT).note("missing", "no test picture yet")
    assert project_status(hub, PROJECT).missing == "no test picture yet"


def test_a_rejected_first_version_does_not_lack_labels(hub: Hub) -> None:
    run(hub, state="rejected", verdict="v1 is rejected")

    assert project_status(hub, PROJECT).missing == "a version that passes the gate; the last run is rejected"


def test_what_counts_are_the_settings_of_who_looks_at_the_project_not_of_who_asks(hub: Hub) -> None:
    announce(hub, "v1")
    hub.state(PROJECT).changes.add([f"a{number}" for number in range(12)], now=1000)
    elsewhere = open_hub(replace(hub.settings, retrain_after=77, quiet_seconds=1, max_wait_seconds=5, min_labels=9))
    worker = open_hub(replace(hub.settings, retrain_after=20, quiet_seconds=30, max_wait_seconds=3600))
    worker.state(PROJECT).note_policy()
    stands = project_status(elsewhere, PROJECT)

    assert stands.outlook is not None
    assert (stands.changed, stands.outlook.needed, stands.outlook.at) == (12, 20, 4600)
    assert "12 of 20 changed labels" in "\n".join(standing(stands))
    hub.state(PROJECT).changes.add([f"a{number}" for number in range(12, 25)], now=2000)
    later = project_status(elsewhere, PROJECT).outlook
    assert later is not None
    assert later.at == 2030
    elsewhere.redis.close()
    worker.redis.close()


def test_before_a_first_version_labels_are_counted(hub: Hub) -> None:
    hub.state(PROJECT).changes.add([f"a{number}" for number in range(12)], now=1000)

    assert "12 of 40 labels for a first version" in "\n".join(standing(project_status(hub, PROJECT)))


def test_without_a_worker_it_is_said(hub: Hub) -> None:
    stands = project_status(hub, PROJECT)

    assert stands.workers == 0
    assert "no worker is running" in standing(stands)[-1]
    note_loading(hub.redis)
    assert "a worker is starting" in standing(project_status(hub, PROJECT))[-1]


def test_with_a_champion_only_what_a_look_found_is_missing(hub: Hub) -> None:
    announce(hub, "v1")
    assert project_status(hub, PROJECT).missing == ""

    hub.state(PROJECT).note("missing", "2 more labels")
    assert "  before the next version: 2 more labels" in standing(project_status(hub, PROJECT))
    hub.state(PROJECT).changes.add(["a1"], now=1000)
    told = "\n".join(standing(project_status(hub, PROJECT)))
    assert "before the next version, when labels were looked at last: 2 more labels" in told
    assert "next: a look whether labels are enough for a run " in told


def test_trouble_of_runs_and_of_sweeps_is_told_together(hub: Hub) -> None:
    hub.state(PROJECT).note("trouble", "no disk")
    hub.state(PROJECT).note("sweep", "Label Studio is down")
    hub.state(PROJECT).note("registry", "no disk")
    hub.state(PROJECT).note("unpredicted", "not for people")

    assert project_status(hub, PROJECT).trouble == "no disk; Label Studio is down"


def test_without_redis_status_says_what_the_store_knows(hub: Hub, gone: Hub) -> None:
    announce(hub, "v1")
    run(hub, state="promoted", verdict="v1 becomes the first champion")
    stands = project_status(gone, PROJECT)

    assert (stands.champion, stands.announced, stands.queue) == ("v1", "v1", False)
    assert stands.run is not None
    assert stands.run["verdict"] == "v1 becomes the first champion"
    assert "Start it, or correct LABELLOOP_REDIS_URL" in stands.trouble
    json.dumps(stands.to_json(), allow_nan=False)


def test_progress_is_seen_while_a_worker_has_the_project_and_not_after_it_was_killed(hub: Hub) -> None:
    with Lease(hub, PROJECT) as lease:
        reporter = ProgressReporter(hub, PROJECT, lease)
        reporter.stage("train")
        reporter("epochs", 4, 4)
        step = hub.state(PROJECT).progress().step()
        assert step is not None
        assert (step.stage, step.what, step.done, step.total) == ("train", "epochs", 4, 4)
        json.dumps(project_status(hub, PROJECT).to_json())
        # A killed worker's lease runs out; what it reported last stays behind.
        hub.redis.delete(key_of(PROJECT, "lease"))
        assert hub.state(PROJECT).progress().step() is None


def test_a_reporter_books_its_stages_and_takes_the_progress_away(hub: Hub) -> None:
    with Lease(hub, PROJECT) as lease:
        reporter = ProgressReporter(hub, PROJECT, lease)
        for stage in ("fetch", "train", "fetch"):
            reporter.stage(stage)
        reporter.close()
        assert list(reporter.seconds) == ["fetch", "train"]
        assert hub.state(PROJECT).progress().step() is None


def test_a_reporter_stops_a_run_whose_lease_is_lost(hub: Hub) -> None:
    with Lease(hub, PROJECT, seconds=0.03) as lease:
        hub.redis.set(key_of(PROJECT, "lease"), "another worker")
        reporter = ProgressReporter(hub, PROJECT, lease)
        wait_until(lambda: is_lost(lease), "it is noticed")
        with pytest.raises(LeaseLost, match="this run stops here"):
            reporter("waiting", 0, 0)


def test_the_announced_version_is_cached_and_the_cache_never_goes_back(hub: Hub) -> None:
    assert announced_version(hub, PROJECT) == NO_VERSION
    announce(hub, "v1")
    hub.state(PROJECT).announce("v1")
    assert announced_version(hub, PROJECT) == "v1"
    # A process that read the store before the flip fills the cache after it.
    hub.state(PROJECT).announce(NO_VERSION, fresh=False)
    assert announced_version(hub, PROJECT) == "v1"
    assert 0 < hub.redis.ttl(key_of(PROJECT, "announced")) <= 10


def test_without_redis_the_announced_version_is_the_stores(hub: Hub, gone: Hub) -> None:
    announce(hub, "v1")
    assert announced_version(gone, PROJECT) == "v1"
    gone.state(PROJECT).announce("v1")


def test_known_projects_are_those_asked_for_and_those_in_the_store(hub: Hub) -> None:
    instance = hub.project(1).instance
    remember_project(hub, hub.project(12), "http://labelloop:9090/")
    remember_project(hub, hub.project(3), None)
    hub.store.write(f"{instance}/5/champion.json", b"{}")
    hub.store.write(f"{instance}/notes/x", b"")

    assert [project.id for project in known_projects(hub)] == [3, 5, 12]
    assert backend_url(hub, 12) == "http://labelloop:9090"
    assert backend_url(hub, 3) is None
    assert backend_url(hub, 4) is None
    remember_project(hub, hub.project(12), None)
    assert backend_url(hub, 12) == "http://labelloop:9090"


def test_without_redis_a_project_is_not_noted_and_that_is_logged(gone: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        remember_project(gone, PROJECT, "http://labelloop:9090")
    assert "is not noted: Redis cannot be reached" in caplog.text
    with pytest.raises(QueueError):
        known_projects(gone)


@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_values_come_back_as_they_were_set(hub: Hub, key: str, value: str) -> None:
    hub.state(hub.project(7)).set_value(key, value)
    assert hub.state(hub.project(7)).value(key) == value
    assert hub.state(hub.project(8)).value(key) is None


def test_forgetting_leaves_nothing_of_the_project_and_all_of_the_others(hub: Hub) -> None:
    other = replace(PROJECT, id=8)
    for project in (PROJECT, other):
        hub.state(project).changes.add(["a1"], now=1)
        hub.state(project).note("trouble", "x")
        hub.state(project).see(Seen())
        hub.state(project).want_again("x")
        hub.queue(project).retrain("x")
        hub.queue(project).deploy()
        hub.state(project).announce("v1")
        remember_project(hub, project, None)
    forget(hub, PROJECT)

    left = [as_text(key) for key in hub.redis.keys("labelloop:*")]
    assert not [key for key in left if str(PROJECT) in key]
    assert len([key for key in left if str(other) in key]) == 7
    assert known_projects(hub) == [other]


@pytest.mark.parametrize("url", ["redis://:hush@[", "redis://:hu/sh@host:x", "ftp://me:hush@x"])
def test_a_wrong_redis_address_is_a_setting_and_tells_no_password(url: str) -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_REDIS_URL is neither embedded nor") as error:
        _ = open_hub(Settings(redis_url=url)).redis
    assert "hu" not in str(error.value)


def test_a_wrong_address_of_label_studio_is_a_setting() -> None:
    with pytest.raises(SettingsError, match="LABEL_STUDIO_URL"):
        open_hub(Settings(label_studio_url="http://[::1")).project(7)
