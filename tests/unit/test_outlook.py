"""What a project needs next, as the pure rules say it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.loop.backoff import Wait
from labelloop.loop.outlook import Situation, decide, duration
from labelloop.loop.retrain_policy import Pending, RetrainPolicy
from labelloop.loop.state import Wish
from labelloop.models.runs import RunRecord

RULE = RetrainPolicy(retrain_after=20, quiet=60, max_wait=3600, min_labels=40)
NOW = 10_000.0
TRAINED = RunRecord("k1", "a/7", "m", "s", 0, state="promoted", updated="1970-01-01T00:00:00+00:00")
QUIET = Situation(NOW, Pending(), champion="v1", last=TRAINED)


def changed(count: int, first: float, last: float) -> Situation:
    """Give a project with a champion whose labels changed so many seconds ago."""
    return replace(QUIET, pending=Pending(count, NOW - first, NOW - last))


def test_few_changed_labels_say_how_many_of_how_many_and_wait_for_the_longest_wait() -> None:
    found = decide(RULE, changed(12, first=600, last=12))

    assert (found.next, found.at, found.changed, found.needed) == ("run", NOW + 3000, 12, 20)
    assert (found.quiet, found.quiet_seconds, found.waited, found.max_wait_seconds) == (12, 60, 600, 3600)
    assert found.told(NOW) == (
        "a run in 50 min: 12 of 20 changed labels, quiet for 12 s of 60 s; the first one waits for 10 min, of 60 min"
    )
    assert not found.enough


def test_enough_changed_labels_wait_for_quiet_and_more_of_them_put_it_off() -> None:
    found = decide(RULE, changed(22, first=600, last=12))

    assert (found.next, found.at, found.later, found.trigger) == ("run", NOW + 48, True, "22 changed labels")
    assert found.told(NOW) == (
        "a run in 48 s, later if more labels change: 22 of 20 changed labels, quiet for 12 s of 60 s"
    )


def test_before_anything_is_trained_labels_for_a_first_version_are_counted() -> None:
    found = decide(RULE, replace(changed(12, 30, 30), champion=None, last=None))

    assert found.needed == 40
    assert "12 of 40 labels for a first version" in found.why


@pytest.mark.parametrize(
    ("stands", "what", "why"),
    [
        (replace(QUIET, held=True), "running", "a run is in progress"),
        (replace(QUIET, learns=False), "nothing", "its endpoint has a model of its own: nothing is trained"),
        (replace(QUIET, wish=Wish("Start Training", False)), "run", "Start Training"),
        (replace(QUIET, wait=Wait(NOW - 5, NOW + 5, "the store")), "look", "the store is away"),
        (replace(QUIET, last=replace(TRAINED, state="running", trigger="labels")), "run", "labels"),
        (replace(QUIET, behind="v2"), "deploy", "v2 is to be announced"),
        (replace(QUIET, behind="v2", looked_at=NOW + 9), "deploy", "v2 is on its way to its endpoint"),
        (replace(QUIET, improved="head improved"), "run", "head improved"),
        (replace(QUIET, improved="head improved", lacking="3 more labels"), "nothing", "nothing has changed"),
        (QUIET, "nothing", "nothing has changed"),
    ],
)
def test_what_is_next_and_why(stands: Situation, what: str, why: str) -> None:
    found = decide(RULE, stands)

    assert (found.next, found.why) == (what, why)


def test_a_failed_run_is_tried_again_when_the_policy_says() -> None:
    failed = replace(TRAINED, state="failed", attempts=1, updated="1970-01-01T02:46:40+00:00")

    assert decide(replace(RULE, retry_seconds=90), replace(QUIET, last=failed)).at == NOW + 90
    assert decide(replace(RULE, run_attempts=1), replace(QUIET, last=failed)).next == "nothing"


@pytest.mark.parametrize(("seconds", "told"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2.0 h")])
def test_durations_are_written_for_people(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@given(st.integers(0, 100), st.floats(0, 9000), st.floats(0, 9000), st.booleans())
def test_the_moment_is_the_policys_and_its_words_name_the_same_numbers(
    count: int, one: float, other: float, lacking: bool
) -> None:
    last, first = sorted((one, other))
    stands = replace(changed(count, first, last), lacking="a label" if lacking else "")
    found = decide(RULE, stands)

    assert found.at == RULE.due(stands.pending, lacking=lacking)
    assert (found.next == "run") == bool(count)
    assert not count or f"{count} of 20" in found.told(NOW)
