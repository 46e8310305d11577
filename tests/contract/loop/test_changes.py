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


def noted(hub: Hub) -> dict[str, float]:
    return dict(hub.state(PROJECT).changes.noted(1_000))


def test_what_was_noted_of_annotations_is_of_their_task_once_that_is_compared(hub: Hub) -> None:
    changes = hub.state(PROJECT).changes
    changes.add(["a1", "a2", "t8", "t9"], now=100)
    changes.add(["a2", "a4"], now=200)
    changes.add(["a3"], now=301)
    # Of task 7 two labels were noted, one of them again after the look began; 8 is as it was, 9 stays changed.
    changes.compare(
        [(7, True, (1, 2, 3)), (8, False, (5,)), (9, True, ()), (10, True, (6,)), (11, False, (4,))], 300, 0
    )

    assert noted(hub) == {"t7": 200, "t9": 100, "t10": 300, "a3": 301}
    changes.drop(301)
    assert noted(hub) == {"t7": 200, "t9": 100, "t10": 300}


def test_what_changed_since_a_manifest_is_never_older_than_that(hub: Hub) -> None:
    changes = hub.state(PROJECT).changes
    changes.add(["t1", "a2", "a3"], now=100)
    changes.add(["a3"], now=160)
    # The run that read its labels from 150 on has yet to settle what it found.
    changes.compare([(1, True, ()), (2, True, (2,)), (3, True, (3,))], 200, 150)
    changes.settle(150)

    assert noted(hub) == {"t1": 200, "t2": 200, "t3": 160}


def test_what_comes_after_a_look_began_is_not_touched_by_it(hub: Hub) -> None:
    changes = hub.state(PROJECT).changes
    changes.add(["t1", "a2"], now=100)
    changes.compare([(1, False, ()), (2, False, (2,))], 99, 0)
    changes.drop(99, lambda _: False)

    assert noted(hub) == {"t1": 100, "a2": 100}


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

    hub.state(PROJECT).changes.compare(((number, True, ()) for number in range(count)), 300, 0)
    hub.state(PROJECT).changes.drop(300)
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

    # 10,000 words each, three of a task: compared in eleven, dropped in four, settled in five.
    assert calls["cmdstat_eval"] == 20


def test_a_scan_keeps_the_moments_of_what_was_found_before(hub: Hub) -> None:
    changes = hub.state(PROJECT).changes
    changes.compare(((number, True, ()) for number in range(4_000)), 100, 0)
    changes.compare(((number, True, ()) for number in range(2_000, 5_000)), 200, 0)
    changes.drop(200, lambda name: int(name[1:]) >= 2_000)

    assert hub.state(PROJECT).changes.pending() == Pending(3_000, first=100, last=200)
    hub.state(PROJECT).changes.settle(until=100)
    assert hub.state(PROJECT).changes.pending() == Pending(1_000, first=200, last=200)
