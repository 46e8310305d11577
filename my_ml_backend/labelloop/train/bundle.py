"""A candidate as a bundle, and its network back: the files that are published and served (docs/bundle.md)."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from labelloop.bundle_info import NetworkInfo, PictureSpec
from labelloop.errors import BundleError
from labelloop.files import sha256
from labelloop.models.bundle import DESCRIPTION, read_network_info
from labelloop.train import export
from labelloop.train.backbone import build, classifier
from labelloop.train.frozen import Frozen, write_flipped_onnx
from labelloop.train.parity import ONNX, TORCHSCRIPT, WEIGHTS, parity, served_network
from labelloop.train.recipes.base import Candidate, Material
from labelloop.train.weights import difference
from labelloop.types import TrainSettings


def write_bundle(candidate: Candidate, material: Material, directory: Path) -> NetworkInfo:
    """Write a bundle into ``directory`` (emptied first), ``model.json`` last.

    Raises TrainingError when the network cannot be exported, or when what would be served is not what was trained
    (labelloop.train.parity).
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    spec, dataset = material.pixels.spec, material.dataset
    _write_weights(candidate, material, directory / WEIGHTS)
    if candidate.frozen is None:
        _export_whole(candidate, spec, directory)
    else:
        _export_head(candidate.frozen, classifier(candidate.model), spec, directory)
    info = NetworkInfo(
        classes=dataset.classes,
        choice=dataset.choice,
        backbone=material.settings.backbone,
        recipe=candidate.recipe,
        picture=spec,
        files={name: sha256(directory / name) for name in (WEIGHTS, TORCHSCRIPT, ONNX)},
        parity=parity(candidate, material, directory),
        flips=candidate.flips,
        temperature=candidate.temperature,
        thresholds=_thresholds(candidate, dataset.classes),
    )
    (directory / DESCRIPTION).write_text(info.to_json())
    return info


def _thresholds(candidate: Candidate, classes: Sequence[str]) -> dict[str, float]:
    return {} if candidate.thresholds is None else dict(zip(classes, candidate.thresholds.tolist(), strict=True))


def _write_weights(candidate: Candidate, material: Material, path: Path) -> None:
    facts = {
        "backbone": material.settings.backbone,
        "classes": material.dataset.classes,
        "kind": material.dataset.choice,
        "recipe": candidate.recipe,
    }
    state = {name: tensor.contiguous() for name, tensor in candidate.model.state_dict().items()}
    save_file(state, path, {"labelloop": json.dumps(facts)})  # one entry: the order of several is left to chance


def _export_whole(candidate: Candidate, spec: PictureSpec, directory: Path) -> None:
    example, path = torch.zeros(2, 3, spec.height, spec.width), directory / ONNX
    export.write_torchscript(served_network(candidate, candidate.model), example, directory / TORCHSCRIPT)
    export.write_onnx(candidate.model, example, path, export.LOGITS)
    if candidate.flips:
        write_flipped_onnx(path, path, export.LOGITS)


def _export_head(frozen: Frozen, last: nn.Linear, spec: PictureSpec, directory: Path) -> None:
    example = torch.zeros(2, 3, spec.height, spec.width)
    whole = nn.Sequential(export.read_torchscript(frozen.torchscript), last).eval()
    export.write_torchscript(whole, example, directory / TORCHSCRIPT)
    weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
    export.append_linear(frozen.onnx, weight, bias, directory / ONNX)


def load_network(bundle: Path) -> nn.Module:
    """Make the network of ``bundle`` with its weights (CPU, eval mode); its logits are the ones that are served.

    Raises BundleError when a file is missing or damaged, TrainingError when timm does not know the network.
    """
    info = read_network_info(bundle)
    torch.set_num_threads(1)  # as in training: two threads on shared cores wait for each other
    with torch.random.fork_rng(devices=[]):  # the weights that are drawn here are overwritten
        model = build(_as_trained(info), len(info.classes))
    model.load_state_dict(_state(bundle, model))
    if info.flips:
        from labelloop.train.frozen import Flipped

        model = Flipped(model)
    return model.eval()


def _as_trained(info: NetworkInfo) -> TrainSettings:
    size = info.picture.height if info.picture.height == info.picture.width else 0
    return TrainSettings(
        backbone=info.backbone,
        weights="none",
        image_size=size,
        recipes=(info.recipe,),
        epochs=0,
        batch_size=0,
        learning_rate=0,
        seed=0,
    )


def _state(bundle: Path, model: nn.Module) -> dict[str, torch.Tensor]:
    try:
        state: dict[str, torch.Tensor] = load_file(bundle / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"bundle {bundle.name}: {WEIGHTS} could not be read; publish it again") from error
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} != expected:
        raise BundleError(
            f"bundle {bundle.name}: {WEIGHTS} is not of the network in {DESCRIPTION} ({difference(state, model)})"
        )
    return state
