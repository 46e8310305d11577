"""A backbone that is not trained: exported once, with test-time flips or without, then reused by every head on it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
import timm
import torch
from onnx import TensorProto, helper
from torch import nn

from labelloop.bundle_info import PictureSpec
from labelloop.files import whole_folder
from labelloop.train.backbone import classifier, pre_logits
from labelloop.train.export import FEATURES, IMAGES, read_torchscript, write_onnx, write_torchscript

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


_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Frozen:
    """The exported backbone: from normalised pictures to ``width`` features. ``hash`` names it by its content."""

    hash: str
    directory: Path
    width: int

    @property
    def onnx(self) -> Path:
        """The ONNX file."""
        return self.directory / "backbone.onnx"

    @property
    def torchscript(self) -> Path:
        """The TorchScript file."""
        return self.directory / "backbone.ts.pt"


class _Body(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return pre_logits(self.model, images)


def freeze(model: nn.Module, backbone: str, spec: PictureSpec, cache_dir: Path) -> Frozen:
    """Find the exported form of ``model`` without its last layer in the cache, or export it now."""
    name = backbone_hash(model, backbone, spec)
    frozen = Frozen(name, cache_dir / "backbones" / name, classifier(model).in_features)
    if not frozen.directory.is_dir():
        with whole_folder(frozen.directory) as partial:
            body, example = _Body(model).eval(), torch.zeros(2, 3, spec.height, spec.width)
            write_torchscript(body, example, partial / "backbone.ts.pt")
            write_onnx(body, example, partial / "backbone.onnx", FEATURES)
    return frozen


def with_flips(frozen: Frozen, spec: PictureSpec) -> Frozen:
    """Find, or make from ``frozen``, the backbone whose features are the mean over picture and mirror image."""
    flipped = Frozen(frozen.hash, frozen.directory.with_name(f"{frozen.hash}-flips"), frozen.width)
    if not flipped.directory.is_dir():
        with whole_folder(flipped.directory) as partial:
            body = Flipped(read_torchscript(frozen.torchscript)).eval()
            write_torchscript(body, torch.zeros(2, 3, spec.height, spec.width), partial / "backbone.ts.pt")
            write_flipped_onnx(frozen.onnx, partial / "backbone.onnx", FEATURES)
    return flipped


def backbone_hash(model: nn.Module, backbone: str, spec: PictureSpec) -> str:
    """Hash all that decides a picture's features (hex): network, weights without the last layer, preparation."""
    digest = hashlib.sha256(repr((_FORMAT, timm.__version__, backbone, spec)).encode())
    last = {id(parameter) for parameter in classifier(model).parameters()}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in last:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
