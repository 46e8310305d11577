"""Whether what is served is what was trained: a bundle's files against torch, its pictures against training's."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn

from labelloop import pictures
from labelloop.bundle_info import HEAD, PictureSpec
from labelloop.errors import TrainingError
from labelloop.train import export
from labelloop.train.backbone import classifier
from labelloop.train.dataset import Sample
from labelloop.train.features import FeatureCache
from labelloop.train.frozen import Flipped, Frozen
from labelloop.train.pixels import PixelCache
from labelloop.train.recipes.base import Candidate, Material


def normalised(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Turn uint8 (n, height, width, 3) into the network's float32 (n, 3, height, width); mean, std: (3, 1, 1)."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


ONNX, TORCHSCRIPT, WEIGHTS = "model.onnx", "model.ts.pt", "model.safetensors"
PICTURE = "picture"
"""The entry that is no file: how far apart training's and serving's pictures are."""

MOST_LOGIT = 1e-3
MOST_GREY = 1.0
_COMPARED = 8

Array = npt.NDArray[np.float32]


def parity(candidate: Candidate, material: Material, directory: Path) -> dict[str, float]:
    """Measure a bundle's files on pictures of the run, prepared from their files as an inference container does it.

    Gives each file's largest difference of a logit from the trained network's, and under ``picture`` the mean
    difference of a colour value from training's, in grey levels of 0 to 255. Raises TrainingError where a logit is off
    by more than 0.001, or the pictures by more than 1.
    """
    samples = spread(material.dataset.validation + material.dataset.train)
    images = _served(samples, material.pixels.spec)
    return _near(_files(candidate, images, directory), material) | {
        PICTURE: same_pictures(samples, images, material.pixels)
    }


def head_parity(candidate: Candidate, material: Material, frozen: Frozen, directory: Path) -> dict[str, float]:
    """Measure a head's file on features that are at hand: its backbone's files were measured when that was frozen.

    Gives what ``parity`` does, for the backbone's files the largest difference of a feature. Pictures are compared as
    far as training saw them: where their features were at hand it opened none. Raises TrainingError.
    """
    samples = spread(material.dataset.validation + material.dataset.train)
    rows = FeatureCache(frozen, material.pixels, material.cache_dir, material.opens).of(samples, material.progress)
    head = load_file(directory / HEAD)
    with torch.inference_mode():
        expected = classifier(candidate.model)(torch.from_numpy(rows)).numpy()
    given = rows @ head["weight"].numpy().T + head["bias"].numpy()
    near = _near({HEAD: float(np.abs(given - expected).max())}, material)
    seen = [sample for sample in samples if material.pixels.has(sample)]
    same = {PICTURE: same_pictures(seen, _served(seen, material.pixels.spec), material.pixels)} if seen else {}
    return {**frozen.parity, **near, **same}


def _served(samples: Sequence[Sample], spec: PictureSpec) -> Array:
    """Prepare the files of samples as a server does it: (n, 3, height, width)."""
    return np.stack([pictures.prepare(sample.path.read_bytes(), spec) for sample in samples])


def _near(measured: dict[str, float], material: Material) -> dict[str, float]:
    """Give the differences of logits back; raises TrainingError where one is too large."""
    for name, difference in measured.items():
        if not difference <= MOST_LOGIT:
            raise TrainingError(
                f"{name} of backbone {material.settings.backbone!r} gives logits that differ from the trained "
                f"network's by {difference:.2g} (allowed: {MOST_LOGIT:g}); choose another backbone"
            )
    return measured


def same_pictures(samples: Sequence[Sample], images: Array, pixels: PixelCache) -> float:
    """Give the mean difference of prepared pictures from those that training saw, in grey levels of 255.

    Raises TrainingError where that is more than 1.
    """
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (pixels.spec.mean, pixels.spec.std))
    # From the cache of pixels, normalised by torch, as a training does it.
    trained: Array = normalised(torch.from_numpy(pixels.many(samples)), mean, std).numpy()
    apart = grey_levels(trained, images, pixels.spec)
    if not apart <= MOST_GREY:
        raise TrainingError(
            f"training saw other pictures than will be served: {apart:.2g} grey levels apart in the mean "
            f"(allowed: {MOST_GREY:g}); delete the folder of cached pixels below MODEL_DIR and train again"
        )
    return apart


def grey_levels(one: Array, other: Array, spec: PictureSpec) -> float:
    """Give the mean difference of two batches of prepared pictures (n, 3, height, width), in grey levels."""
    std = np.asarray(spec.std, dtype=np.float32)[:, None, None]
    return float(np.abs((one - other) * std).mean() * 255)


def _files(candidate: Candidate, images: Array, directory: Path) -> dict[str, float]:
    expected = export.run_torch(served_network(candidate, candidate.model), images)
    given = {
        ONNX: export.run_onnx(directory / ONNX, images),
        TORCHSCRIPT: export.run_torch(export.read_torchscript(directory / TORCHSCRIPT), images),
        WEIGHTS: export.run_torch(served_network(candidate, _reread(candidate.model, directory / WEIGHTS)), images),
    }
    return {name: float(np.abs(logits - expected).max()) for name, logits in given.items()}


def served_network(candidate: Candidate, model: nn.Module) -> nn.Module:
    """Give the network whose logits are served, from one like the candidate's: with flips, a mean of two."""
    return Flipped(model).eval() if candidate.flips else model


def _reread(model: nn.Module, path: Path) -> nn.Module:
    again = copy.deepcopy(model)
    again.load_state_dict(load_file(path), strict=True)
    return again


def spread(samples: Sequence[Sample]) -> list[Sample]:
    """Choose a few from the whole list."""
    places = np.linspace(0, len(samples) - 1, min(_COMPARED, len(samples))).round().astype(int)
    return [samples[place] for place in places]
