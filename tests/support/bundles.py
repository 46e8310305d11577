"""Small real bundles: an ONNX network that tells pictures apart by their colour, made without torch."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save_file

from labelloop.bundle_info import HEAD, NetworkInfo, PictureSpec
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


def make_head_bundle(
    directory: Path,
    *,
    classes: tuple[str, ...] = COLOURS,
    choice: Choice = "single",
    gain: float = 4.0,
    torchscript: bool = False,
    flips: bool = False,
) -> NetworkInfo:
    """Write a bundle of a head beside its backbone, whose six features are the means of each channel, left and right.

    The logit of a class is ``gain`` times the mean of its channel on the left, minus half of that with choice
    ``multiple``: with ``flips`` that of the whole picture.
    """
    directory.mkdir(parents=True, exist_ok=True)
    halves = helper.make_node("AveragePool", ["pictures"], ["pooled"], kernel_shape=[8, 4], strides=[8, 4])
    onnx.save(_model([halves, helper.make_node("Flatten", ["pooled"], ["features"])], 6), directory / "backbone.onnx")
    if torchscript:
        _write_torchscript(directory / "backbone.ts.pt", None, 0.0)
    left = np.kron(np.eye(3), [gain, 0]).astype(np.float32)
    bias = np.full(3, -gain / 2 if choice == "multiple" else 0.0, dtype=np.float32)
    save_file({"weight": left, "bias": bias}, directory / HEAD)
    written = sorted((*directory.glob("backbone.*"), directory / HEAD))
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in written}
    info = NetworkInfo(classes, choice, "head", files, backbone="halves", picture=SPEC, flips=flips, features="f" * 64)
    (directory / "model.json").write_text(info.to_json())
    return info


def _network(gain: float, bias: float) -> onnx.ModelProto:
    weights = np.eye(3, dtype=np.float32) * np.float32(gain)
    return _model(
        [
            helper.make_node("GlobalAveragePool", ["pictures"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["features"]),
            helper.make_node("Gemm", ["features", "weights", "bias"], ["logits"], transB=1),
        ],
        3,
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.full(3, bias, dtype=np.float32), "bias"),
        ],
    )


def _model(nodes: list[onnx.NodeProto], width: int, weights: Sequence[onnx.TensorProto] = ()) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 3, SPEC.height, SPEC.width])
    found = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["n", width])
    graph = helper.make_graph(nodes, "colour", [given], [found], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model


def _write_torchscript(path: Path, gain: float | None, bias: float) -> None:
    """Write the same network, or, without a ``gain``, the same backbone."""
    import torch
    from torch import nn

    from labelloop.train.export import write_torchscript

    last = nn.Linear(3, 3)
    if gain is not None:
        with torch.no_grad():
            last.weight.copy_(gain * torch.eye(3))
            last.bias.fill_(bias)
    whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    model = (nn.Sequential(nn.AvgPool2d((8, 4)), nn.Flatten()) if gain is None else whole).eval()
    write_torchscript(model, torch.zeros(2, 3, SPEC.height, SPEC.width), path)


def publish_bundle(
    store: Store,
    project: ProjectKey,
    workdir: Path,
    *,
    run: str,
    champion: bool = True,
    head: bool = False,
    **form: Any,
) -> str:
    """Publish a bundle made by ``make_bundle(**form)`` as the version of a run, and make it champion.

    A ``head`` is made by ``make_head_bundle``.
    """
    (make_head_bundle if head else make_bundle)(workdir / run, **form)
    versions = Versions(store, project)
    version = versions.claim(run)
    record = VersionRecord(version, run, "head", None, "2026-01-01T00:00:00+00:00", promoted=champion, verdict="made")
    versions.publish(version, workdir / run, record)
    if champion:
        pointer = ChampionPointer(store, project)
        pointer.promote(version, pointer.take_fence())
    return version
