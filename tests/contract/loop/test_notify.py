"""What a hook of the team's own hears: each moment once, however it came about and whoever was killed; and failures."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty

from labelloop.cli.doctor import diagnose
from labelloop.errors import CloudAway, CloudError
from labelloop.loop import jobs, news
from labelloop.loop.deploy import deployment_of
from labelloop.loop.hub import Hub
from labelloop.loop.moments import first, planned
from labelloop.loop.news import Told
from labelloop.loop.notify import check_place, post, tell_news
from labelloop.loop.queue import SHORT, queue
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep
from labelloop.loop.waker import make_due
from labelloop.models.deployments import Deployments
from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord
from labelloop.types import Json, ProjectKey
from labelloop.watch.judgement import Judgement
from labelloop.watch.records import Watched
from support.file_bundle import write_bundle
from support.hook_server import SECRET, HookServer, hook_server
from support.servers import free_port
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_consider import scheduled

TESTED = {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.94}}


@pytest.fixture
def hook() -> Iterator[HookServer]:
    with hook_server() as made:
        yield made


@pytest.fixture
def told(hook: HookServer, make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of jobs that tell what is new."""
    studio.connect("none")
    made = make_hub(notify_url=hook.url, allow_private_addresses=True)
    yield from of_this_process(made, monkeypatch)


@pytest.fixture
def project(told: Hub) -> ProjectKey:
    """A project of two versions: v1 became champion, v2 was rejected."""
    project = told.project(7)
    versions = told.versions(project)
    for name, passed in (("v1", True), ("v2", False)):
        versions.claim(f"k-{name}")
        bundle = write_bundle(told.settings.directory / name, name.encode())
        verdict = f"{name} is better than nothing" if passed else f"{name} is worse, see {told.settings.notify_url}"
        versions.publish(
            name, bundle, VersionRecord(name, f"k-{name}", "head", None, "", passed, verdict, {"test": TESTED})
        )
    return project


def promote(hub: Hub, version: str) -> None:
    pointer = hub.pointer(hub.project(7))
    fence = pointer.take_fence()
    pointer.promote(version, fence)
    pointer.announce(version, fence)


def ended(hub: Hub, key: str, **given: object) -> RunRecord:
    record = RunRecord(key, str(hub.project(7)), "m", "s", 0, fence=hub.pointer(hub.project(7)).take_fence())
    return hub.runs(hub.project(7)).save(replace(record, **given))  # type: ignore[arg-type]


def drifts(hub: Hub, since: float) -> None:
    judged = Judgement("v1", since, since, since, 300, 300, "cat", 0.4, 1e-9, 0.6, drifts=True, what="cat")
    watched = Watched(hub.store, hub.project(7), "v1")
    watched.note(lambda before: replace(before, looks=before.looks + 1, last=judged.to_json(), since=since))


class _Worker(SimpleWorker):
    """RQ's worker, without the thread by which it takes commands."""

    death_penalty_class = TimerDeathPenalty

    def subscribe(self) -> None: ...

    def unsubscribe(self) -> None: ...


def work(hub: Hub) -> None:
    """Let RQ's own worker send what waits, in this process."""
    make_due(hub.redis)
    worker = _Worker([queue(hub.redis, SHORT)], connection=hub.redis, serializer=JSONSerializer)
    worker.work(burst=True, logging_level="CRITICAL")


def asked(hub: Hub) -> list[Json]:
    """The messages that are to be sent."""
    return [job.more[0] for job in planned(hub.redis) if job.name == "notify"]


def events(posted: list[Json]) -> list[tuple[str, str]]:
    return [(one["event"], one["version"]) for one in posted]


def test_each_moment_is_told_once_whatever_redis_loses(told: Hub, hook: HookServer, project: ProjectKey) -> None:
    promote(told, "v1")
    ended(told, "k-v1", state="promoted", version="v1")
    ended(told, "k-v2", state="rejected", version="v2", verdict="v2 is worse")
    ended(told, "k3", state="failed", final=True, reason="no weights")
    ended(told, "k4", state="failed", failures=1, reason="it stumbled, and is tried again")
    ended(told, "k5")
    drifts(told, datetime.now(UTC).timestamp())
    tell_news(told, project)
    tell_news(told, project)
    told.redis.flushall()  # before anything was sent
    tell_news(told, project)
    work(told)
    said = {("promoted", "v1"), ("rejected", "v2"), ("failed", ""), ("drift", "v1")}
    assert set(events(hook.posted)) == said
    assert len(hook.posted) == len(said)

    told.redis.flushall()
    promote(told, "v2")
    promote(told, "v1")
    ended(told, "k4", state="failed", failures=3, reason="it stumbled")
    for _ in range(2):
        tell_news(told, project)
        work(told)
        told.redis.flushall()
    assert events(hook.posted)[4:] == [("promoted", "v2"), ("rolled_back", "v1"), ("failed", "")]
    assert hook.posted[5]["reason"] == "it takes the place of v2 again"


def test_a_message_holds_all_that_is_known_and_no_secret(told: Hub, hook: HookServer, project: ProjectKey) -> None:
    saved = ended(told, "k-v2", state="rejected", version="v2", verdict=f"v2 is worse, see {told.settings.notify_url}")
    tell_news(told, project)
    work(told)
    [message] = hook.posted
    assert message == {
        "id": "run k-v2 rejected",
        "event": "rejected",
        "project": "7",
        "time": saved.updated,
        "version": "v2",
        "reason": "v2 is worse, see ***",
        "figure": {"name": "accuracy", "value": 0.9, "low": 0.85, "high": 0.94},
        "title": "Cats",
        "model_run": "",
        "type": "",
        "text": "LabelLoop, project 7 (Cats): rejected v2. v2 is worse, see ***. "
        "accuracy 0.900 (95 % interval 0.850 to 0.940).",
    }
    assert hook.paths == [f"/services/{SECRET}?k=1"]


def test_slack_gets_one_text_in_which_nothing_is_a_command(told: Hub, hook: HookServer) -> None:
    post(replace(told.settings, notify_form="slack"), {"text": "a <!channel> & b", "event": "failed"})
    assert hook.posted == [{"text": "a &lt;!channel&gt; &amp; b"}]


def test_jobs_tell_of_what_they_did_and_the_sweep_of_what_was_left(
    told: Hub, hook: HookServer, project: ProjectKey
) -> None:
    promote(told, "v1")
    assert jobs.deploy(str(project), "v1") == "v1 is announced"
    work(told)
    assert events(hook.posted) == [("promoted", "v1")]

    # A worker was killed right after it had saved this.
    ended(told, "k-v2", state="rejected", version="v2")
    sweep(told)
    assert "notify" in scheduled(told)
    work(told)
    assert events(hook.posted)[1:] == [("rejected", "v2")]


def test_a_deployment_that_failed_is_told_once_for_each_reign(make_hub: MakeHub, hook: HookServer) -> None:
    hub = make_hub(notify_url=hook.url, endpoint="http://127.0.0.1:1/predict", deployer="command:false")
    project = hub.project(7)

    def fails(version: str, begun: float) -> list[tuple[str, str]]:
        """The deployment of a version fails; gives what is asked to be told of that."""
        seen = deployment_of(hub, project)
        assert seen is not None
        after = replace(seen, wanted=version, stage="failed", reason="no quota", begun=begun, looked=begun + 1)
        Deployments(hub.store, project).replace(seen, after)
        tell_news(hub, project)
        sent = [one for one in asked(hub) if one["event"] == "deployment_failed"]
        hub.redis.flushall()
        Told(hub, project).note([one["id"] for one in sent])
        assert {one["reason"] for one in sent} <= {"no quota"}
        return events(sent)

    now = datetime.now(UTC).timestamp()
    assert fails("v1", now) == [], "nobody has made it champion"
    promote(hub, "v1")
    assert fails("v1", now) == [("deployment_failed", "v1")]
    assert fails("v1", now + 1) == [], "it is tried again, and fails the same way"
    promote(hub, "v2")
    assert fails("v2", now + 2) == [("deployment_failed", "v2")]
    promote(hub, "v1")
    assert fails("v1", now + 3) == [("deployment_failed", "v1")], "it became champion again"


def test_options_that_cannot_be_read_keep_nothing_else_from_being_told(make_hub: MakeHub, hook: HookServer) -> None:
    hub = make_hub(notify_url=hook.url)
    hub.state(hub.project(7)).share('{"endpoint": "nowhere"}')
    promote(hub, "v1")
    tell_news(hub, hub.project(7))
    assert [one["event"] for one in asked(hub)] == ["promoted"]


def test_two_who_look_at_once_ask_for_one_message(told: Hub, project: ProjectKey) -> None:
    promote(told, "v1")
    with ThreadPoolExecutor(4) as lookers:
        list(lookers.map(lambda _: tell_news(told, project), range(8)))
    assert len(asked(told)) == 1


def test_what_is_older_than_a_day_is_not_told(
    told: Hub, hook: HookServer, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(told, "v1")
    ended(told, "k-v2", state="rejected", version="v2")
    with monkeypatch.context() as patched:
        # As if the day had gone by: nothing is younger than that.
        patched.setattr(news, "_LATE", timedelta(seconds=0))
        tell_news(told, project)
    tell_news(told, project)
    work(told)
    assert not hook.posted


def test_what_fails_is_tried_again_and_noted_until_it_works(
    told: Hub, hook: HookServer, project: ProjectKey, caplog: pytest.LogCaptureFixture
) -> None:
    promote(told, "v1")
    hook.answers = [503]
    tell_news(told, project)
    with caplog.at_level(logging.DEBUG):
        work(told)
    assert scheduled(told) == ["notify"]
    trouble = "promoted v1 could not be told, it is tried again: the address in LABELLOOP_NOTIFY_URL answered 503"
    assert project_status(told, project).trouble == trouble
    assert SECRET not in caplog.text
    tell_news(told, project)
    [again] = planned(told.redis)
    assert time.time() + 5 < (first(told.redis) or 0) < time.time() + 10
    assert jobs.notify(str(project), *again.more) == "promoted is told"
    assert jobs.notify(str(project), *again.more) == "it was told before"
    assert events(hook.posted) == [("promoted", "v1")]
    assert project_status(told, project).trouble == ""


@pytest.mark.parametrize("answer", [302, 404])
def test_what_no_retry_mends_is_given_up_and_noted_until_the_setting_goes(
    told: Hub, hook: HookServer, project: ProjectKey, answer: int
) -> None:
    promote(told, "v1")
    hook.answers = [answer]
    tell_news(told, project)
    work(told)
    tell_news(told, project)
    assert not scheduled(told)
    assert (len(hook.paths), hook.posted) == (1, []), "a redirect is not followed"
    assert f"it is not tried again: the address in LABELLOOP_NOTIFY_URL answered {answer}" in (
        project_status(told, project).trouble
    )
    sweep(told)
    assert "notify" in told.state(project).notes()
    told.settings = replace(told.settings, notify_url="")
    sweep(told)
    assert "notify" not in told.state(project).notes()


def test_a_private_address_is_refused_and_one_where_nobody_listens_is_tried_again(told: Hub, hook: HookServer) -> None:
    closed = replace(told.settings, allow_private_addresses=False)
    for ask in (check_place, lambda settings: post(settings, {"text": "x"})):
        with pytest.raises(CloudError, match="LABELLOOP_ALLOW_PRIVATE_ADDRESSES=true") as refused:
            ask(closed)
        assert not isinstance(refused.value, CloudAway)
        with pytest.raises(CloudAway) as away:
            ask(replace(told.settings, notify_url=f"http://127.0.0.1:{free_port()}/{SECRET}"))
        assert SECRET not in f"{refused.value} {away.value}"
    assert not hook.paths


@pytest.mark.slow
def test_doctor_connects_and_sends_nothing(told: Hub, hook: HookServer) -> None:
    [found] = [one for one in diagnose(told, None, {}, {}) if one.name == "messages"]
    assert found.ok
    assert SECRET not in found.detail
    assert not hook.paths


def test_without_the_setting_nothing_is_looked_at(told: Hub, project: ProjectKey) -> None:
    promote(told, "v1")
    told.settings = replace(told.settings, notify_url="")
    tell_news(told, project)
    assert not scheduled(told)
    assert f"{project}/notified.json" not in told.store.names(f"{project}/")


def test_a_record_of_a_newer_release_is_read(told: Hub, hook: HookServer, project: ProjectKey) -> None:
    promote(told, "v1")
    told.store.write(f"{project}/notified.json", b'{"ids": ["champion v1 1"], "more": 1}')
    tell_news(told, project)
    work(told)
    assert not hook.posted
    told.store.write(f"{project}/notified.json", b"{")
    tell_news(told, project)
    work(told)
    assert events(hook.posted) == [("promoted", "v1")], "a damaged one counts as none"
