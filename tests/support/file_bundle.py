"""Bundles whose files hold any bytes: right in everything but the network, and written in no time."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelloop.bundle_info import BACKBONES, HEAD, NetworkInfo, PictureSpec

SPEC = PictureSpec(height=32, width=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
INFO = NetworkInfo(("cat", "dog"), "single", "head", backbone="test_resnet", picture=SPEC)


def write_bundle(directory: Path, content: bytes = b"network", **changes: Any) -> Path:
    """Write a whole bundle around ``content``; ``changes`` go into its description."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: name.encode() + content for name in ("model.onnx", "model.safetensors", "model.ts.pt")}
    for name, data in weights.items():
        (directory / name).write_bytes(data)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in weights.items()}
    (directory / "model.json").write_text(replace(INFO, **({"files": hashes} | changes)).to_json())
    (directory / "metrics.json").write_text("{}")
    return directory


def write_head(directory: Path, head: bytes = b"head", backbone: bytes = b"network", **changes: Any) -> Path:
    """Write the same of a head, whose backbone's files are those of all heads with this ``backbone``."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {HEAD: head, **{name: name.encode() + backbone for name in BACKBONES}}
    for name, data in weights.items():
        (directory / name).write_bytes(data)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in weights.items()}
    described = replace(INFO, **({"files": hashes, "features": hashlib.sha256(backbone).hexdigest()} | changes))
    (directory / "model.json").write_text(described.to_json())
    (directory / "metrics.json").write_text("{}")
    return directory
