"""Changed labels in Redis."""

import pytest

from labelloop.loop.hub import Hub
from labelloop.loop.retrain_policy import Pending
from labelloop.types import ProjectKey

from .conftest import PROJECT


def test_a_label_that_changes_twice_is_one_changed_label(hub: Hub) -> None:
    hub.state(PROJECT).changes.add(["a1", "a2"], now=100)
    hub.state(PROJECT).changes.add(["a1"], now=150)

    assert hub.state(PROJECT).changes.pending() == Pending(2, first=100, last=150)


def test_nothing_changed_is_nothing_pending(hub: Hub) -> None:
    hub.state(PROJECT).changes.add([], now=100)

    assert hub.state(PROJECT).changes.pending() == Pending()


def test_what_changes_during_a_run_is_pending_after_it(hub: Hub) -> None:
    hub.state(PROJECT).changes.add(["a1", "a2"], now=100)
    hub.state(PROJECT).changes.add(["a2", "a3"], now=201)
    hub.state(PROJECT).changes.settle(until=200)

    assert hub.state(PROJECT).changes.pending() == Pending(2, first=201, last=201)


def test_a_scan_replaces_what_was_noted_before_it_and_nothing_after(hub: Hub) -> None:
    hub.state(PROJECT).changes.add(["a1", "a2"], now=100)
    hub.state(PROJECT).changes.add(["a3"], now=301)
    hub.state(PROJECT).changes.replace(["t9"], now=300)

    assert hub.state(PROJECT).changes.pending() == Pending(2, first=300, last=301)


def test_projects_do_not_meet(hub: Hub) -> None:
    hub.state(PROJECT).changes.add(["a1"], now=100)

    assert hub.state(ProjectKey("localhost-8080", 77)).changes.pending() == Pending()
    assert hub.state(ProjectKey("elsewhere", 7)).changes.pending() == Pending()


@pytest.mark.parametrize("members", [["a1"], ["a1"] * 5])
def test_a_repeated_webhook_changes_nothing(hub: Hub, members: list[str]) -> None:
    for member in members:
        hub.state(PROJECT).changes.add([member], now=100)

    assert hub.state(PROJECT).changes.pending().changed == 1


def replaced_and_settled(hub: Hub, count: int) -> None:
    hub.state(PROJECT).changes.add((f"a{number}" for number in range(count)), now=100)
    hub.state(PROJECT).changes.add(["a1"], now=400)
    assert hub.state(PROJECT).changes.pending() == Pending(count, first=100, last=400)

    hub.state(PROJECT).changes.replace((f"t{number}" for number in range(count)), now=300)
    assert hub.state(PROJECT).changes.pending() == Pending(count + 1, first=300, last=400)

    hub.state(PROJECT).changes.settle(until=300)
    assert hub.state(PROJECT).changes.pending() == Pending(1, first=400, last=400)


@pytest.mark.slow
def test_more_labels_change_than_one_command_of_redis_takes(hub: Hub) -> None:
    # With one more name a ZADD has more words than Redis 6.2 reads (1,048,576).
    replaced_and_settled(hub, 524_287 + 10_001)


def test_no_command_grows_with_the_labels_that_change(hub: Hub) -> None:
    hub.redis.config_resetstat()
    replaced_and_settled(hub, 35_000)
    calls = {name: stats["calls"] for name, stats in hub.redis.info("commandstats").items()}

    # Of 10,000 names each: four times added, one added again, four times replaced; removed in four, settled in five.
    assert calls["cmdstat_zadd"] == 9
    assert calls["cmdstat_eval"] == 9


def test_a_scan_keeps_the_moments_of_what_was_found_before(hub: Hub) -> None:
    names = [f"t{number}" for number in range(5_000)]
    hub.state(PROJECT).changes.replace(names[:4_000], now=100)
    hub.state(PROJECT).changes.replace(names[2_000:], now=200)

    assert hub.state(PROJECT).changes.pending() == Pending(3_000, first=100, last=200)
    hub.state(PROJECT).changes.settle(until=100)
    assert hub.state(PROJECT).changes.pending() == Pending(1_000, first=200, last=200)
