"""When a challenger begins: pure rules over what is known of a project."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from labelloop.loop.backoff import Wait
from labelloop.loop.challenger_outlook import decide_challenger
from labelloop.loop.outlook import Situation
from labelloop.loop.retrain_policy import Pending, Ran, RetrainPolicy
from labelloop.models.pauses import Pause
from labelloop.models.runs import RunRecord

NOW = 1_800_000_000.0
RULE = RetrainPolicy(retrain_after=10, quiet=1, max_wait=3600, challenger_after=20)


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat(timespec="microseconds")


def head(labels: int, **more: object) -> RunRecord:
    """A run that left the finetune to a challenger."""
    record = RunRecord(
        f"h{labels}", "p", f"m{labels}", "s", 0, trigger="12 changed labels", state="promoted", updated=moment(-10),
        created=moment(-20), metrics={"labels": labels, "challengers": {"finetune": ""}},
    )  # fmt: skip
    return replace(record, **more)  # type: ignore[arg-type]


def challenger(labels: int, **more: object) -> RunRecord:
    record = RunRecord(
        f"c{labels}", "p", f"m{labels}", "s", 0, state="rejected", stage="done", created=moment(-900),
        updated=moment(-600), metrics={"labels": labels}, challenger=True,
    )  # fmt: skip
    return replace(record, **more)  # type: ignore[arg-type]


def stands(last: RunRecord | None, before: RunRecord | None = None, **more: object) -> Situation:
    found = Situation(NOW, Pending(), last=last, champion="v1", left=("finetune",), challenger=before)
    return replace(found, **more)  # type: ignore[arg-type]


def begins(found: Situation, rule: RetrainPolicy = RULE) -> bool:
    decided = decide_challenger(rule, found)
    return decided is not None and decided.is_now(NOW)


def test_where_runs_leave_nothing_there_is_none() -> None:
    assert decide_challenger(RULE, stands(head(100), left=())) is None


def test_the_first_one_begins_as_soon_as_it_can_win() -> None:
    assert begins(stands(head(100)))
    few = head(100, metrics={"labels": 100, "challengers": {"finetune": "with 9 validation pictures it cannot win"}})
    found = decide_challenger(RULE, stands(few))
    assert found is not None
    assert (found.next, found.why) == ("nothing", "with 9 validation pictures it cannot win")
    assert "finetune in the background: with 9 validation" in found.told(NOW)


@pytest.mark.parametrize(
    ("then", "now", "needed"), [(50, 69, 20), (50, 70, 20), (1000, 1199, 200), (1000, 1200, 200), (1000, 900, 200)]
)
def test_the_next_one_takes_a_fifth_of_new_labels_and_as_many_as_a_run(then: int, now: int, needed: int) -> None:
    found = decide_challenger(RULE, stands(head(now), challenger(then)))
    assert found is not None
    assert (found.needed, found.is_now(NOW)) == (needed, now - then >= needed)
    assert found.why == f"{max(0, now - then)} of {needed} new labels"


def test_one_that_failed_for_good_is_followed_sooner() -> None:
    failed = challenger(1000, state="failed", final=True)
    assert begins(stands(head(1020), failed))
    assert not begins(stands(head(1019), failed))


def test_what_a_person_asks_for_is_followed_by_one() -> None:
    before = challenger(100)
    assert begins(stands(head(101, trigger="Start Training"), before))
    assert not begins(stands(head(100, trigger="Start Training"), before)), "of these labels there was one"
    assert begins(stands(head(100, trigger="labelloop retrain", forced=True), before))
    after = challenger(100, forced=True, created=moment(-5))
    assert not begins(stands(head(100, trigger="labelloop retrain", forced=True), after))


def test_an_upgrade_trains_nothing_by_itself() -> None:
    both = head(500, metrics={"labels": 500}, methods={"head": 2, "finetune": 2, "gate": 2})
    assert not begins(stands(both))


def test_a_better_recipe_calls_for_one() -> None:
    assert begins(stands(head(100), challenger(100), challenger_improved="finetune improved"))


@pytest.mark.parametrize(
    "more",
    [
        {"pause": Pause("me", "why", moment(0))},
        {"wait": Wait(NOW, NOW + 60, "")},
        {"challenging": True},
        {"last": None},
        {"last": head(100, state="running")},
        {"last": head(100, state="failed")},
        {"lacking": "labels"},
    ],
    ids=["paused", "waits", "at work", "first", "running", "failed", "lacking"],
)
def test_what_keeps_it_back(more: dict[str, object]) -> None:
    assert not begins(replace(stands(head(100)), **more))  # type: ignore[arg-type]


def test_one_that_was_cut_off_goes_on_at_once_even_while_the_project_is_paused() -> None:
    cut = challenger(100, state="running", attempts=1, interruptions=1)
    assert begins(stands(head(100), cut))
    assert begins(stands(head(100), cut, pause=Pause("me", "why", moment(0))))
    often = replace(cut, interruptions=3, updated=moment(-1))
    found = decide_challenger(RULE, stands(head(100), often))
    assert found is not None
    assert found.at == NOW - 1 + 2 * RULE.retry_seconds


def test_one_that_was_cut_off_after_its_verdict_is_wound_up() -> None:
    assert begins(stands(head(100), challenger(100, stage="promote"), pause=Pause("me", "why", moment(0))))
    assert not begins(stands(head(100), challenger(100)))


def test_a_failed_one_is_tried_again_later_and_not_while_paused() -> None:
    failed = challenger(100, state="failed", failures=1, updated=moment(-10))
    found = decide_challenger(RULE, stands(head(100), failed))
    assert found is not None
    assert (found.next, found.at) == ("begin", NOW - 10 + RULE.retry_seconds)
    assert begins(stands(head(100), replace(failed, updated=moment(-70))))
    paused = decide_challenger(RULE, stands(head(100), failed, pause=Pause("me", "why", moment(0))))
    assert paused is not None
    assert paused.next == "paused"


def test_the_budget_holds_it_and_the_cool_down_does_not() -> None:
    spent = (Ran(NOW - 3600, 7200.0),)
    found = decide_challenger(replace(RULE, training_seconds_a_day=7200), stands(head(100), ran=spent))
    assert found is not None
    assert not found.is_now(NOW)
    assert found.at == NOW - 3600 + 24 * 3600
    assert "were trained in the last 24 hours" in found.why
    assert begins(stands(head(100)), replace(RULE, cool_down=3600))
