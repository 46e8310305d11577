"""The worker: its timer."""

import threading

import pytest

from labelloop.loop import keys
from labelloop.loop.queue import SHORT, queue
from labelloop.loop.worker import keep_sweeping
from support.waiting import wait_until

from .conftest import MakeHub


def test_the_sweeps_timer_survives_what_nobody_foresaw(make_hub: MakeHub, caplog: pytest.LogCaptureFixture) -> None:
    hub, stop = make_hub(sweep_seconds=0.05), threading.Event()
    hub.redis.set(keys.SWEEP_JOB, b"\xff no text")
    timer = threading.Thread(target=keep_sweeping, args=(hub, stop))
    timer.start()
    try:
        wait_until(lambda: caplog.text.count("no sweep this time") > 1, "the failure is logged, more than once")
        assert "UnicodeDecodeError" in caplog.text
        hub.redis.delete(keys.SWEEP_JOB)
        wait_until(lambda: queue(hub, SHORT).count == 1, "a sweep is asked for")
    finally:
        stop.set()
        timer.join(10)
    assert not timer.is_alive()
