"""Temperatures."""

import numpy as np
import pytest

from labelloop.train import metrics
from labelloop.train.metrics import HeldOut
from labelloop.types import Choice

pytestmark = pytest.mark.train


def drawn(count: int, overconfident: float, choice: Choice = "single", seed: int = 0) -> HeldOut:
    """Draw logits whose truth follows them exactly, then make them so many times too sure."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, 3)) * 2
    shares = metrics.probabilities(logits, choice)
    if choice == "multiple":
        truth = random.uniform(size=shares.shape) < shares
    else:
        truth = np.eye(3, dtype=bool)[[random.choice(3, p=row) for row in shares]]
    return HeldOut(truth, logits * overconfident)


@pytest.mark.parametrize("choice", ["single", "multiple"])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_many_pictures_tell_how_much_too_sure_a_model_is(factor: float, choice: Choice) -> None:
    from labelloop.train.calibration import temperature

    assert temperature(drawn(3000, factor, choice), choice) == pytest.approx(factor, rel=0.1)


def test_a_handful_of_pictures_hardly_moves_it() -> None:
    from labelloop.train.calibration import temperature

    sure = HeldOut(np.eye(3, dtype=bool)[[0, 1, 2, 0]], np.eye(3)[[0, 1, 2, 0]] * 5.0)
    assert 0.8 < temperature(sure, "single") < 1  # all right: alone they would ask for none at all
    assert temperature(HeldOut(np.zeros((0, 3), dtype=bool), np.zeros((0, 3))), "single") == 1.0


def test_no_prediction_changes_and_the_network_holds_the_temperature() -> None:
    import torch

    from labelloop.train.backbone import build, divide_logits
    from support import shapes

    torch.manual_seed(0)
    model, pictures = build(shapes.settings(), 3), torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        before = model(pictures).numpy().copy()
    divide_logits(model, 2.5)
    with torch.inference_mode():
        after = model(pictures).numpy()
    np.testing.assert_allclose(after, before / 2.5, rtol=1e-4, atol=1e-6)
    for choice in ("single", "multiple"):
        np.testing.assert_array_equal(metrics.predictions(after, choice), metrics.predictions(before, choice))


def test_what_it_did_is_described() -> None:
    from labelloop.train.calibration import temperature_effect

    held = drawn(2000, 1.0)
    told = temperature_effect(held, "single", 3.0)
    assert told["log_loss_before"] > told["log_loss_after"]
    assert told["calibration_error_before"] > 0.1 > told["calibration_error_after"]
    assert temperature_effect(HeldOut(held.truth[:0], held.logits[:0]), "single", 3.0) == {}
