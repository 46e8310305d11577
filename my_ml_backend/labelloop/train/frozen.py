"""A backbone that is not trained: exported once, then reused by every version of a head on it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import nn

from labelloop.files import whole_folder
from labelloop.train.backbone import classifier, pre_logits
from labelloop.train.export import FEATURES, read_torchscript, write_onnx, write_torchscript
from labelloop.train.flips import Flipped, write_flipped_onnx
from labelloop.types import PictureSpec

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
