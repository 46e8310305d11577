"""When a project is due."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.loop.retrain_policy import Imported, Pending, RetrainPolicy
from labelloop.settings import Settings

RULE = RetrainPolicy(retrain_after=20, quiet=30, max_wait=3600)


def test_nothing_changed_is_never_due() -> None:
    assert RULE.due(Pending()) is None


def test_enough_changes_are_due_after_a_quiet_time() -> None:
    assert RULE.due(Pending(20, first=100, last=200)) == 230


def test_few_changes_wait_for_the_maximum() -> None:
    assert RULE.due(Pending(1, first=100, last=200)) == 3700


def test_changes_that_never_pause_are_due_at_the_maximum() -> None:
    assert RULE.due(Pending(500, first=100, last=3695)) == 3700


def test_the_rule_comes_from_the_settings() -> None:
    settings = Settings(retrain_after=7, quiet_seconds=1.5, max_wait_seconds=60)

    assert RetrainPolicy.of(settings) == RetrainPolicy(7, 1.5, 60, min_labels=40, challenger_after=7)


def test_heads_have_defaults_of_their_own_and_what_a_user_sets_for_all_holds_for_them() -> None:
    def of(**given: str) -> tuple[int, float, int]:
        settings = Settings.from_environment({f"LABELLOOP_{name.upper()}": value for name, value in given.items()})
        rule = RetrainPolicy.of(settings, quick=True)
        return rule.retrain_after, rule.quiet, rule.challenger_after

    assert of() == (10, 1, 20)
    assert of(retrain_after="50", quiet_seconds="5") == (50, 5, 50)
    assert of(retrain_after="20", quiet_seconds="30") == (20, 30, 20), "a default that somebody set"
    assert of(retrain_after="50", head_retrain_after="10") == (10, 1, 50)
    slow = RetrainPolicy.of(Settings())
    assert (slow.retrain_after, slow.quiet) == (20, 30)


@pytest.mark.parametrize(("took", "until"), [(0.0, 0), (0.9, 0), (2.0, 1018), (60.0, 1540)])
def test_imports_take_a_tenth_of_the_time_at_most(took: float, until: float) -> None:
    hold = RULE.held((), None, 1010, Imported(1000, took))
    assert (hold.until if hold else 0) == until
    assert RULE.held((), None, 1600, Imported(1000, took)) is None
    assert RULE.held((), None, 900, Imported(1000, took)) is None, "the clock was set back"
    if hold:
        assert str(hold).startswith("predictions were imported 10 s ago")


def test_a_project_lacking_labels_is_looked_at_after_any_change() -> None:
    rule = RetrainPolicy.of(Settings(retrain_after=20, quiet_seconds=30))

    assert rule.due(Pending(1, first=100, last=100), lacking=True) == 130


def test_a_policy_is_read_back_as_it_was_noted() -> None:
    rule = RetrainPolicy(7, 1.5, 60, min_labels=40)

    assert RetrainPolicy.parse(str(rule)) == rule
    bounded = RetrainPolicy(7, 1.5, 60, 40, 2, 9.5, cool_down=600, runs_a_day=4, training_seconds_a_day=7200)
    assert RetrainPolicy.parse(str(bounded)) == bounded
    assert str(bounded).split()[:4] == ["7", "1.5", "60", "40"], "as earlier releases read it"
    assert RetrainPolicy.parse("7 1.5 60 40") == rule, "as earlier releases wrote it"
    assert RetrainPolicy.parse("7 1.5 60 40 of_a_later_release=x run_attempts=2") == RetrainPolicy(7, 1.5, 60, 40, 2)
    assert RetrainPolicy.parse("") is None
    assert RetrainPolicy.parse("some words of another version") is None


moments = st.floats(0, 1e9)


@given(st.integers(1, 10_000), moments, moments)
def test_a_run_is_due_neither_before_the_last_change_nor_after_the_maximum(
    changed: int, one: float, other: float
) -> None:
    first, last = sorted((one, other))
    due = RULE.due(Pending(changed, first, last))

    assert due is not None
    assert due <= first + RULE.max_wait
    assert due >= min(last, first + RULE.max_wait)
