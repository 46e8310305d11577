"""An explanation points at what a network's answer depends on."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.train

SIDE = 32
QUARTERS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def quarter(row: int, column: int) -> tuple[slice, slice]:
    half = SIDE // 2
    return slice(half * row, half * row + half), slice(half * column, half * column + half)


def corner_network(row: int, column: int) -> Any:
    """Make a network that sees one quarter of the picture alone; class 1 likes it bright, class 0 dark."""
    import torch
    from torch import nn

    class Corner(nn.Module):
        num_features = 2

        def __init__(self) -> None:
            super().__init__()
            brightness = nn.Conv2d(3, 2, 4, stride=4, bias=False)
            self.map = nn.Sequential(brightness, nn.ReLU())
            self.last = nn.Linear(2, 2)
            with torch.no_grad():
                brightness.weight.fill_(1 / 48)
                self.last.weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            seen = torch.zeros(SIDE, SIDE)
            seen[quarter(row, column)] = 1
            features: torch.Tensor = self.map(images * seen)
            return features

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.last(self.forward_features(images).mean(dim=(2, 3)))
            return logits

    return Corner().eval()


def images() -> "torch.Tensor":
    import torch

    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) + 0.2


def share(heat: npt.NDArray[np.float32], row: int, column: int) -> float:
    return float(np.abs(heat[quarter(row, column)]).sum() / np.abs(heat).sum())


@pytest.mark.parametrize(("row", "column"), QUARTERS)
def test_integrated_gradients_point_at_the_quarter_that_counts(row: int, column: int) -> None:
    import torch

    from labelloop.train.explain import integrated_gradients

    network, shown = corner_network(row, column), images()
    heat = integrated_gradients(network, shown, torch.tensor([1, 1]), steps=8)
    assert heat.shape == (2, SIDE, SIDE)
    assert all(share(one, row, column) > 0.999 for one in heat)
    gained = (network(shown) - network(torch.zeros_like(shown)))[:, 1].detach().numpy()
    np.testing.assert_allclose(heat.sum(axis=(1, 2)), gained, rtol=1e-3)  # they sum up to the answer


@pytest.mark.parametrize(("row", "column"), QUARTERS)
def test_grad_cam_points_at_the_quarter_that_counts(row: int, column: int) -> None:
    import torch

    from labelloop.train.explain import grad_cam
    from labelloop.train.frozen import Flipped

    network = corner_network(row, column)
    heat = grad_cam(network, images(), torch.tensor([1, 1]))
    assert heat is not None
    assert heat.shape == (2, SIDE, SIDE)
    assert heat.min() >= 0
    assert all(share(one, row, column) > 0.8 for one in heat)  # the rest is the map's coarseness
    both = grad_cam(Flipped(network), images(), torch.tensor([1, 1]))
    assert both is not None
    for one in both:  # the mirror image's heat is turned back to where it belongs
        assert share(one, row, column) == pytest.approx(share(one, row, 1 - column), rel=0.2)
    against = grad_cam(network, images(), torch.tensor([0, 0]))
    assert against is not None
    assert not against.any(), "nothing speaks for darkness"


def test_the_last_map_is_found_where_there_is_one() -> None:
    import timm
    import torch

    from labelloop.train.explain import grad_cam, last_map

    convolutional = timm.create_model("test_resnet", num_classes=3).eval()
    assert last_map(convolutional, torch.rand(1, 3, 96, 96)) is convolutional.layer4
    assert last_map(convolutional, torch.rand(1, 3, 32, 32)) is convolutional.layer2, "4 x 4, and then 2 x 2"
    assert last_map(convolutional, torch.rand(1, 3, 16, 16)) is convolutional.layer1
    transformer = timm.create_model("test_vit", num_classes=3, img_size=64).eval()
    assert last_map(transformer, torch.rand(1, 3, 64, 64)) is None
    assert grad_cam(transformer, torch.rand(1, 3, 64, 64), torch.tensor([0])) is None
