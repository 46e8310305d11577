"""A backbone that is not trained: exported once, then reused by every head on it.

Beside it: what makes a network give the mean over picture and mirror image.
"""

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import timm
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file, save
from torch import nn

from labelloop import pictures
from labelloop.bundle_info import BACKBONES, PictureSpec
from labelloop.errors import TrainingError
from labelloop.files import keep_sha256, kept_sha256, made_once, sha256
from labelloop.train.backbone import build, classifier, for_features, picture_spec, pre_logits
from labelloop.train.export import (
    FEATURES,
    IMAGES,
    read_torchscript,
    run_onnx,
    run_torch,
    write_onnx,
    write_torchscript,
)
from labelloop.types import TrainSettings

_BOTH = "images.both"
_OF_BOTH = "output.of_both"


class Flipped(nn.Module):
    """Gives the mean of what ``network`` says of the pictures (n, 3, height, width) and of their mirror images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Run the network on both, as one batch of twice the size."""
        both: torch.Tensor = self.network(torch.cat((images, images.flip(-1))))
        straight, mirrored = both.chunk(2)
        return (straight + mirrored) / 2


def write_flipped_onnx(source: Path, path: Path, output: str) -> None:
    """Write the network of ``source`` (images to ``output``, free batch size) so that it averages over flips.

    Done on the graph itself: torch would export the join and the parting for one batch size only, and takes ten times
    as long.
    """
    model = onnx.load(str(source))
    graph = model.graph
    for node in graph.node:
        node.input[:] = [_BOTH if name == IMAGES else name for name in node.input]
        node.output[:] = [_OF_BOTH if name == output else name for name in node.output]
    before, after = list(_joining()), list(_averaging(output))
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        helper.make_tensor(name, TensorProto.INT64, [len(values)], values) for name, values in _CONSTANTS.items()
    )
    del graph.value_info[:]  # sizes of the single batch, which no longer hold
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


_CONSTANTS = {"flips.last": [-1], "flips.first": [-(2**63) + 1], "flips.width": [3]}


def _joining() -> list[onnx.NodeProto]:
    """Append the mirror images to the batch."""
    reverse = ["flips.last", "flips.first", "flips.width", "flips.last"]
    return [
        helper.make_node("Slice", [IMAGES, *reverse], ["flips.mirrored"]),
        helper.make_node("Concat", [IMAGES, "flips.mirrored"], [_BOTH], axis=0),
    ]


def _averaging(output: str) -> list[onnx.NodeProto]:
    """Take the batch apart again: (2 n, numbers) to their mean (n, numbers)."""
    return [
        helper.make_node("Split", [_OF_BOTH], ["flips.straight", "flips.turned"], axis=0, num_outputs=2),
        helper.make_node("Mean", ["flips.straight", "flips.turned"], [output]),
    ]


_FORMAT = 2
"""To be raised where features of the same pictures become others, as when they are decoded or resized differently."""

_FACTS = "backbone.json"
_COMPARED, _BLOCK = 4, 8
MOST_FEATURE = 1e-3
"""How far a feature of a file may be off, as a share of the largest of all."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """The exported backbone: from normalised pictures to ``width`` features. ``hash`` names it by its content.

    ``files`` maps what is in its folder (bundle_info.BACKBONES) to hashes, ``parity`` to how far a feature is off.
    """

    hash: str
    directory: Path
    width: int
    files: Mapping[str, str]
    parity: Mapping[str, float]

    @property
    def onnx(self) -> Path:
        """The ONNX file."""
        return self.directory / next(name for name in self.files if name.endswith(".onnx"))


class _Body(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return pre_logits(self.model, images)


def freeze(model: nn.Module, backbone: str, spec: PictureSpec, cache_dir: Path) -> Frozen:
    """Find the exported form of ``model`` without its last layer in the cache, or export it now.

    What is found is whole: files that are damaged, or fewer than there should be, are exported anew. Raises
    TrainingError where that cannot be done, or a file's features are not the network's, StoreError where they cannot
    be kept.
    """
    name = backbone_hash(model, backbone, spec)
    folder, width = cache_dir / "backbones" / name, classifier(model).in_features
    return made_once(
        folder,
        "an exported backbone",
        lambda: _found(name, folder, width),
        lambda partial: _export(model, backbone, spec, partial),
    )


@lru_cache(maxsize=2)
def frozen_network(settings: TrainSettings, classes: int, cache_dir: Path) -> tuple[Frozen, PictureSpec]:
    """Give what a head looks through by these settings, and what pictures it takes; made once in a process.

    Raises TrainingError and StoreError.
    """
    settings = for_features(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = build(settings, classes)
    spec = picture_spec(model, settings.image_size)
    return freeze(model, settings.backbone, spec, cache_dir), spec


def _found(name: str, folder: Path, width: int) -> Frozen | None:
    try:
        facts = json.loads((folder / _FACTS).read_bytes())
        frozen = Frozen(name, folder, width, facts["files"], facts["parity"])
        whole = {file: kept_sha256(folder / file) for file in BACKBONES} == frozen.files
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if whole:
        used(folder)
    return frozen if whole else None


def used(folder: Path) -> None:
    """Note that somebody uses an exported backbone: those that nobody does are removed (loop/caches.py)."""
    with suppress(OSError):
        os.utime(folder)


def _export(model: nn.Module, backbone: str, spec: PictureSpec, folder: Path) -> None:
    """Write the backbone's files, then how near each is to the network, which is measured here and not for each head.

    The pictures to compare by are drawn: blocks of any colours.
    """
    body, example = _Body(model).eval(), torch.zeros(2, 3, spec.height, spec.width)
    last = {id(parameter) for parameter in classifier(model).parameters()}
    state = {name: one for name, one in model.state_dict(keep_vars=True).items() if id(one) not in last}
    onnx_file, weights, torchscript = (folder / name for name in BACKBONES)
    write_torchscript(body, example, torchscript)
    write_onnx(body, example, onnx_file, FEATURES)
    # save_file lets nobody else read what it writes.
    weights.write_bytes(save({name: tensor.detach().contiguous() for name, tensor in state.items()}))
    again = copy.deepcopy(model)
    again.load_state_dict(load_file(weights), strict=False)
    images = _drawn(spec)
    expected = run_torch(body, images)
    given = {
        onnx_file: run_onnx(onnx_file, images),
        weights: run_torch(_Body(again).eval(), images),
        torchscript: run_torch(read_torchscript(torchscript), images),
    }
    parity = {file.name: float(np.abs(features - expected).max()) for file, features in given.items()}
    for name, difference in parity.items():
        if not difference <= MOST_FEATURE * max(1.0, float(np.abs(expected).max())):
            raise TrainingError(
                f"{name} of backbone {backbone!r} gives features that differ from the network's by {difference:.2g}; "
                "choose another backbone"
            )
    files = {name: sha256(folder / name) for name in BACKBONES}
    for name, known in files.items():
        keep_sha256(folder / name, known)
    (folder / _FACTS).write_text(json.dumps({"files": files, "parity": parity}))


def _drawn(spec: PictureSpec) -> npt.NDArray[np.float32]:
    """Draw pictures, the same each time: normalised, (n, 3, height, width)."""
    across, down = -(-spec.width // _BLOCK), -(-spec.height // _BLOCK)
    colours = np.random.default_rng(0).integers(0, 256, (_COMPARED, down, across, 3), dtype=np.uint8)
    pixels = colours.repeat(_BLOCK, axis=1).repeat(_BLOCK, axis=2)[:, : spec.height, : spec.width]
    return pictures.normalise(pixels, spec)


def backbone_hash(model: nn.Module, backbone: str, spec: PictureSpec) -> str:
    """Hash all that decides a picture's features (hex): network, weights without the last layer, preparation."""
    digest = hashlib.sha256(repr((_FORMAT, timm.__version__, backbone, spec)).encode())
    last = {id(parameter) for parameter in classifier(model).parameters()}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in last:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
