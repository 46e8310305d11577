"""The gate: who may replace whom, and what the verdict says."""

import json
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.run.gate import judge, judge_first, require_as_good
from labelloop.run.verdict import Conceded, GateRule, Predictions, Refits, Verdict, force
from labelloop.train.intervals import worse
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


def answers(items: int, lost: int, gained: int) -> tuple[list[int], list[int]]:
    """Let the challenger lose some items of class 0 and gain others; the rest both have right."""
    return [1] * gained + [0] * (items - gained), [0] * gained + [1] * lost + [0] * (items - gained - lost)


def contest(
    items: int, lost: int, gained: int, conceded: tuple[int, int] = (0, 0), refits: Refits | str = ""
) -> Verdict:
    champion, challenger = (scores(one) for one in answers(items, lost, gained))
    old, new = Predictions("v7", champion), Predictions("v8", challenger)
    known = Conceded(*conceded)
    return judge(shown([0] * items), old, new, AB, "single", RULE, conceded=known, refits=refits)


def test_a_head_that_is_measured_worse_does_not_replace_what_took_longer() -> None:
    lucky = contest(200, lost=3, gained=2)
    assert lucky.passed, "it may be chance"
    found = require_as_good(lucky, "v8", "v7", "finetune")
    assert not found.passed
    assert found.sentence.startswith("v8 is rejected: with 0.985 on the test items it is measured worse than v7")
    assert "in the place of a finetune" in found.sentence
    assert found.numbers["as_good"]["recipe"] == "finetune"
    for as_good in (contest(200, lost=2, gained=2), contest(200, lost=1, gained=2)):
        kept = require_as_good(as_good, "v8", "v7", "finetune")
        assert (kept.passed, kept.sentence) == (True, as_good.sentence)
    rejected = contest(200, lost=40, gained=0)
    assert require_as_good(rejected, "v8", "v7", "finetune").sentence == rejected.sentence


def refitted(items: int, lost: int, gained: int) -> Refits:
    old, new = answers(items, lost, gained)
    return Refits(shown([0] * items), shown(old), shown(new))


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
        (1, 1, 0, True),  # one item is no evidence
        (16, 1, 0, True),
        (300, 1, 0, True),
        (16, 2, 0, True),  # p = .125
        (16, 3, 0, False),  # p = .063
        (22, 4, 1, True),  # p = .109
        (22, 5, 1, False),
        (30, 12, 7, True),
        (30, 12, 6, False),
        (300, 9, 4, False),
        (300, 40, 31, True),
        (2000, 60, 47, True),
        (2000, 60, 45, False),  # less than a point, and no chance
    ],
)
def test_only_what_is_worse_beyond_chance_is_rejected(items: int, lost: int, gained: int, passes: bool) -> None:
    verdict = contest(items, lost, gained)

    assert verdict.passed is passes
    assert (verdict.numbers["decided_by"]["p"] > 0.1) is passes
    assert verdict.numbers["lost"] == lost
    assert verdict.numbers["gained"] == gained
    assert contest(items, gained, lost).passed


@pytest.mark.parametrize(("items", "least"), [(20, 0.02), (80, 0.08), (180, 0.09), (300, 0.09)])
def test_an_equal_version_is_rejected_as_often_as_the_rule_says_and_no_more(items: int, least: float) -> None:
    """Equal: each item that only one has right, 9 of 100, is the challenger's as likely as not."""
    share = 0.0
    for differ in range(min(items, 60) + 1):
        chance = math.comb(items, differ) * 0.09**differ * 0.91 ** (items - differ) / 2**differ
        found = (lost for lost in range(differ + 1) if worse(lost, differ - lost) <= RULE.error)
        share += chance * sum(math.comb(differ, lost) for lost in found)
    assert least <= share <= RULE.error


def test_a_rejection_says_what_was_lost_and_by_which_test() -> None:
    sentence = contest(16, 3, 0).sentence

    assert sentence.startswith("v8 is rejected: 13 of 16 test items right (0.812) against 16 (1.000) of v7; ")
    assert (
        "it is worse beyond chance: of 3 items that only one has right it loses 3 (McNemar's mid-p test: p = 0.062, at "
        "most 0.1 rejects)"
    ) in sentence


def test_a_worse_version_that_passes_says_why() -> None:
    assert (
        "difference -0.025, 95 % interval [-0.129, +0.065]; it is measured worse, which may be chance: of 1 items that "
        "only one has right it loses 1 (McNemar's mid-p test: p = 0.25, at most 0.1 rejects); "
    ) in contest(40, 1, 0).sentence
    assert "measured" not in contest(40, 0, 1).sentence
    assert "measured" not in contest(40, 12, 0).sentence


def test_refits_decide_together_with_the_test_items() -> None:
    alone = contest(20, 1, 0, refits="v7 (finetune) is not trained anew")
    assert alone.passed
    assert alone.sentence.endswith("; the test items decide alone: v7 (finetune) is not trained anew")
    assert "refits" not in alone.numbers

    rejected = contest(20, 1, 0, refits=refitted(160, 6, 1))
    assert not rejected.passed
    assert "of 8 items that only one has right it loses 7" in rejected.sentence
    assert rejected.sentence.endswith(
        "; refits that had not seen them have 154 of 160 items right that both learned from, against 159"
    )
    assert rejected.numbers["test_items"] == 20
    assert rejected.numbers["difference"]["value"] == pytest.approx(-0.05)
    found = rejected.numbers["refits"]
    assert (found["items"], found["lost"], found["gained"]) == (160, 6, 1)
    assert found["difference"]["value"] == pytest.approx(-5 / 160)
    assert contest(20, 3, 0, refits=refitted(160, 2, 9)).passed, "they speak for a version, too"


def test_with_refits_there_are_enough_items_to_judge() -> None:
    assert "too few test items" in contest(8, 0, 0).sentence
    assert "too few test items" not in contest(8, 0, 0, refits=refitted(60, 0, 0)).sentence


@pytest.mark.parametrize(("items", "few"), [(1, True), (19, True), (20, False), (300, False)])
def test_too_few_test_items_are_said(items: int, few: bool) -> None:
    for verdict in (contest(items, 0, 0), contest(items, min(items, 9), 0)):
        assert (f"too few test items to judge ({items} of at least 20)" in verdict.sentence) is few
        assert verdict.numbers["few"] is few


def test_small_losses_do_not_add_up() -> None:
    first = contest(16, 2, 0)
    assert first.passed
    assert first.numbers["since_best"] == {"lost": 2, "gained": 0}
    assert first.numbers["conceded"] == pytest.approx(2 / 16), "earlier releases read the share"

    second = contest(16, 2, 0, conceded=(2, 0))
    assert not second.passed
    assert (
        "with what passed since the best version it is worse beyond chance: of 4 items that only one has right it "
        "loses 4 (McNemar's mid-p test: p = 0.031"
    ) in second.sentence
    assert contest(16, 0, 0, conceded=(9, 0)).passed, "whoever loses nothing passes"
    assert contest(16, 0, 2, conceded=(2, 0)).numbers["since_best"] == {"lost": 0, "gained": 0}, "a new best"


def test_one_item_alone_rejects_nobody_though_some_was_conceded() -> None:
    assert contest(300, 1, 0, conceded=(1, 0)).passed
    assert contest(300, 1, 0, conceded=(12, 9)).passed


def test_what_an_earlier_release_conceded_is_no_evidence() -> None:
    assert Conceded.read({"conceded": 0.06}) == Conceded()
    assert Conceded.read(contest(16, 2, 0).numbers) == Conceded(2, 0)


def test_a_class_may_not_fall_where_the_whole_is_no_better() -> None:
    truth = [0] * 40 + [1] * 40
    champion = [0] * 40 + [0] * 10 + [1] * 30
    challenger = [0] * 30 + [1] * 10 + [1] * 40

    verdict = meet(truth, champion, challenger)

    assert not verdict.passed
    assert "class a falls from 1.000 to 0.750 on 40 items" in verdict.sentence
    assert meet(truth, champion, challenger, GateRule(resamples=400, margin=0.25)).passed


def test_a_class_may_trade_places_with_another_where_the_whole_is_better() -> None:
    truth = [0] * 40 + [1] * 40
    champion = [0] * 40 + [0] * 11 + [1] * 29
    challenger = [0] * 30 + [1] * 10 + [1] * 40

    verdict = meet(truth, champion, challenger)

    assert verdict.passed
    assert "class a falls from 1.000 to 0.750 on 40 items, where the whole is better" in verdict.sentence


def test_a_fall_that_may_be_chance_is_told_and_passes() -> None:
    truth = [0] * 10 + [1] * 10
    verdict = meet(truth, [0] * 20, [0] * 8 + [1] * 12)

    assert verdict.passed
    assert "class a falls from 1.000 to 0.800 on 10 items, which may be chance" in verdict.sentence


def test_a_class_with_nine_items_does_not_decide() -> None:
    truth = [0] * 9 + [1] * 9

    verdict = meet(truth, [0] * 18, [1] * 18)
    assert verdict.passed
    assert "no class has the 10 items to be judged alone" in verdict.sentence


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
    rejected, passed = contest(16, 4, 0, conceded=(2, 0)), contest(16, 0, 1)

    forced = force(rejected)
    assert forced.passed
    assert forced.forced
    assert forced.sentence == f"promoted by force, though the gate said: {rejected.sentence}"
    assert forced.numbers == rejected.numbers | {"conceded": 0.0, "since_best": {"lost": 0, "gained": 0}}
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
    assert verdict.numbers["decided_by"]["p"] == 0.5


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
    conceded = data.draw(st.sampled_from([(0, 0), (3, 1)]))

    if contest(items, lost, gained, conceded).passed:
        assert contest(items, lost - 1, gained, conceded).passed
        if lost + gained < items:
            assert contest(items, lost, gained + 1, conceded).passed
