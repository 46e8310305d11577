"""Small real bundles: an ONNX network that tells pictures apart by their colour, made without torch."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from labelloop.bundle_info import NetworkInfo, PictureSpec
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.store import Store
from labelloop.models.versions import VersionRecord, Versions
from labelloop.types import Choice, ProjectKey

COLOURS = ("red", "green", "blue")
"""Classes of the bundles: which of the three channels is brightest."""

SPEC = PictureSpec(height=8, width=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), interpolation="bilinear")


def picture(colour: str, size: tuple[int, int] = (12, 10), form: str = "PNG") -> bytes:
    """Encode a picture of one colour: any name Pillow knows."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, form)
    return stream.getvalue()


def checked(bundle: Path) -> NetworkInfo:
    """Check a bundle of image classification, and give its description."""
    info = check_bundle(bundle)
    assert isinstance(info, NetworkInfo)
    return info


def make_bundle(
    directory: Path,
    *,
    classes: tuple[str, ...] = COLOURS,
    choice: Choice = "single",
    gain: float = 4.0,
    torchscript: bool = False,
) -> NetworkInfo:
    """Write a bundle of ``model.onnx`` and ``model.json``: three classes, one for each of red, green and blue.

    The logit of a class is ``gain`` times the mean of its channel, minus half of that with choice ``multiple``. With
    ``torchscript``, which takes torch, it holds ``model.ts.pt`` as well.
    """
    directory.mkdir(parents=True, exist_ok=True)
    bias = -gain / 2 if choice == "multiple" else 0.0
    onnx.save(_network(gain, bias), directory / "model.onnx")
    if torchscript:
        _write_torchscript(directory / "model.ts.pt", gain, bias)
    written = sorted(file for file in directory.glob("model.*") if file.name != "model.json")
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in written}
    info = NetworkInfo(classes, choice, "head", files, backbone="colour", picture=SPEC, parity={"model.onnx": 0.0})
    (directory / "model.json").write_text(info.to_json())
    return info


def _network(gain: float, bias: float) -> onnx.ModelProto:
    weights = np.eye(3, dtype=np.float32) * np.float32(gain)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["pictures"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["features"]),
            helper.make_node("Gemm", ["features", "weights", "bias"], ["logits"], transB=1),
        ],
        "colour",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 3, SPEC.height, SPEC.width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.full(3, bias, dtype=np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model


def _write_torchscript(path: Path, gain: float, bias: float) -> None:
    import torch
    from torch import nn

    from labelloop.train.export import write_torchscript

    last = nn.Linear(3, 3)
    with torch.no_grad():
        last.weight.copy_(gain * torch.eye(3))
        last.bias.fill_(bias)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), last).eval()
    write_torchscript(model, torch.zeros(2, 3, SPEC.height, SPEC.width), path)


def publish_bundle(
    store: Store, project: ProjectKey, workdir: Path, *, run: str, champion: bool = True, **form: Any
) -> str:
    """Publish a bundle made by ``make_bundle(**form)`` as the version of a run, and make it champion."""
    make_bundle(workdir / run, **form)
    versions = Versions(store, project)
    version = versions.claim(run)
    record = VersionRecord(version, run, "head", None, "2026-01-01T00:00:00+00:00", promoted=champion, verdict="made")
    versions.publish(version, workdir / run, record)
    if champion:
        pointer = ChampionPointer(store, project)
        pointer.promote(version, pointer.take_fence())
    return version
