"""The same pictures and the same network for every server: made from seeds, of the size and cost of real ones."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from labelloop.bundle_info import NetworkInfo, PictureSpec

CLASSES = tuple(f"class {number}" for number in range(10))
SPEC = PictureSpec(224, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")


def photos(count: int, width: int = 640, height: int = 480) -> list[bytes]:
    """Make JPEG files of about 100 kB: soft colours, edges and grain, as a camera's."""
    return [_photo(np.random.default_rng(seed), width, height) for seed in range(count)]


def _photo(random: np.random.Generator, width: int, height: int) -> bytes:
    soft = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height))
    fine = Image.fromarray(random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
    blended = Image.blend(soft, fine.resize((width, height)), 0.3)
    grain = np.asarray(blended, dtype=np.float32) + random.normal(0, 7, (height, width, 1))
    stream = io.BytesIO()
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def write_bundle(directory: Path, backbone: str) -> None:
    """Write a bundle as a training does, but with random weights."""
    import torch

    from labelloop.train.backbone import build
    from labelloop.train.export import LOGITS, write_onnx
    from labelloop.types import TrainSettings

    directory.mkdir(parents=True)
    torch.manual_seed(0)
    network = build(
        TrainSettings(
            backbone=backbone,
            weights="none",
            image_size=SPEC.height,
            recipes=(),
            epochs=1,
            batch_size=1,
            learning_rate=0.1,
            seed=0,
        ),
        len(CLASSES),
    )
    write_onnx(network, torch.zeros(2, 3, SPEC.height, SPEC.width), directory / "model.onnx", LOGITS)
    files = {"model.onnx": hashlib.sha256((directory / "model.onnx").read_bytes()).hexdigest()}
    info = NetworkInfo(CLASSES, "single", "head", files, backbone=backbone, picture=SPEC, parity={"model.onnx": 0.0})
    (directory / "model.json").write_text(info.to_json())
