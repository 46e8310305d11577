"""The gate: who may replace whom, and what the verdict says."""

import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.run.gate import judge, judge_first
from labelloop.run.verdict import GateRule, Predictions, Verdict, force
from support.examples import examples

AB = ("a", "b")
RULE = GateRule(resamples=400)

Scores = npt.NDArray[np.float64]
Shown = npt.NDArray[np.bool_]


def shown(targets: list[int], classes: int = 2) -> Shown:
    return np.eye(classes, dtype=bool)[targets]


def scores(targets: list[int], classes: int = 2, confidence: float = 0.9) -> Scores:
    """Give ``confidence`` to each target; -1 is a failed prediction."""
    rest = (1 - confidence) / (classes - 1)
    rows = np.where(shown(targets, classes), confidence, rest)
    rows[np.array(targets) < 0] = np.nan
    return rows


def meet(truth: list[int], champion: list[int], challenger: list[int], rule: GateRule = RULE) -> Verdict:
    return judge(
        shown(truth), Predictions("v7", scores(champion)), Predictions("v8", scores(challenger)), AB, "single", rule
    )


def contest(items: int, lost: int, gained: int, conceded: float = 0.0, both_wrong: int = 0) -> Verdict:
    """Let the challenger lose some items and gain others; the rest both have right. One class has all items."""
    champion = [1] * gained + [0] * (items - gained - both_wrong) + [1] * both_wrong
    challenger = [0] * gained + [1] * lost + [0] * (items - gained - lost - both_wrong) + [1] * both_wrong
    old, new = (Predictions(name, scores(one)) for name, one in (("v7", champion), ("v8", challenger)))
    return judge(shown([0] * items), old, new, AB, "single", RULE, conceded=conceded)


def test_the_sentence_tells_the_numbers() -> None:
    truth = [0] * 25 + [1] * 25
    champion = [0] * 21 + [1] * 4 + [1] * 22 + [0] * 3
    challenger = [0] * 22 + [1] * 3 + [1] * 23 + [0] * 2

    verdict = meet(truth, champion, challenger)

    assert verdict.passed
    assert verdict.sentence == (
        "v8 replaces v7: 45 of 50 test items right (0.900) against 43 (0.860) of v7; difference +0.040, "
        "95 % interval [-0.034, +0.135]; no class falls by more than 0.1; calibration error 0.000 against 0.040"
    )
    assert verdict.numbers["challenger"] == 0.9
    assert verdict.numbers["classes"]["class a"]["difference"]["value"] == pytest.approx(0.04)
    assert json.loads(json.dumps(verdict.numbers)) == verdict.numbers


@pytest.mark.parametrize(
    ("items", "lost", "gained", "passes"),
    [
        (1, 0, 0, True),
        (16, 1, 0, True),  # one item is no evidence
        (16, 2, 0, False),
        (22, 3, 1, True),  # two net of four that differ: as likely as not chance
        (22, 4, 1, False),
        (27, 0, 1, True),
        (30, 6, 0, False),  # 20 points
        (30, 12, 6, False),
        (300, 15, 0, False),  # 5 points
        (300, 40, 25, False),
        (300, 9, 3, True),  # 2 points
        (300, 6, 0, False),  # 2 points, and proven
        (2000, 60, 30, False),  # 1.5 points, and proven
    ],
)
def test_what_a_challenger_may_lose(items: int, lost: int, gained: int, passes: bool) -> None:
    verdict = contest(items, lost, gained)

    assert verdict.passed is passes
    assert verdict.numbers["lost"] == lost
    assert verdict.numbers["gained"] == gained


def test_a_rejection_says_what_was_lost_and_what_was_allowed() -> None:
    sentence = contest(16, 2, 0).sentence

    assert sentence.startswith("v8 is rejected: 14 of 16 test items right (0.875) against 16 (1.000) of v7; ")
    assert "it loses 0.125 where at most 0.088 is allowed" in sentence
    assert "the whole interval lies below zero" in contest(2000, 60, 30).sentence


@pytest.mark.parametrize(
    ("items", "conceded", "decisions"),
    [
        (1, 0.0, "PR"),
        (1, 0.02, "PR"),
        (2, 0.0, "PPR P"),
        (2, 0.02, "PRR P"),
        (4, 0.0, "PPRRR PPP P"),
        (4, 0.02, "PRRRR PPP P"),
        (8, 0.0, "PPRRRRRRR PPPPPRR PPPPP PPP"),
        (8, 0.02, "PRRRRRRRR PPPPPRR PPPPP PPP"),
        (16, 0.0, "PPRRRRRRRRRRR PPPPPRRRRRRRR PPPPPPPPRRRRR PPPPPPPPPPP"),
        (16, 0.02, "PRRRRRRRRRRRR PPPPPRRRRRRRR PPPPPPPRRRRRR PPPPPPPPPPR"),
        (30, 0.0, "PPRRRRRRRRRRR PPPPPRRRRRRRR PPPPPPPPRRRRR PPPPPPPPPPPRR"),
        (30, 0.02, "PRRRRRRRRRRRR PPPPRRRRRRRRR PPPPPPPRRRRRR PPPPPPPPPPRRR"),
        (60, 0.0, "PPRRRRRRRRRRR PPPPPRRRRRRRR RPPPPPPPRRRRR RPPPPPPPPPPRR"),
        (60, 0.02, "PRRRRRRRRRRRR PPPPRRRRRRRRR RPPPPPRRRRRRR RPPPPPPPPRRRR"),
        (300, 0.0, "PPPPRRRRRRRRR PPPPPPPPPRRRR PPPPPPPPPPPRR PPPPPPPPPPPPP"),
        (300, 0.02, "PRRRRRRRRRRRR PPPRRRRRRRRRR PPPPPRRRRRRRR PPPPPPPRRRRRR"),
    ],
)
def test_who_passes_does_not_depend_on_what_is_shown(items: int, conceded: float, decisions: str) -> None:
    """P passes, R is rejected: for 0, 2, 4, ... items gained a word, for each number of items lost a letter."""
    for word, gained in zip(decisions.split(), range(0, 7, 2), strict=False):
        found = [contest(items, lost, gained, conceded).passed for lost in range(len(word))]
        assert "".join("P" if passed else "R" for passed in found) == word, gained


def test_a_worse_version_that_passes_says_why() -> None:
    assert (
        "difference -0.025, 95 % interval [-0.129, +0.065]; it is measured 0.025 worse, which on 40 test items may be "
        "chance (McNemar's exact test: p = 1), and up to 0.025 may be lost, so it passes; "
    ) in contest(40, 1, 0).sentence
    assert (
        "it is measured 0.004 worse (McNemar's exact test: p = 0.077); the bootstrap's interval [-0.008, +0.000] "
        "decides, and reaches zero, and up to 0.020 may be lost, so it passes"
    ) in contest(2000, 12, 4).sentence
    assert "measured" not in contest(40, 0, 1).sentence
    assert "measured" not in contest(40, 12, 0).sentence


@pytest.mark.parametrize(("items", "few"), [(1, True), (19, True), (20, False), (300, False)])
def test_too_few_test_items_are_said(items: int, few: bool) -> None:
    for verdict in (contest(items, 0, 0), contest(items, min(items, 9), 0)):
        assert (f"too few test items to judge ({items} of at least 20)" in verdict.sentence) is few
        assert verdict.numbers["few"] is few


def test_a_rejection_names_the_interval_that_decides_where_the_one_shown_holds_zero() -> None:
    found = [contest(items, lost, gained) for items in (1, 8, 60) for gained in (0, 1) for lost in range(items)]
    found.append(contest(1, 1, 0))
    decided = [one for one in found if one.numbers["decided_by"]["high"] < 0]
    apart = [one for one in decided if one.numbers["difference"]["high"] >= 0]
    assert all(not one.passed for one in decided)
    assert all("the whole interval lies below zero" in one.sentence for one in decided if one not in apart)
    assert all("the bootstrap's interval [" in one.sentence for one in apart)
    assert apart


def test_small_losses_do_not_add_up() -> None:
    first = contest(16, 1, 0)
    assert first.passed
    assert first.numbers["conceded"] == pytest.approx(1 / 16)

    second = contest(16, 1, 0, conceded=first.numbers["conceded"])
    assert not second.passed
    assert "it loses 0.062 on top of 0.062 conceded since the best version" in second.sentence
    assert contest(16, 0, 0, conceded=0.3).passed, "whoever loses nothing passes"
    assert contest(16, 0, 2, conceded=first.numbers["conceded"]).numbers["conceded"] == 0.0, "a new best"


def test_a_class_may_not_fall_though_another_rises() -> None:
    truth = [0] * 40 + [1] * 40
    champion = [0] * 40 + [0] * 20 + [1] * 20
    challenger = [0] * 30 + [1] * 10 + [1] * 40

    verdict = meet(truth, champion, challenger)

    assert not verdict.passed
    assert "class a falls from 1.000 to 0.750 on 40 items" in verdict.sentence
    assert meet(truth, champion, challenger, GateRule(resamples=400, margin=0.25)).passed


def test_a_fall_that_may_be_chance_is_told_and_passes() -> None:
    truth = [0] * 10 + [1] * 10
    verdict = meet(truth, [0] * 20, [0] * 8 + [1] * 12)

    assert verdict.passed
    assert "class a falls from 1.000 to 0.800 on 10 items, which may be chance" in verdict.sentence


def test_a_class_with_nine_items_does_not_decide() -> None:
    truth = [0] * 9 + [1] * 9

    verdict = meet(truth, [0] * 18, [1] * 18)
    assert verdict.passed
    assert "no class has the 10 test items to be judged alone" in verdict.sentence


@pytest.mark.parametrize(("items", "passes"), [(100, False), (49, True)])
def test_calibration_may_not_become_worse_where_there_are_items_to_tell(items: int, passes: bool) -> None:
    truth = [0] * items
    given = [0] * (items * 4 // 5) + [1] * (items - items * 4 // 5)
    honest, boastful = scores(given, confidence=0.8), scores(given, confidence=0.99)

    def verdict(old: Scores, new: Scores) -> Verdict:
        return judge(shown(truth), Predictions("v7", old), Predictions("v8", new), AB, "single", RULE)

    worse = verdict(honest, boastful)
    told = "calibration error 0.190 against 0.000 is worse by more than 0.05" in worse.sentence
    assert (worse.passed, told) == (passes, not passes)
    assert verdict(boastful, honest).passed


def test_a_failed_prediction_is_wrong_and_told() -> None:
    verdict = meet([0] * 30, [0] * 30, [0] * 20 + [-1] * 10)

    assert not verdict.passed
    assert "20 of 30 test items right" in verdict.sentence
    assert verdict.sentence.endswith("10 predictions of v8 failed and count as wrong")


def test_a_failed_prediction_is_wrong_even_where_no_label_is_right() -> None:
    nothing, none = np.zeros((12, 2), dtype=bool), np.full((12, 2), np.nan)
    verdict = judge(nothing, Predictions("v7", np.zeros((12, 2))), Predictions("v8", none), AB, "multiple", RULE)

    assert not verdict.passed
    assert verdict.numbers["challenger"] == 0.0
    assert verdict.numbers["classes"]["withholding class a"]["challenger"] == 0.0


def test_several_labels_are_right_only_as_a_whole_and_each_class_counts_both_ways() -> None:
    truth = np.array([[True, True]] * 20 + [[True, False]] * 20)
    champion = np.where(truth, 0.8, 0.2)
    challenger = np.full(truth.shape, 0.8)

    verdict = judge(truth, Predictions("v7", champion), Predictions("v8", challenger), AB, "multiple", RULE)

    assert not verdict.passed
    assert verdict.numbers["challenger"] == 0.5
    assert "withholding class b falls from 1.000 to 0.000 on 20 items" in verdict.sentence
    assert verdict.numbers["classes"].keys() == {"class a", "class b", "withholding class b"}


def test_the_first_version_must_beat_the_majority_class_of_training() -> None:
    truth, learned_from = shown([0, 0, 0, 1]), shown([0, 0, 1])

    first = judge_first(truth, Predictions("v1", scores([0, 0, 0, 1])), learned_from, "single")
    assert first.passed
    assert first.sentence == (
        "v1 becomes the first champion: 4 of 4 test items right (1.000, 95 % interval 0.510 to 1.000), "
        "the majority class alone has 0.750; too few test items to judge (4 of at least 20)"
    )
    dull = judge_first(truth, Predictions("v1", scores([0, 0, 0, 0])), learned_from, "single")
    assert not dull.passed
    assert dull.sentence == (
        "v1 is rejected: 3 of 4 test items right (0.750, 95 % interval 0.301 to 0.954), "
        "no better than the majority class with 0.750; too few test items to judge (4 of at least 20)"
    )
    turned = judge_first(truth, Predictions("v1", scores([0, 1, 1, 0])), shown([1, 1, 0]), "single")
    known = {"test_items": 4, "challenger": 0.25, "majority": 0.25, "conceded": 0.0}
    assert {name: turned.numbers[name] for name in known} == known
    assert turned.numbers.keys() - known.keys() == {"accuracy", "few"}
    assert turned.numbers["accuracy"] == pytest.approx({"value": 0.25, "low": 0.0456, "high": 0.6994}, abs=1e-4)


def test_a_person_may_force_what_the_gate_rejected() -> None:
    rejected, passed = contest(16, 4, 0, conceded=0.1), contest(16, 0, 1)

    forced = force(rejected)
    assert forced.passed
    assert forced.forced
    assert forced.sentence == f"promoted by force, though the gate said: {rejected.sentence}"
    assert forced.numbers == rejected.numbers | {"conceded": 0.0}
    assert force(passed) == passed


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"v8 has scores of shape \(3, 2\), the truth is \(2, 2\)"):
        meet([0, 1], [0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="no test items"):
        judge_first(shown([]), Predictions("v1", np.zeros((0, 2))), shown([0]), "single")


rows = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=70)


def tried(found: list[tuple[int, int, int]], order: list[int] | None = None) -> Verdict:
    truth, champion, challenger = (list(column) for column in zip(*found, strict=True))
    at = order or list(range(len(found)))
    old, new = (Predictions(name, scores(one, 3)[at]) for name, one in (("v7", champion), ("v8", challenger)))
    return judge(shown(truth, 3)[at], old, new, ("a", "b", "c"), "single", GateRule(resamples=100))


@given(rows)
@settings(max_examples=examples(40))
def test_whoever_predicts_the_same_passes(found: list[tuple[int, int, int]]) -> None:
    verdict = tried([(truth, champion, champion) for truth, champion, _ in found])

    assert verdict.passed
    items = verdict.numbers["test_items"]
    width = 1.959964**2 / (items + 1.959964**2)
    assert verdict.numbers["difference"] == pytest.approx({"value": 0.0, "low": -width, "high": width}, abs=1e-6)
    assert verdict.numbers["decided_by"] == {"method": "paired bootstrap", "low": 0.0, "high": 0.0}


@given(rows.flatmap(lambda found: st.tuples(st.just(found), st.permutations(range(len(found))))))
@settings(max_examples=examples(40))
def test_the_order_of_the_items_is_of_no_matter(given: tuple[list[tuple[int, int, int]], list[int]]) -> None:
    found, order = given

    straight, turned = tried(found), tried(found, order)
    assert (straight.passed, straight.sentence) == (turned.passed, turned.sentence)


@given(rows)
@settings(max_examples=examples(40))
def test_both_ways_round_the_difference_turns_its_sign(found: list[tuple[int, int, int]]) -> None:
    verdict, other = tried(found), tried([(truth, new, old) for truth, old, new in found])

    assert verdict.numbers["difference"]["value"] == -other.numbers["difference"]["value"]
    assert (verdict.numbers["lost"], verdict.numbers["gained"]) == (other.numbers["gained"], other.numbers["lost"])
    assert verdict.passed or other.passed or "class" in verdict.sentence + other.sentence


@given(st.integers(1, 49), st.data())
@settings(max_examples=examples(60))
def test_one_item_more_never_turns_a_pass_into_a_rejection(items: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(1, items))
    gained = data.draw(st.integers(0, items - lost))
    conceded = data.draw(st.sampled_from([0.0, 0.03]))

    if contest(items, lost, gained, conceded).passed:
        assert contest(items, lost - 1, gained, conceded).passed
        if lost + gained < items:
            assert contest(items, lost, gained + 1, conceded).passed
