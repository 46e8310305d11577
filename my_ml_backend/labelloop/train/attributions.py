"""What in a picture a network's answer comes from: Grad-CAM and integrated gradients, by captum."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from labelloop.train.flips import Flipped

Heat = npt.NDArray[np.float32]

STEPS = 24
_BATCH = 16
_PLACES = 3


def grad_cam(network: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> Heat | None:
    """Weigh the last feature map by its gradients (Selvaraju et al. 2017): (n, height, width), 0 and more.

    ``images`` is (n, 3, height, width), normalised; ``targets`` (n,) says which class's logit is explained. None for a
    network whose last features are no map of the picture (ViT, Swin).
    """
    if isinstance(network, Flipped):
        straight = grad_cam(network.network, images, targets)
        mirrored = grad_cam(network.network, images.flip(-1), targets)
        return None if straight is None or mirrored is None else _mean(straight, mirrored[..., ::-1])
    layer = last_map(network, images[:1])
    if layer is None:
        return None
    from captum.attr import LayerGradCam

    found = LayerGradCam(network, layer).attribute(images, target=targets, relu_attributions=True).detach()
    heat: Heat = functional.interpolate(found, images.shape[-2:], mode="bilinear")[:, 0].numpy()
    return heat


def integrated_gradients(network: nn.Module, images: torch.Tensor, targets: torch.Tensor, steps: int = STEPS) -> Heat:
    """Sum the gradients on the way from the mean colour to the picture (Sundararajan, Taly and Yan 2017).

    Arguments as with ``grad_cam``; gives each pixel's part in the logit, over its colours: (n, height, width).
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(network)
    parts = [
        method.attribute(images[at : at + 1], target=targets[at : at + 1], n_steps=steps, internal_batch_size=_BATCH)
        for at in range(len(images))
    ]
    heat: Heat = torch.cat(parts).sum(dim=1).detach().float().numpy()
    return heat


def _mean(one: Heat, other: Heat) -> Heat:
    mean: Heat = (one + other) / np.float32(2)
    return mean


def last_map(network: nn.Module, image: torch.Tensor) -> nn.Module | None:
    """Find the layer whose output is the last map of the picture, (1, features, height, width), with room to point at.

    It is the features themselves or, where the picture is small and they are of fewer than 3 x 3 places, those of a
    stage before. None where the features are no map.
    """
    features, outputs = _forward(network, image)
    if features.ndim != 4 or features.shape[1] != network.num_features:
        return None
    if min(features.shape[2:]) >= _PLACES:
        same = [layer for layer, output in outputs if output.shape == features.shape and torch.equal(output, features)]
        return same[-1] if same else None
    stages = {network.get_submodule(stage["module"]) for stage in getattr(network, "feature_info", ())}
    large = [layer for layer, output in outputs if layer in stages and min(output.shape[2:]) >= _PLACES]
    return large[-1] if large else None


def _forward(network: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, list[tuple[nn.Module, torch.Tensor]]]:
    """Give the features of one picture, and what each layer gave on the way there, in the order they ended."""
    outputs: list[tuple[nn.Module, torch.Tensor]] = []

    def note(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            outputs.append((layer, output))

    handles = [layer.register_forward_hook(note) for layer in network.modules() if layer is not network]
    try:
        with torch.no_grad():
            return network.forward_features(image), outputs  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
