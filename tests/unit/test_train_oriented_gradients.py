"""The network that has nothing to learn but its last layer: what its features tell, and that they stay."""

import numpy as np
import pytest

from labelloop.types import TrainSettings
from support import shapes

pytestmark = pytest.mark.train

EXPECTED = [0.4199, 0.2764, 0.0005, 0.0607, 0.0913, 0.0384, 0.0182, 0.0518]


def network(side: int) -> object:
    from labelloop.train.backbone import build

    return build(TrainSettings(backbone="oriented_gradients", weights="none", image_size=side), 3)


def features(side: int, pictures: object) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    import torch

    from labelloop.train.backbone import pre_logits

    with torch.inference_mode():
        found: np.ndarray[tuple[int, int], np.dtype[np.float32]] = pre_logits(network(side), pictures).numpy()  # type: ignore[arg-type]
    return found


def ramp(side: int, count: int = 2) -> object:
    """Pictures whose every pixel is another colour."""
    import torch

    return (torch.arange(count * 3 * side * side).view(count, 3, side, side) % 251).float() / 250


def test_gradients_are_told_by_direction() -> None:
    import torch

    from labelloop.train.oriented_gradients import Gradients

    across, gradients = torch.arange(8.0).expand(1, 1, 8, 8) / 8, Gradients(1)
    found = gradients(across)[0, :, 4, 4]
    assert found.argmax() == 0
    assert torch.allclose(found[2:7], torch.zeros(5), atol=1e-6), "at a right angle to it, and the other way"
    assert torch.allclose(gradients(across.mT)[0, :, 4, 4], found.roll(2), atol=1e-6)


@pytest.mark.parametrize(("side", "width"), [(8, 352), (32, 608), (100, 864), (224, 1120)])
def test_pictures_of_any_size_have_features_at_as_many_scales_as_they_show(side: int, width: int) -> None:
    found = features(side, ramp(side))
    assert found.shape == (2, width)
    assert np.isfinite(found).all()


def test_contrast_does_not_matter_to_gradients() -> None:
    strong, weak = features(32, ramp(32)), features(32, 0.3 + 0.4 * ramp(32))  # type: ignore[operator]
    assert np.abs(strong[:, 96:] - weak[:, 96:]).max() < 0.02
    assert np.abs(strong[:, :96] - weak[:, :96]).max() > 0.1, "these are colours"


def test_its_features_are_what_they_were() -> None:
    """Bundles and caches know them by the network's name alone: others are another network's."""
    found = features(32, ramp(32, 1))[0]
    assert found[[0, 50, 100, 200, 300, 400, 500, 600]] == pytest.approx(EXPECTED, abs=1e-4)


def test_nothing_of_it_is_drawn_by_chance() -> None:
    """A finetune from random weights, made after it, begins where it would without."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = torch.rand(3)
        torch.manual_seed(3)
        network(32)
        assert torch.equal(torch.rand(3), expected)


def test_it_stands_in_where_there_are_no_learned_weights_at_the_size_of_the_network_that_was_named() -> None:
    from labelloop.train.backbone import for_features

    named = shapes.settings(image_size=0, backbone="resnet18")
    found = for_features(named)
    assert (found.backbone, found.image_size, found.recipes) == ("oriented_gradients", 224, named.recipes)
    learned = shapes.settings(weights="pretrained")
    assert for_features(learned) is learned
