"""A candidate as a bundle, and its network back: the files that are published and served (docs/bundle.md)."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from labelloop.bundle_info import HEAD, INT8_BACKBONE, INT8_MODEL, NetworkInfo
from labelloop.errors import BundleError
from labelloop.files import link_kept, sha256
from labelloop.models.bundle import DESCRIPTION, read_network_info
from labelloop.train import export
from labelloop.train.backbone import build, classifier
from labelloop.train.frozen import Frozen, write_flipped_onnx
from labelloop.train.int8 import whole_network
from labelloop.train.parity import ONNX, TORCHSCRIPT, WEIGHTS, head_parity, parity, served_network
from labelloop.train.recipes.base import Candidate, Material
from labelloop.train.weights import State, difference
from labelloop.types import TrainSettings


def write_bundle(candidate: Candidate, material: Material, directory: Path) -> NetworkInfo:
    """Write a bundle into ``directory`` (emptied first), ``model.json`` last.

    Where only the last layer is new it is that beside the backbone's files, which are linked. Raises TrainingError when
    the network cannot be exported, or when what would be served is not what was trained (labelloop.train.parity).
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    dataset, frozen, int8 = material.dataset, candidate.frozen, None
    if frozen is None:
        _export_whole(candidate, material, directory)
        files = {name: sha256(directory / name) for name in (WEIGHTS, TORCHSCRIPT, ONNX)}
        near = parity(candidate, material, directory)
        int8 = whole_network(candidate, material, directory)
        if int8 is not None and int8.served:
            files[INT8_MODEL] = sha256(directory / INT8_MODEL)
    else:
        _write_head(candidate, material, frozen, directory)
        files = {HEAD: sha256(directory / HEAD), **frozen.files}
        near = head_parity(candidate, material, frozen, directory)
        if candidate.int8 is not None:
            small, int8 = candidate.int8
            if int8.served:
                link_kept(small.onnx, directory / INT8_BACKBONE)
                files |= small.files
    info = NetworkInfo(
        classes=dataset.classes,
        choice=dataset.choice,
        backbone=material.settings.backbone,
        recipe=candidate.recipe,
        picture=material.pixels.spec,
        files=files,
        parity=near,
        flips=candidate.flips,
        temperature=candidate.temperature,
        thresholds=_thresholds(candidate, dataset.classes),
        features=frozen.hash if frozen else "",
        int8=int8,
    )
    (directory / DESCRIPTION).write_text(info.to_json())
    return info


def _thresholds(candidate: Candidate, classes: Sequence[str]) -> dict[str, float]:
    return {} if candidate.thresholds is None else dict(zip(classes, candidate.thresholds.tolist(), strict=True))


def _facts(candidate: Candidate, material: Material) -> dict[str, str]:
    facts = {
        "backbone": material.settings.backbone,
        "classes": material.dataset.classes,
        "kind": material.dataset.choice,
        "recipe": candidate.recipe,
    }
    return {"labelloop": json.dumps(facts)}  # one entry: the order of several is left to chance


def _export_whole(candidate: Candidate, material: Material, directory: Path) -> None:
    spec, path = material.pixels.spec, directory / ONNX
    example = torch.zeros(2, 3, spec.height, spec.width)
    state = {name: tensor.contiguous() for name, tensor in candidate.model.state_dict().items()}
    (directory / WEIGHTS).write_bytes(save(state, _facts(candidate, material)))  # save_file lets nobody else read it
    export.write_torchscript(served_network(candidate, candidate.model), example, directory / TORCHSCRIPT)
    export.write_onnx(candidate.model, example, path, export.LOGITS)
    if candidate.flips:
        write_flipped_onnx(path, path, export.LOGITS)


def _write_head(candidate: Candidate, material: Material, frozen: Frozen, directory: Path) -> None:
    last = classifier(candidate.model)
    layer = {"weight": last.weight.detach().contiguous(), "bias": last.bias.detach().contiguous()}
    (directory / HEAD).write_bytes(save(layer, _facts(candidate, material)))
    for name in frozen.files:
        link_kept(frozen.directory / name, directory / name)


def open_logits(bundle: Path, info: NetworkInfo) -> Callable[[export.Array], export.Array]:
    """Open a bundle's ONNX file, and give what makes logits (n, classes) of pictures (n, 3, height, width).

    Several threads may ask it at a time. A head's is asked with its backbone. Raises BundleError.
    """
    network = export.session(bundle / ("backbone.onnx" if info.features else ONNX))

    def run(images: export.Array) -> export.Array:
        found: export.Array = network.run(None, {export.IMAGES: images})[0]
        return found

    if not info.features:
        return run
    head = _read(bundle, HEAD)
    weight, bias = head["weight"].numpy(), head["bias"].numpy()

    def logits(images: export.Array) -> export.Array:
        rows = (run(images) + run(np.ascontiguousarray(images[..., ::-1]))) / 2 if info.flips else run(images)
        found: export.Array = rows @ weight.T + bias
        return found

    return logits


def load_network(bundle: Path) -> nn.Module:
    """Make the network of ``bundle`` with its weights (CPU, eval mode); its logits are the ones that are served.

    Raises BundleError when a file is missing or damaged, TrainingError when timm does not know the network.
    """
    info = read_network_info(bundle)
    torch.set_num_threads(1)  # as in training: two threads on shared cores wait for each other
    with torch.random.fork_rng(devices=[]):  # the weights that are drawn here are overwritten
        model = build(_as_trained(info), len(info.classes))
    model.load_state_dict(_state(bundle, info, model))
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


def _state(bundle: Path, info: NetworkInfo, model: nn.Module) -> State:
    state = _read(bundle, "backbone.safetensors" if info.features else WEIGHTS)
    if info.features:
        last, head = classifier(model), _read(bundle, HEAD)
        for name, parameter in model.named_parameters():
            if parameter is last.weight or parameter is last.bias:
                state[name] = head["weight" if parameter is last.weight else "bias"]
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} != expected:
        raise BundleError(
            f"bundle {bundle.name}: its weights are not of the network in {DESCRIPTION} ({difference(state, model)})"
        )
    return state


def _read(bundle: Path, name: str) -> State:
    try:
        state: State = load_file(bundle / name)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"bundle {bundle.name}: {name} could not be read; publish it again") from error
    return state
