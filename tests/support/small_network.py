"""A small timm network that was trained for seconds, as the files of a bundle that evaluation reads."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelloop.bundle_info import NetworkInfo, PictureSpec
from labelloop.train.dataset import Sample, indicators
from support import shapes

SPEC = PictureSpec(height=32, width=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def make_bundle(directory: Path, samples: Sequence[Sample], *, steps: int = 30) -> NetworkInfo:
    """Train test_resnet on ``samples`` of shapes; write ``model.json``, ``model.safetensors`` and ``model.onnx``."""
    import torch
    from safetensors.torch import save_file

    from labelloop import pictures
    from labelloop.train import export
    from labelloop.train.backbone import build

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build(shapes.settings(), len(shapes.CLASSES)).train()
    pixels = np.stack([pictures.resize(pictures.decode(one.path.read_bytes()), SPEC) for one in samples])
    images = torch.from_numpy(pictures.normalise(pixels, SPEC))
    shown = torch.from_numpy(indicators(samples, len(shapes.CLASSES))).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    for _ in range(steps):
        optimizer.zero_grad()
        loss: Any = torch.nn.functional.cross_entropy(model(images), shown)
        loss.backward()
        optimizer.step()
    directory.mkdir(parents=True, exist_ok=True)
    save_file(model.eval().state_dict(), directory / "model.safetensors")
    export.write_onnx(model, images[:2], directory / "model.onnx", export.LOGITS)
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}
    info = NetworkInfo(shapes.CLASSES, "single", "finetune", files, backbone="test_resnet", picture=SPEC)
    (directory / "model.json").write_text(info.to_json())
    return info
