"""What another policy would have done with a project's history."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.data.site import TaskMoments
from labelloop.loop import replay
from labelloop.loop.replay import Began, Changed, Happened, Replay, changes_of, seconds_of
from labelloop.loop.retrain_policy import RetrainPolicy
from labelloop.models.runs import RunRecord

RULE = RetrainPolicy(retrain_after=3, quiet=60, max_wait=3600, min_labels=3)
NEVER = 1e9


def labeled(*moments: float) -> list[Changed]:
    """Label a new task at each of these moments."""
    return [Changed(moment) for moment in moments]


def begun(rule: RetrainPolicy, changes: list[Changed], run_seconds: float = 10.0) -> list[Began]:
    return [one for one in Replay(rule, run_seconds).runs(changes, (), NEVER) if isinstance(one, Began)]


def test_changes_of_all_tasks_come_in_order_and_know_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_AT_ONCE", 2)
    tasks = [TaskMoments(1, (100.0, 500.0, 300.0, 300.0)), TaskMoments(2, (200.0,)), TaskMoments(3, (50.0, 400.0))]

    never = -math.inf
    assert list(changes_of(tasks)) == [
        (50.0, never),
        (100.0, never),
        (200.0, never),
        (300.0, 100.0),
        (400.0, 50.0),
        (500.0, 300.0),
    ]


def test_enough_labels_and_quiet_make_a_run_and_a_few_wait_the_longest() -> None:
    found = begun(RULE, labeled(1000, 1010, 1020, 5000))

    assert [(one.at, one.changed, one.labeled, one.waited) for one in found] == [(1080, 3, 3, 80), (8600, 1, 4, 3600)]
    assert found[0].why == "3 of 3 labels for a first version, quiet for 60 s of 60 s"
    assert found[1].why.startswith("1 of 3 changed labels, quiet for 60 min of 60 s")


def test_a_task_that_changes_twice_is_one_changed_label_until_a_run_has_read_it() -> None:
    changes = [*labeled(1000, 1010, 1020), Changed(5000, 1000), Changed(5001, 5000), Changed(5002, 1010)]

    assert [(one.at, one.changed) for one in begun(RULE, changes)] == [(1080, 3), (8600, 2)]


def test_labels_that_come_during_a_run_are_for_the_next_one_which_begins_when_it_is_over() -> None:
    found = begun(RULE, labeled(1000, 1010, 1020, 1100, 1110, 1120), run_seconds=500)

    assert [(one.at, one.changed) for one in found] == [(1080, 3), (1580, 3)]


def test_too_few_labels_for_a_first_version_make_no_run_until_there_are_enough() -> None:
    found = begun(replace(RULE, min_labels=5), labeled(1000, 1010, 1020, 2000, 3000))

    # As in the loop: what was too few is looked at again after each label.
    assert [(one.at, one.labeled) for one in found] == [(3060, 5)]


def test_a_cool_down_and_a_budget_put_runs_off() -> None:
    changes = labeled(1000, 1010, 1020, 2000, 2010, 2020)

    assert [one.at for one in begun(RULE, changes)] == [1080, 2080]
    assert [one.at for one in begun(replace(RULE, cool_down=5000), changes)] == [1080, 1090 + 5000]
    assert [one.at for one in begun(replace(RULE, runs_a_day=1), changes)] == [1080, 1080 + 86_400]
    assert [one.at for one in begun(replace(RULE, training_seconds_a_day=10), changes)] == [1080, 1080 + 86_400]


def test_what_really_happened_stands_beside_it() -> None:
    real = RunRecord(
        "k", "a/7", "m", "s", 0, "labels", state="promoted", version="v1", seconds={"train": 30.0, "fetch": 4}
    )
    records = [replace(real, created="1970-01-01T00:16:55+00:00"), replace(real, state="running")]
    found = list(Replay(RULE, 10).runs(labeled(1000, 1010, 1020), records, NEVER))

    assert found[0] == Happened(1015, 2, "k", "promoted", "v1", "labels")
    assert [type(one) for one in found] == [Happened, Began]
    assert seconds_of(records, 60) == (34, 0)
    assert seconds_of(records[1:], 60) == (60, 0)


@given(
    st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 12)), max_size=60),
    st.integers(1, 6),
    st.integers(0, 600),
    st.integers(0, 4000),
    st.integers(0, 3),
)
def test_every_change_is_in_one_run_and_no_rule_is_broken(
    labels: list[tuple[int, int]], after: int, quiet: int, cool_down: int, runs: int
) -> None:
    rule = RetrainPolicy(after, quiet, 3600, cool_down=cool_down, runs_a_day=runs)
    tasks = {task: TaskMoments(task, tuple(float(at) for at, one in labels if one == task)) for _, task in labels}
    found = begun(rule, list(changes_of(tasks.values())), run_seconds=50)

    assert bool(found) == bool(labels)
    for before, following in pairwise(found):
        assert following.at >= before.at + 50 + cool_down
    for at, one in enumerate(found):
        read = found[at - 1].at if at else -math.inf
        assert one.changed == sum(any(read < moment <= one.at for moment in task.moments) for task in tasks.values())
        assert not runs or sum(one.at - 86_400 < other.at <= one.at for other in found) <= runs
        assert cool_down or runs or one.waited <= 3600 + 50
