"""What a head is to be, by cross-validation."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.train import crossvalidation, head_choice
from labelloop.train.crossvalidation import DEFAULT, STRENGTHS, Problem, cross_validate, solve
from labelloop.train.head_choice import choose

pytestmark = pytest.mark.train

Rows = npt.NDArray[Any]


def problem(count: int, noise: float, seed: int = 0, shares: tuple[float, ...] = (0.5, 0.5)) -> Problem:
    """Draw two classes whose features differ in one of twenty directions."""
    random = np.random.default_rng(seed)
    targets = random.choice(len(shares), count, p=shares)
    rows = random.normal(size=(count, 20)) * noise
    rows[:, 0] += targets
    return Problem(rows.astype(np.float32), np.eye(len(shares), dtype=bool)[targets], "single")


def test_noise_asks_for_more_regularisation_than_clear_features() -> None:
    noisy, clear = (cross_validate(problem(400, noise), 0) for noise in (3.0, 0.05))
    assert noisy is not None
    assert clear is not None
    assert noisy.strength < DEFAULT < clear.strength


def test_few_samples_keep_the_default_where_chance_would_choose_another() -> None:
    found = [cross_validate(problem(30, 1.0, seed), 0) for seed in range(12)]
    assert sum(one is not None and one.strength == DEFAULT for one in found) >= 5
    assert cross_validate(problem(5, 1.0), 0) is None


def test_logits_are_of_models_that_have_not_seen_the_sample() -> None:
    """Labels of pure chance cannot be known beforehand."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(200, 50)).astype(np.float32)
    shown = np.eye(2, dtype=bool)[random.integers(0, 2, 200)]
    found = cross_validate(Problem(rows, shown, "single"), 0, (STRENGTHS[-1],))
    assert found is not None
    assert abs((found.logits.argmax(axis=1) == shown.argmax(axis=1)).mean() - 0.5) < 0.12
    itself = solve(Problem(rows, shown, "single"), STRENGTHS[-1]).logits(rows)
    assert (itself.argmax(axis=1) == shown.argmax(axis=1)).mean() >= 0.7


def never(rows: Rows) -> Rows:
    raise AssertionError("mirror images are not asked for")


def noisy_mirror(data: Problem, noise: float) -> Any:
    """Make mirror images whose features are the truth with noise of their own."""
    clean = np.zeros_like(data.features)
    clean[:, 0] = data.shown.argmax(axis=1)
    drawn = clean + np.random.default_rng(7).normal(size=clean.shape) * noise
    return lambda rows: drawn[rows].astype(np.float32)


def test_flips_are_chosen_where_mirror_images_say_as_much_again() -> None:
    data = problem(200, 1.0)
    choice = choose(data, "none", 0, noisy_mirror(data, 1.0))
    assert choice.flips
    assert "twice as long" in choice.notes()[0]
    assert choice.problem.mirrored is not None
    assert choice.problem.mirrored.shape == data.features.shape


@pytest.mark.parametrize("mirror", ["same", "misleading"])
def test_flips_are_not_chosen_where_mirror_images_say_nothing_new_or_wrong(mirror: str) -> None:
    data = problem(200, 1.0)
    turned = data.features if mirror == "same" else data.features * np.float32(-1)
    assert not choose(data, "none", 0, lambda rows: turned[rows]).flips


def test_rare_classes_weigh_more_where_that_finds_them() -> None:
    shares = (0.93, 0.07)
    data = problem(600, 0.3, 3, shares)
    same = data.features
    auto = choose(data, "auto", 0, lambda rows: same[rows])
    assert auto.balance in ("none", "loss")
    assert choose(data, "none", 0, lambda rows: same[rows]).balance == "none"
    forced = choose(data, "sampler", 0, lambda rows: same[rows])
    assert forced.balance == "sampler"
    assert forced.problem.weights is not None
    found = [solve(one.problem, DEFAULT).logits(data.features).argmax(axis=1) for one in (auto, forced)]
    assert (found[1] == 1).sum() >= (found[0] == 1).sum()


def mislabeled(data: Problem, rows: Rows) -> Problem:
    shown = data.shown.copy()
    shown[rows] = shown[rows][:, ::-1]
    return replace(data, shown=shown)


def test_what_is_probably_wrong_is_not_learned_from_unless_it_was_confirmed() -> None:
    clean, wrong = problem(200, 0.2), np.arange(0, 200, 10)
    data, same = mislabeled(clean, wrong), lambda rows: clean.features[rows]
    choice = choose(data, "none", 0, same)
    found = {one.row for one in choice.suspects}
    assert len(found & set(wrong.tolist())) >= 0.6 * len(wrong)
    assert len(found - set(wrong.tolist())) <= 3
    assert choice.held is not None
    assert len(choice.problem.shown) == len(choice.held.truth) == 200 - len(found)
    assert choice.judged is not None
    assert (choice.judged.truth == data.shown).all()
    confirmed = np.isin(np.arange(200), wrong[::2])
    assert {one.row for one in choose(data, "none", 0, same, confirmed).suspects}.isdisjoint(wrong[::2].tolist())
    assert choose(data, "none", 0, same, np.ones(200, dtype=bool)).suspects == ()


def test_labels_that_are_right_are_learned_from() -> None:
    data = problem(200, 0.4)
    assert len(choose(data, "none", 0, lambda rows: data.features[rows]).suspects) <= 2


def test_mirror_images_are_those_of_the_samples_that_stay() -> None:
    clean = problem(200, 0.4)
    data = mislabeled(clean, np.arange(0, 200, 10))
    asked: list[Rows] = []
    drawn = noisy_mirror(clean, 0.05)

    def mirror(rows: Rows) -> Any:
        asked.append(rows)
        return drawn(rows)

    choice = choose(data, "none", 0, mirror)
    assert choice.flips
    assert choice.suspects
    assert not np.isin([one.row for one in choice.suspects], np.concatenate(asked)).any()
    assert choice.problem.mirrored is not None
    assert len(choice.problem.mirrored) == len(choice.problem.shown) == len(asked[-1])


def test_of_many_samples_each_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_choice, "_EXAMINED", 100)
    clean, wrong = problem(200, 0.2), np.arange(0, 200, 10)
    choice = choose(mislabeled(clean, wrong), "none", 0, lambda rows: clean.features[rows])
    found = {one.row for one in choice.suspects}
    assert len(found & set(wrong.tolist())) >= 0.6 * len(wrong)
    assert choice.held is not None
    assert len(choice.held.truth) <= 100 < len(choice.problem.shown) == 200 - len(found)


def test_balanced_classes_are_not_weighed() -> None:
    data = problem(100, 1.0)
    assert choose(data, "auto", 0, lambda rows: data.features[rows]).balance == "none"


def test_the_folds_of_few_and_of_many_samples_both_hold_out_everything() -> None:
    for count in (crossvalidation._MANY, crossvalidation._MANY + 1):
        found = cross_validate(problem(count, 0.1), 0, (DEFAULT,))
        assert found is not None
        assert (np.abs(found.logits).sum(axis=1) > 0).all()
