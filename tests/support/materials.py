"""What a recipe is given, of the small pictures in shapes.py."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelloop.train.dataset import Dataset
from labelloop.types import TrainSettings
from support import shapes

if TYPE_CHECKING:
    import torch

    from labelloop.train.recipes.base import Candidate, Material


def material(dataset: Dataset, settings: TrainSettings, cache: Path, **more: Any) -> "Material":
    """Make the network of ``settings`` and all else of a run; ``more`` are progress, watch, checkpoints."""
    import torch

    from labelloop.train.backbone import build, picture_spec
    from labelloop.train.dataset import in_order
    from labelloop.train.pixels import PixelCache
    from labelloop.train.recipes.base import Material

    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    start = build(settings, len(dataset.classes))
    pixels = PixelCache(picture_spec(start, settings.image_size), cache)
    return Material(in_order(dataset), settings, start, pixels, cache, **{"progress": lambda *_: None} | more)


def learned(material: "Material") -> "Material":
    """Say that the network's first weights, though drawn at random, were learned: they are then treated gently."""
    return replace(material, settings=replace(material.settings, weights="learned.safetensors"))


def head(material: "Material", **more: Any) -> "Candidate":
    """Give what a head would hand on: the network as it is, with its own logits."""
    import torch

    from labelloop.train.parity import normalised
    from labelloop.train.recipes.base import Candidate

    samples, spec = material.dataset.validation, material.pixels.spec
    logits = np.zeros((0, len(material.dataset.classes)), dtype=np.float32)
    if samples:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
        with torch.inference_mode():
            images = normalised(torch.from_numpy(material.pixels.many(samples)), mean, std)
            logits = material.network()(images).numpy()
    return Candidate("head", material.network(), logits, **more)


def weights(candidate: "Candidate") -> Mapping[str, "torch.Tensor"]:
    """Give a candidate's weights by name."""
    state: Mapping[str, torch.Tensor] = candidate.model.state_dict()
    return state


def difference(one: "Candidate", two: "Candidate") -> float:
    """Give the largest difference between two candidates' weights."""
    pairs = zip(weights(one).values(), weights(two).values(), strict=True)
    return max(float((first.double() - second.double()).abs().max()) for first, second in pairs)


def main() -> None:
    """Train in a process of its own, in ``FOLDER``, until it is killed at its step ``STEP``."""
    from labelloop.train.recipes import finetune

    folder, last = Path(sys.argv[1]), int(sys.argv[2])

    def progress(what: str, done: int, _total: int) -> None:
        if what == "finetune" and done == last:
            os.kill(os.getpid(), signal.SIGKILL)

    told = {"progress": progress, "checkpoints": folder / "checkpoints"}
    finetune.fit(resumable(folder, **told), None)


def resumable(folder: Path, **told: Any) -> "Material":
    """Give a training of 3 epochs, 8 steps each, with pictures enough that validation chooses among the epochs."""
    from labelloop.train.recipes.base import Budget

    data = shapes.dataset(folder / "pictures", train=12, validation=60)
    settings = shapes.settings(("finetune",), epochs=3)
    return material(data, settings, folder / "cache", budget=Budget(fresh_steps=8), **told)


if __name__ == "__main__":
    main()
