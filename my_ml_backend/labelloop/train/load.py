"""A bundle's network back as a torch module: for gradients, which ONNX has none of. Nothing is unpickled."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from labelloop.errors import BundleError
from labelloop.train.backbone import build
from labelloop.train.parity import WEIGHTS
from labelloop.train.weights import difference
from labelloop.types import NetworkInfo, TrainSettings

_DESCRIPTION = "model.json"


def read_info(bundle: Path) -> NetworkInfo:
    """Read a bundle's description. Raises BundleError."""
    try:
        return NetworkInfo.from_json((bundle / _DESCRIPTION).read_bytes())
    except OSError as error:
        raise BundleError(f"bundle {bundle.name}: {_DESCRIPTION} could not be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"bundle {bundle.name}: {_DESCRIPTION} is of no known form ({error})") from error


def load_network(bundle: Path) -> nn.Module:
    """Make the network of ``bundle`` with its weights (CPU, eval mode); its logits are the ones that are served.

    Raises BundleError when a file is missing or damaged, TrainingError when timm does not know the network.
    """
    info = read_info(bundle)
    torch.set_num_threads(1)  # as in training: two threads on shared cores wait for each other
    with torch.random.fork_rng(devices=[]):  # the weights that are drawn here are overwritten
        model = build(_as_trained(info), len(info.classes))
    model.load_state_dict(_state(bundle, model))
    if info.flips:
        from labelloop.train.flips import Flipped

        model = Flipped(model)
    return model.eval()


def _as_trained(info: NetworkInfo) -> TrainSettings:
    size = info.picture.height if info.picture.height == info.picture.width else 0
    return TrainSettings(info.backbone, "none", size, (info.recipe,), epochs=0, batch_size=0, learning_rate=0, seed=0)


def _state(bundle: Path, model: nn.Module) -> dict[str, torch.Tensor]:
    try:
        state: dict[str, torch.Tensor] = load_file(bundle / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"bundle {bundle.name}: {WEIGHTS} could not be read; publish it again") from error
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} != expected:
        raise BundleError(
            f"bundle {bundle.name}: {WEIGHTS} is not of the network in {_DESCRIPTION} ({difference(state, model)})"
        )
    return state
