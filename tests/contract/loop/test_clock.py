"""A clock that is set back: nothing waits for moments that come a second time."""

import time

import pytest

from labelloop.loop.clock import note_time
from labelloop.loop.hub import Hub
from labelloop.loop.lease import LEASE_SECONDS
from labelloop.loop.queue import SHORT, enqueue_sweep, queue
from labelloop.loop.redis_client import SWEEP, key_of
from labelloop.loop.state import Seen

from .conftest import PROJECT


def kept(hub: Hub) -> None:
    """Keep what a worker had kept an hour from now; Redis, whose clock was set back too, keeps it so much longer."""
    state = hub.state(PROJECT)
    hub.redis.set(SWEEP, "1", px=3_654_000)
    for lease in ("lease", "challenger-lease"):
        hub.redis.set(key_of(PROJECT, lease), "of a worker that was killed", px=3_615_000)
    hub.redis.set(key_of(PROJECT, "prelabel"), "1", ex=3_900)
    state.changes.add(["a1"], time.time() + 3600)
    state.see(Seen(5, 5, 0, time.time() + 3600))
    state.note("unpredicted", "tasks may be without a prediction")
    state.want_again("Start Training", force=True)


def test_a_clock_that_was_set_back_keeps_nobody_waiting(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    note_time(hub.redis, time.time() + 3600)
    kept(hub)

    note_time(hub.redis, time.time())

    assert "the clock was set back by 3600 s" in caplog.text
    enqueue_sweep(hub.redis, 60.0)
    assert queue(hub.redis, SHORT).count == 1
    state = hub.state(PROJECT)
    for lease in ("lease", "challenger-lease"):
        assert 0 < hub.redis.pttl(key_of(PROJECT, lease)) <= LEASE_SECONDS * 1000, "its holder may be alive"
    assert not hub.redis.exists(key_of(PROJECT, "prelabel"))
    assert state.changes.pending().changed == 0, "the next sweep finds it"
    assert state.seen() == Seen()
    # What nobody would find again stays.
    wish = state.wish()
    assert wish is not None
    assert wish.force
    assert "unpredicted" in state.notes()


@pytest.mark.parametrize("seconds", [-30.0, 0.0, 3600.0])
def test_a_clock_that_goes_on_or_differs_a_little_changes_nothing(hub: Hub, seconds: float) -> None:
    note_time(hub.redis, time.time() - seconds)
    kept(hub)
    before = hub.redis.dbsize()

    note_time(hub.redis, time.time())

    assert hub.redis.dbsize() == before
    assert hub.state(PROJECT).seen().tasks == 5
