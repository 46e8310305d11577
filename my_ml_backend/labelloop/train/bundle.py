"""A candidate as a bundle: the files that are published and served (docs/bundle.md)."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from labelloop.files import sha256
from labelloop.train import export
from labelloop.train.backbone import classifier
from labelloop.train.flips import write_flipped_onnx
from labelloop.train.frozen import Frozen
from labelloop.train.parity import ONNX, TORCHSCRIPT, WEIGHTS, parity, served_network
from labelloop.train.recipes.base import Candidate, Material
from labelloop.types import NetworkInfo, PictureSpec


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
    )
    (directory / "model.json").write_text(info.to_json())
    return info


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
