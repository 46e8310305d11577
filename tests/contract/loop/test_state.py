"""A project's state in Redis: the same keys and values in every release, and one rule for a Redis that is missing."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from redis.exceptions import WatchError

from labelloop.errors import QueueError
from labelloop.loop import redis_client
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.loop.progress import StageProgress
from labelloop.loop.redis_client import as_text
from labelloop.loop.retrain_policy import Pending, RetrainPolicy
from labelloop.loop.state import ProjectState, Seen, Shared, Wish
from labelloop.types import ProjectKey

from .conftest import PROJECT

OURS = "labelloop:localhost-8080/7:"
TOLD = {"stage": "train", "what": "epochs", "done": 3, "total": 10, "since": 1000.0, "at": 1010.5}
STEP = StageProgress("train", "epochs", 3, 10, 1000.0, 1010.5)


@pytest.fixture
def state(hub: Hub) -> ProjectState:
    return hub.state(PROJECT)


@pytest.fixture
def gone(hub: Hub) -> Iterator[ProjectState]:
    """The state of a project whose Redis is not there."""
    elsewhere = open_hub(replace(hub.settings, redis_url="redis://127.0.0.1:1/0"))
    yield elsewhere.state(PROJECT)
    elsewhere.redis.close()


def test_what_running_installations_have_in_redis_is_read(hub: Hub, state: ProjectState) -> None:
    later = time.time() + 1000
    hub.redis.hset(f"{OURS}note", mapping={"missing": "1795187589.125 12 more labels", "trouble": "1.000 no disk"})
    hub.redis.zadd(f"{OURS}changed", {"a1": 100, "t2": 200})
    hub.redis.set(f"{OURS}seen", '{"tasks": 9, "annotations": 4, "skipped": 1, "scanned": 1000.5}')
    hub.redis.set(f"{OURS}policy", "20 60.0 3600.0 10")
    hub.redis.set(f"{OURS}begun", '{"trigger": "Start Training", "force": false}')
    hub.redis.set(f"{OURS}again", '{"trigger": "labelloop retrain", "force": true}')
    failures = {"count": 3, "since": "1000.5", "until": repr(later), "away": "the store", "settings": 0, "outage": 1}
    hub.redis.hset(f"{OURS}failures", mapping=failures)  # type: ignore[arg-type]
    hub.redis.set(f"{OURS}died", "signal SIGKILL in stage train")
    hub.redis.set(
        f"{OURS}progress",
        json.dumps(TOLD),
    )
    hub.redis.set(f"{OURS}lease", "a worker")
    hub.redis.set(f"{OURS}gone", "project 7 does not exist")
    hub.redis.set(f"{OURS}announced", "v3")
    hub.redis.hset(f"{OURS}served", "a fingerprint", "m2")
    hub.redis.hset("labelloop:values:localhost-8080:7", mapping={"extra_params": '{"threshold": 0.25}', "mine": "text"})

    assert state.notes() == {"missing": "12 more labels", "trouble": "no disk"}
    assert state.changes.pending() == Pending(2, first=100, last=200)
    assert state.seen() == Seen(9, 4, 1, 1000.5)
    assert state.policy() == RetrainPolicy(20, 60.0, 3600.0, min_labels=10)
    assert state.wish() == Wish("Start Training", False, "begun")
    assert state.wish(waits=True) == Wish("labelloop retrain", True, "again")
    wait = state.backoff.wait()
    assert wait is not None
    assert (wait.since, wait.until, wait.away, wait.settings) == (1000.5, later, "the store", False)
    assert state.backoff.met_outage()
    assert not state.backoff.met_outage(), "it is said once"
    assert state.progress().death() == "signal SIGKILL in stage train"
    assert state.progress().step() == STEP
    assert state.gone() == "project 7 does not exist"
    assert state.shared() == Shared('{"threshold": 0.25}', "v3", {"a fingerprint": "m2"})
    assert state.value("mine") == "text"


def test_what_is_written_is_what_other_releases_read(hub: Hub, state: ProjectState) -> None:
    state.changes.add(["a1"], 100)
    state.see(Seen(9, 4, 1, 1000.5))
    state.note_policy()
    state.want_again("labelloop retrain", force=True)
    state.progress().tell(STEP)
    state.progress().note_death("signal SIGKILL")
    state.announce("v3")
    state.serve("a fingerprint", "m2")
    state.share("{}")
    hub.state(ProjectKey(PROJECT.instance, 0)).set_value("mine", "of no project")

    def read(name: str) -> bytes | str | None:
        return hub.redis.get(OURS + name)

    assert hub.redis.zrange(f"{OURS}changed", 0, -1, withscores=True) == [(b"a1", 100.0)]
    assert read("seen") == b'{"tasks": 9, "annotations": 4, "skipped": 1, "scanned": 1000.5}'
    assert read("policy") == str(RetrainPolicy.of(hub.settings)).encode()
    assert json.loads(read("again") or "") == {"trigger": "labelloop retrain", "force": True}
    assert json.loads(read("progress") or "") == TOLD
    assert read("died") == b"signal SIGKILL in stage train"
    assert read("announced") == b"v3"
    assert hub.redis.hgetall(f"{OURS}served") == {b"a fingerprint": b"m2"}
    assert hub.redis.hgetall("labelloop:values:localhost-8080:7") == {b"extra_params": b"{}"}
    assert hub.redis.hgetall("labelloop:values:localhost-8080:") == {b"mine": b"of no project"}

    state.backoff.note("the store")
    failures = hub.redis.hgetall(f"{OURS}failures")
    assert set(failures) == {b"count", b"since", b"until", b"away", b"settings", b"outage"}
    assert failures[b"count"] == b"1"

    state.forget()
    assert sorted(hub.redis.keys("labelloop:*")) == [
        b"labelloop:values:localhost-8080:",
        b"labelloop:values:localhost-8080:7",
    ]


DECIDES: list[Callable[[ProjectState], object]] = [
    lambda state: state.note("missing", "x"),
    lambda state: state.notes(),
    lambda state: state.changes.add(["a1"], 1.0),
    lambda state: state.changes.pending(),
    lambda state: state.seen(),
    lambda state: state.wish(),
    lambda state: state.want_again("x"),
    lambda state: state.backoff.note(),
    lambda state: state.backoff.wait(),
    lambda state: state.is_held(),
    lambda state: state.set_value("mine", "text"),
    lambda state: state.forget(),
]
TELLS: list[Callable[[ProjectState], object]] = [
    lambda state: state.progress().tell(STEP),
    lambda state: state.progress().tell(None),
    lambda state: state.announce("v1"),
    lambda state: state.serve("a fingerprint", "m1"),
    lambda state: state.share("{}"),
]


def test_each_key_of_a_project_has_one_meaning_and_is_forgotten(hub: Hub, state: ProjectState) -> None:
    names = re.findall(r"^labelloop:<project>:(\w+) ", redis_client.__doc__ or "", re.MULTILINE)
    assert len(names) > 30
    assert len(set(names)) == len(names)
    for name in names:
        hub.redis.set(f"{OURS}{name}", "1")
    state.forget()
    kept = {as_text(key).removeprefix(OURS) for key in hub.redis.scan_iter(f"{OURS}*")}
    assert kept == {"lease", "gone", "adding"}


@pytest.mark.parametrize("decide", DECIDES)
def test_without_redis_what_decides_raises(gone: ProjectState, decide: Callable[[ProjectState], object]) -> None:
    with pytest.raises(QueueError, match="correct LABELLOOP_REDIS_URL"):
        decide(gone)


@pytest.mark.parametrize("tell", TELLS)
def test_without_redis_what_is_only_told_is_lost_and_said(
    gone: ProjectState, tell: Callable[[ProjectState], object], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tell(gone)
    assert "of project localhost-8080/7 is not noted: Redis cannot be reached" in caplog.text


def test_what_redis_py_and_rq_ask_for_themselves_is_left_to_them(hub: Hub) -> None:
    script = hub.redis.register_script("return 7")
    hub.redis.script_flush()
    assert script() == 7, "NoScriptError makes redis-py load it"

    with hub.redis.pipeline() as pipe:
        pipe.watch("watched")  # type: ignore[no-untyped-call]
        hub.redis.set("watched", "changed meanwhile")
        pipe.multi()
        pipe.set("other", "x")
        with pytest.raises(WatchError):
            pipe.execute()
