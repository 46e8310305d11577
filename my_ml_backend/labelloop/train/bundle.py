"""A candidate as a bundle: the files that are published and served (docs/bundle.md)."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from labelloop import pictures
from labelloop.errors import TrainingError
from labelloop.train import export
from labelloop.train.backbone import classifier
from labelloop.train.frozen import Frozen
from labelloop.train.recipes.base import Candidate, Material
from labelloop.types import BundleInfo, PictureSpec

_ONNX, _TORCHSCRIPT, _WEIGHTS = "model.onnx", "model.ts.pt", "model.safetensors"
_PARITY = 1e-3
_COMPARED = 8


def write_bundle(candidate: Candidate, material: Material, directory: Path) -> BundleInfo:
    """Write a bundle into ``directory`` (emptied first), ``model.json`` last.

    Raises TrainingError when the network cannot be exported, or when a file's logits on the run's own pictures differ
    from torch's by more than 0.001 (for logits beyond 1: relative to the largest).
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    spec, dataset = material.pixels.spec, material.dataset
    _write_weights(candidate, material, directory / _WEIGHTS)
    if candidate.frozen is None:
        _export_whole(candidate.model, spec, directory)
    else:
        _export_head(candidate.frozen, classifier(candidate.model), spec, directory)
    info = BundleInfo(
        classes=dataset.classes,
        kind=dataset.kind,
        backbone=material.settings.backbone,
        recipe=candidate.recipe,
        picture=spec,
        files={name: _sha256(directory / name) for name in (_WEIGHTS, _TORCHSCRIPT, _ONNX)},
        parity=_parity(candidate, material, directory),
    )
    (directory / "model.json").write_text(info.to_json())
    return info


def _write_weights(candidate: Candidate, material: Material, path: Path) -> None:
    facts = {
        "backbone": material.settings.backbone,
        "classes": material.dataset.classes,
        "kind": material.dataset.kind,
        "recipe": candidate.recipe,
    }
    state = {name: tensor.contiguous() for name, tensor in candidate.model.state_dict().items()}
    save_file(state, path, {"labelloop": json.dumps(facts)})  # one entry: the order of several is left to chance


def _export_whole(model: nn.Module, spec: PictureSpec, directory: Path) -> None:
    example = torch.zeros(2, 3, spec.height, spec.width)
    export.write_torchscript(model, example, directory / _TORCHSCRIPT)
    export.write_onnx(model, example, directory / _ONNX, export.LOGITS)


def _export_head(frozen: Frozen, last: nn.Linear, spec: PictureSpec, directory: Path) -> None:
    example = torch.zeros(2, 3, spec.height, spec.width)
    whole = nn.Sequential(export.read_torchscript(frozen.torchscript), last).eval()
    export.write_torchscript(whole, example, directory / _TORCHSCRIPT)
    weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
    export.append_linear(frozen.onnx, weight, bias, directory / _ONNX)


def _parity(candidate: Candidate, material: Material, directory: Path) -> dict[str, float]:
    samples = (material.dataset.validation + material.dataset.train)[:_COMPARED]
    images = pictures.normalise(material.pixels.many(samples), material.pixels.spec)
    expected = export.run_torch(candidate.model, images)
    given = {
        _ONNX: export.run_onnx(directory / _ONNX, images),
        _TORCHSCRIPT: export.run_torch(export.read_torchscript(directory / _TORCHSCRIPT), images),
    }
    parity = {name: float(np.abs(logits - expected).max()) for name, logits in given.items()}
    allowed = _PARITY * max(1.0, float(np.abs(expected).max()))
    for name, difference in parity.items():
        if not difference <= allowed:
            raise TrainingError(
                f"{name} of backbone {material.settings.backbone!r} gives logits that differ from torch's "
                f"by {difference:.2g} (allowed: {allowed:.2g}); choose another backbone"
            )
    return parity


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
