"""Changed labels in Redis."""

import pytest

from labelloop.loop import changes
from labelloop.loop.hub import Hub
from labelloop.loop.policy import Pending
from labelloop.types import ProjectKey

from .conftest import PROJECT


def test_a_label_that_changes_twice_is_one_changed_label(hub: Hub) -> None:
    changes.add(hub, PROJECT, ["a1", "a2"], now=100)
    changes.add(hub, PROJECT, ["a1"], now=150)

    assert changes.pending(hub, PROJECT) == Pending(2, first=100, last=150)


def test_nothing_changed_is_nothing_pending(hub: Hub) -> None:
    changes.add(hub, PROJECT, [], now=100)

    assert changes.pending(hub, PROJECT) == Pending()


def test_what_changes_during_a_run_is_pending_after_it(hub: Hub) -> None:
    changes.add(hub, PROJECT, ["a1", "a2"], now=100)
    changes.add(hub, PROJECT, ["a2", "a3"], now=201)
    changes.settle(hub, PROJECT, until=200)

    assert changes.pending(hub, PROJECT) == Pending(2, first=201, last=201)


def test_a_scan_replaces_what_was_noted_before_it_and_nothing_after(hub: Hub) -> None:
    changes.add(hub, PROJECT, ["a1", "a2"], now=100)
    changes.add(hub, PROJECT, ["a3"], now=301)
    changes.replace(hub, PROJECT, ["t9"], now=300)

    assert changes.pending(hub, PROJECT) == Pending(2, first=300, last=301)


def test_projects_do_not_meet(hub: Hub) -> None:
    changes.add(hub, PROJECT, ["a1"], now=100)

    assert changes.pending(hub, ProjectKey("localhost-8080", 77)) == Pending()
    assert changes.pending(hub, ProjectKey("elsewhere", 7)) == Pending()


@pytest.mark.parametrize("members", [["a1"], ["a1"] * 5])
def test_a_repeated_webhook_changes_nothing(hub: Hub, members: list[str]) -> None:
    for member in members:
        changes.add(hub, PROJECT, [member], now=100)

    assert changes.pending(hub, PROJECT).changed == 1
