"""What a project needs next, as the pure rules say it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.loop.backoff import Wait
from labelloop.loop.outlook import Situation, decide
from labelloop.loop.retrain_policy import Pending, Ran, RetrainPolicy, duration
from labelloop.loop.state import Wish
from labelloop.models.pauses import Pause
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


def test_where_labels_were_missing_a_look_is_promised_and_no_run() -> None:
    found = decide(RULE, replace(changed(1, 12, 12), champion=None, last=None, lacking="37 more labels"))

    assert found.told(NOW) == (
        "a look whether labels are enough for a run in 48 s, later if more labels change: "
        "1 changed label, quiet for 12 s of 60 s"
    )


@pytest.mark.parametrize(
    ("stands", "what", "why"),
    [
        (replace(QUIET, held=True), "running", "a run is in progress"),
        (replace(QUIET, held=True, doing="train"), "running", "a run is in progress"),
        (replace(QUIET, held=True, doing="prune"), "running", "old versions are being pruned"),
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


PAUSE = Pause("anna", "the GPU is on loan", "1970-01-01T02:00:00.000000+00:00")


@pytest.mark.parametrize(
    ("stands", "what"),
    [
        (changed(22, 600, 100), "paused"),
        (QUIET, "paused"),
        (replace(QUIET, wish=Wish("Start Training", False)), "paused"),
        (replace(QUIET, improved="head improved"), "paused"),
        (replace(QUIET, last=replace(TRAINED, state="failed", attempts=1)), "paused"),
        (replace(QUIET, last=replace(TRAINED, state="running")), "run"),
        (replace(QUIET, held=True), "running"),
        (replace(changed(22, 600, 100), behind="v2", deploy_failed=True), "deploy"),
    ],
)
def test_a_paused_project_begins_nothing_and_finishes_what_was_begun(stands: Situation, what: str) -> None:
    found = decide(RULE, replace(stands, pause=PAUSE))

    assert found.next == what
    waits = "; 22 of 20 changed labels" if stands.pending.changed else ""
    told = f"paused by anna since 1970-01-01 02:00:00 UTC: the GPU is on loan{waits}"
    assert what != "paused" or (found.at, found.told(NOW)) == (None, told)
    assert found.changed == stands.pending.changed


@pytest.mark.parametrize("stands", [changed(22, 600, 100), replace(QUIET, improved="head improved")])
def test_a_cool_down_puts_off_what_begins_by_itself(stands: Situation) -> None:
    ended = replace(stands, last=replace(TRAINED, updated="1970-01-01T02:46:00+00:00"))
    found = decide(replace(RULE, cool_down=600), ended)

    assert (found.next, found.at) == ("run", 9960 + 600)
    assert found.told(NOW).startswith("a run in 9 min: ")
    assert found.told(NOW).endswith("; the last run was 40 s ago, of a cool-down of 10 min")
    assert decide(replace(RULE, cool_down=600), replace(ended, wish=Wish("a person", False))).at == NOW


def test_a_spent_budget_puts_a_run_off_until_one_is_a_day_old() -> None:
    ran = (Ran(NOW - 90_000, 999), Ran(NOW - 80_000, 100), Ran(NOW - 50_000, 200), Ran(NOW - 10, 300))
    due = replace(changed(22, 600, 100), ran=ran)

    found = decide(replace(RULE, runs_a_day=2), due)
    assert (found.at, found.hold and found.hold.what) == (NOW - 50_000 + 86_400, "runs")
    assert "3 of 2 runs were begun in the last 24 hours" in found.told(NOW)
    assert decide(replace(RULE, runs_a_day=4), due).hold is None
    found = decide(replace(RULE, training_seconds_a_day=550), due)
    assert (found.at, found.hold and found.hold.used) == (NOW - 80_000 + 86_400, 600)
    assert decide(replace(RULE, training_seconds_a_day=601), due).hold is None


@given(
    st.lists(st.tuples(st.floats(0, 100_000), st.floats(0, 5000)), max_size=8),
    st.integers(0, 4),
    st.floats(0, 9000),
)
def test_when_the_budget_says_a_run_may_begin_it_may(ran: list[tuple[float, float]], runs: int, seconds: float) -> None:
    rule = replace(RULE, runs_a_day=runs, training_seconds_a_day=seconds)
    history = [Ran(NOW + 100_000 - ago, spent) for ago, spent in ran]
    hold = rule.held(history, None, NOW + 100_000)

    assert hold is None or hold.until > NOW + 100_000
    assert hold is None or rule.held(history, None, hold.until) is None
    assert hold is None or rule.held(history, None, hold.until - 1) is not None


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
    assert not count or (f"{count} changed label" if lacking else f"{count} of 20") in found.told(NOW)
