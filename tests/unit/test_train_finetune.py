"""The recipe ``finetune``, trained for real."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import materials, shapes

pytestmark = pytest.mark.train

Told = list[Mapping[str, float]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def brief() -> dict[str, Any]:
    """Let an epoch from random weights be of few steps."""
    from labelloop.train.recipes.base import Budget

    return {"budget": Budget(fresh_steps=4)}


def fit(material: Any, before: Any = None, **how: Any) -> Any:
    from labelloop.train.recipes import finetune

    return finetune.fit(material, before, **{"workers": 0} | how)


def test_it_learns_and_tells_of_every_epoch(tmp_path: Path, cache: Path) -> None:
    told: Told = []
    steps: list[tuple[str, int, int]] = []

    def watch(recipe: str, epoch: Mapping[str, float]) -> bool:
        told.append(epoch)
        return recipe != "finetune"

    data = shapes.dataset(tmp_path / "pictures", validation=60)
    given = materials.material(
        data, shapes.settings(epochs=2), cache, watch=watch, progress=lambda *step: steps.append(step)
    )
    found = fit(given)
    assert found.curve == tuple(told)
    assert [epoch["epoch"] for epoch in told] == [1, 2]
    assert told[-1]["validation_loss"] < told[0]["validation_loss"]
    assert max(epoch["validation_accuracy"] for epoch in told) >= 0.95
    assert all(0 <= epoch["waiting"] < 1 and epoch["pictures_per_second"] > 0 for epoch in told)
    assert steps == [("finetune", step, 40) for step in range(1, 41)]
    truth = [sample.targets[0] for sample in given.dataset.validation]
    assert np.mean(found.logits.argmax(axis=1) == truth) >= 0.95
    assert not list(cache.glob(".packed-*"))


def test_whoever_watches_can_stop_it(tmp_path: Path, cache: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures")
    found = fit(
        materials.material(
            data, shapes.settings(epochs=5), cache, watch=lambda _, epoch: epoch["epoch"] == 2, **brief()
        )
    )
    assert len(found.curve) == 2


def test_workers_change_nothing_and_a_seed_everything(tmp_path: Path, cache: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures")
    given = materials.material(data, shapes.settings(), cache, **brief())
    alone = fit(given)
    assert materials.difference(alone, fit(given, workers=2)) == 0
    reseeded = replace(given, settings=replace(given.settings, seed=1))
    assert materials.difference(alone, fit(reseeded)) > 0


def test_mixup_follows_from_the_seed_and_still_learns(tmp_path: Path, cache: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures")
    given = materials.material(data, replace(shapes.settings(), mixup=0.2), cache)
    blended = fit(given)
    assert materials.difference(blended, fit(given)) == 0
    assert materials.difference(blended, fit(materials.material(data, shapes.settings(), cache))) > 0
    truth = [sample.targets[0] for sample in given.dataset.validation]
    assert np.mean(blended.logits.argmax(axis=1) == truth) >= 0.9


def test_pieces_of_a_batch_teach_what_the_whole_does(tmp_path: Path, cache: Path) -> None:
    from labelloop.train.recipes.base import Budget
    from labelloop.train.recipes.finetune_plan import plan

    data = shapes.dataset(tmp_path / "pictures")
    given = materials.learned(materials.material(data, shapes.settings(), cache))
    whole = fit(given, materials.head(given))
    small = replace(given, budget=Budget(cpu_activations=1.0))
    assert (plan(small).size, plan(small).accumulate, plan(small).batch) == (2, 12, 24)
    assert materials.difference(whole, fit(small, materials.head(small))) < 1e-5


def test_from_learned_weights_it_hands_on_the_head_it_began_with(tmp_path: Path, cache: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures", validation=40)
    given = materials.learned(materials.material(data, shapes.settings(epochs=4), cache))
    before = materials.head(given)
    found = fit(given, before)
    assert found.before is before
    assert len(found.curve) == 2
    np.testing.assert_allclose(found.logits, materials.head(replace(given, start=found.model)).logits, atol=1e-4)
    assert fit(materials.material(data, shapes.settings(), cache, **brief()), before).before is None


def test_batch_norm_statistics_of_learned_weights_stay(tmp_path: Path, cache: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures")
    given = materials.learned(materials.material(data, shapes.settings(), cache))
    before = materials.head(given)
    found, held = materials.weights(fit(given, before)), materials.weights(before)
    changed = {name.rsplit(".", 1)[-1] for name in held if not bool((found[name] == held[name]).all())}
    assert changed == {"weight", "bias"}


def test_flips_are_the_heads_choice(tmp_path: Path, cache: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures", validation=40)
    given = materials.learned(materials.material(data, shapes.settings(learning_rate=1e-9), cache))
    found = fit(given, materials.head(given, flips=True))
    assert found.flips
    straight = materials.head(given).logits
    mirrored = materials.head(replace(given, pixels=_mirror(given.pixels))).logits
    np.testing.assert_allclose(found.logits, (straight + mirrored) / 2, atol=1e-4)


def _mirror(pixels: Any) -> Any:
    return _Mirror(pixels)


class _Mirror:
    """Pixels from right to left."""

    def __init__(self, pixels: Any) -> None:
        self._pixels, self.spec = pixels, pixels.spec

    def many(self, samples: Any) -> Any:
        return self._pixels.many(samples)[:, :, ::-1].copy()


@pytest.mark.parametrize("balance", ["loss", "sampler"])
def test_rare_classes_are_found_where_answers_are_balanced(balance: str, tmp_path: Path, cache: Path) -> None:
    shown = shapes.dataset(tmp_path / "pictures", train=48, validation=0)
    rare = [sample for sample in shown.train if sample.targets == (1,)][:3]
    data = replace(shown, train=(*[sample for sample in shown.train if sample.targets == (0,)], *rare))
    settings = shapes.settings(epochs=1, learning_rate=0.0005)
    scores = {}
    for way in ("none", balance):
        given = materials.material(data, replace(settings, balance=way), cache)
        found = fit(given)
        assert found.balance == way
        asked = replace(data, validation=tuple(shapes.samples(tmp_path / "unseen", 40, 3)))
        logits = materials.head(replace(given, dataset=asked, start=found.model)).logits
        scores[way] = float((logits[:, 1] - logits[:, 0]).mean())
    assert scores[balance] > scores["none"] + 0.1


def test_without_a_head_two_short_trainings_choose_the_balance(tmp_path: Path, cache: Path) -> None:
    shown = shapes.dataset(tmp_path / "pictures", train=60, validation=60)
    rare = [sample for sample in shown.train if sample.targets == (1,)][:3]
    data = replace(shown, train=(*[sample for sample in shown.train if sample.targets == (0,)], *rare))
    settings = shapes.settings(epochs=4)
    steps: list[tuple[str, int, int]] = []
    found = fit(materials.material(data, settings, cache, progress=lambda *step: steps.append(step), **brief()))
    assert found.balance in {"none", "loss"}
    assert [step[2] for step in steps if step[1] == 1] == [4, 4, 16]
    few = replace(data, validation=data.validation[:49])
    assert fit(materials.material(few, settings, cache, **brief())).balance == "none"


def test_the_balance_of_the_head_is_taken_over(tmp_path: Path, cache: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures")
    given = materials.learned(materials.material(data, shapes.settings(), cache))
    assert fit(given, materials.head(given, balance="sampler")).balance == "sampler"
