"""Which recipe wins, and which settings are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelloop.errors import TrainingError
from labelloop.train.dataset import Dataset, Sample
from support import shapes

pytestmark = pytest.mark.train


def dataset(targets: list[int]) -> Dataset:
    samples = tuple(Sample(Path(str(at)), f"{at:064x}", (target,)) for at, target in enumerate(targets))
    return Dataset(("a", "b"), "single", samples, samples)


def candidate(recipe: str, margins: list[float], **more: Any) -> Any:
    """Say how far above the other class's logit each picture's true class is."""
    from labelloop.train.backbone import build
    from labelloop.train.recipes.base import Candidate

    logits = np.array([[margin, 0.0] for margin in margins], dtype=np.float32).reshape(-1, 2)
    return Candidate(recipe, build(shapes.settings(), 2), logits, **more)


def test_the_lower_log_loss_wins_where_accuracies_are_equal() -> None:
    from labelloop.train.selection import Validation, accuracies, winner

    data = dataset([0] * 80)
    head, sure = candidate("head", [2, 2, 2, -0.1] * 20), candidate("finetune", [3, 3, 3, -4] * 20)
    assert winner([head, sure], Validation.of(data)).recipe == "head"
    assert accuracies([head, sure], Validation.of(data)) == {"head": 0.75, "finetune": 0.75}
    assert winner([head, candidate("finetune", [3, 3, 3, 0.1] * 20)], Validation.of(data)).recipe == "finetune"


def test_a_model_that_is_only_too_sure_does_not_lose_for_it() -> None:
    """Its temperature comes first."""
    from labelloop.train.contest import with_temperature
    from labelloop.train.selection import Validation, winner

    random = np.random.default_rng(0)
    good, bad = random.normal(1.5, 1, 200), random.normal(1.0, 1, 200)
    data = dataset([0] * 200)
    sure, head = candidate("finetune", list(good * 100)), candidate("head", list(bad))
    assert winner([head, sure], Validation.of(data)).recipe == "head"
    found = winner([with_temperature(one, data) for one in (head, sure)], Validation.of(data))
    assert found.recipe == "finetune"
    assert found.temperature > 2


def test_suspects_have_no_part_in_the_temperature() -> None:
    from labelloop.train.contest import with_temperature
    from labelloop.train.label_errors import Suspect

    data = dataset([0] * 60)
    logits = [4.0] * 50 + [-4.0] * 10
    suspects = {sample.picture: Suspect(at, (1,), 0.98, 0.02) for at, sample in enumerate(data.validation) if at >= 50}
    with_all, without = (
        with_temperature(candidate("head", logits, suspects=left_out), data) for left_out in ({}, suspects)
    )
    assert with_all.temperature > 1 > without.temperature
    assert len(without.logits) == 60


def test_without_validation_pictures_the_first_wins_and_cross_validation_calibrates() -> None:
    from labelloop.train.contest import with_temperature
    from labelloop.train.metrics import HeldOut
    from labelloop.train.selection import Validation, accuracies, winner

    data = replace(dataset([0, 1]), validation=())
    truth = np.eye(2, dtype=bool)[np.arange(300) % 2]
    wrong = np.random.default_rng(0).uniform(size=(300, 1)) < 0.2
    held = HeldOut(truth, np.where(truth ^ wrong, 10.0, 0.0))  # far too sure for one in five wrong
    head = candidate("head", [], held=held)
    assert winner([head, candidate("finetune", [])], Validation.of(data)) is head
    assert accuracies([head], Validation.of(data)) == {}
    assert with_temperature(head, data).temperature > 3


def test_what_cross_validation_says_of_the_head_corrects_the_temperature_of_its_finetune() -> None:
    """The validation pictures were lucky for both: by them alone neither seems too sure of itself."""
    from labelloop.train.contest import with_temperature
    from labelloop.train.metrics import HeldOut

    data, margins = dataset([0] * 60), [4.0] * 60
    wrong = np.random.default_rng(0).uniform(size=(600, 1)) < 0.2
    truth = np.eye(2, dtype=bool)[np.arange(600) % 2]
    head = candidate("head", margins, held=HeldOut(truth, np.where(truth ^ wrong, 4.0, 0.0)))
    alone, known = (
        with_temperature(candidate("finetune", margins, before=before), data).temperature for before in (None, head)
    )
    assert alone < 1
    assert known == pytest.approx(with_temperature(head, data).temperature)
    assert known > 2
    unseen = replace(data, validation=())
    blind = with_temperature(candidate("finetune", [], before=candidate("head", [], held=head.held)), unseen)
    assert blind.temperature == pytest.approx(
        with_temperature(candidate("head", [], held=head.held), unseen).temperature
    )


def test_the_finetune_wins_unless_it_is_worse_by_more_than_chance() -> None:
    from labelloop.train.selection import Validation, winner

    data, head = dataset([0] * 50), candidate("head", [1.0] * 50)
    differ = np.tile([0.5, -0.5], 25)
    for gain, expected in ((0.4, "finetune"), (0.05, "finetune"), (-0.2, "head")):
        other = candidate("finetune", list(1.0 + gain + differ))
        assert winner([head, other], Validation.of(data)).recipe == expected
    few = [candidate(recipe, [margin] * 49) for recipe, margin in (("head", 1.0), ("finetune", 3.0))]
    assert winner(few, Validation.of(dataset([0] * 49))).recipe == "head"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"recipes": ()}, "LABELLOOP_RECIPES takes head, finetune"),
        ({"recipes": ("head", "nearest")}, "LABELLOOP_RECIPES takes head, finetune"),
        ({"optimizer": "adamx"}, "near: .*adam"),
        ({"augmentations": "heavy"}, "auto, none, light, crop, realistic"),
        ({"balance": "oversample"}, "auto, none, loss, sampler"),
        ({"backbone": "resnet_18"}, "near: .*resnet18"),
    ],
)
def test_what_there_is_not_is_refused_before_any_picture_is_read(
    wrong: dict[str, Any], told: str, tmp_path: Path
) -> None:
    from labelloop.train.trainer import train

    steps: list[Any] = []
    data = shapes.dataset(tmp_path / "pictures")
    with pytest.raises(TrainingError, match=told):
        train(data, replace(shapes.settings(), **wrong), tmp_path, tmp_path / "cache", lambda *one: steps.append(one))
    assert steps == []
    assert not (tmp_path / "cache").exists()
