"""One worker per project, however it ends."""

import itertools

import pytest

from labelloop.errors import LeaseLost, QueueError
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.process import open_hub
from labelloop.loop.redis_client import key_of
from labelloop.settings import Settings
from labelloop.types import ProjectKey
from support.waiting import wait_until

from .conftest import PROJECT


def test_a_second_worker_is_refused_until_the_first_is_done(hub: Hub) -> None:
    with Lease(hub, PROJECT):
        assert hub.state(PROJECT).is_held()
        with pytest.raises(LeaseLost, match="localhost-8080/7 is held by another worker"), Lease(hub, PROJECT):
            pass
        with Lease(hub, ProjectKey("localhost-8080", 8)):
            pass
    assert not hub.state(PROJECT).is_held()
    with Lease(hub, PROJECT):
        pass


def test_the_lease_renews_itself(hub: Hub) -> None:
    left: list[int] = []

    def renewed(times: int) -> bool:
        left.append(hub.redis.pttl(key_of(PROJECT, "lease")))
        return sum(later > earlier for earlier, later in itertools.pairwise(left)) >= times

    with Lease(hub, PROJECT, seconds=0.9) as lease:
        # Every third of its time: after four it would have run out.
        wait_until(lambda: renewed(4), "it is renewed again and again")
        assert hub.state(PROJECT).is_held()
        lease.check()


def test_a_lease_taken_by_another_is_noticed_and_left_alone(hub: Hub) -> None:
    with Lease(hub, PROJECT, seconds=0.15) as lease:
        hub.redis.set(key_of(PROJECT, "lease"), "someone else")
        wait_until(lambda: is_lost(lease), "it is noticed")
    assert hub.redis.get(key_of(PROJECT, "lease")) == b"someone else"


def test_a_wiped_redis_gives_the_lease_back_to_its_holder(hub: Hub) -> None:
    with Lease(hub, PROJECT, seconds=0.15) as lease:
        hub.redis.flushall()
        wait_until(hub.state(PROJECT).is_held, "it is held again")
        lease.check()


def test_a_lease_left_behind_runs_out(hub: Hub) -> None:
    hub.redis.set(key_of(PROJECT, "lease"), "killed worker", px=100)
    wait_until(lambda: not hub.state(PROJECT).is_held(), "it runs out")
    with Lease(hub, PROJECT):
        pass


def test_without_redis_there_is_no_lease_but_a_remedy() -> None:
    gone = open_hub(Settings(redis_url="redis://127.0.0.1:1/0"))
    with pytest.raises(QueueError, match="Start it, or correct LABELLOOP_REDIS_URL"), Lease(gone, PROJECT):
        pass


def is_lost(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return True
    return False
