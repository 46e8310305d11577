"""From a detector to ``model.onnx``, with mirror images, calibration and suppression inside."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from labelloop import pictures
from labelloop.bundle_info import PictureSpec
from labelloop.errors import TrainingError
from labelloop.files import sha256
from labelloop.kinds.object_detection.engine import OUTPUTS
from labelloop.kinds.object_detection.info import ONNX, WEIGHTS, DetectorInfo
from labelloop.kinds.object_detection.recipes.choosing import Served
from labelloop.kinds.object_detection.recipes.detecting import FLOOR, MOST, averaged, shares
from labelloop.kinds.object_detection.recipes.network import Detector
from labelloop.models.bundle import DESCRIPTION
from labelloop.train import export
from labelloop.train.dataset import Sample
from labelloop.train.parity import PICTURE, same_pictures
from labelloop.train.pixels import PixelCache
from labelloop.types import BOXES

PLACES, NAMES = "corners of cells", "scores of cells"
"""Of a graph before suppression: float32, (pictures, cells, 4) in shares and (pictures, labels, cells)."""

MOST_APART = 1e-3
"""Difference of a score, or of a side in shares of the picture's, between what was trained and what is served."""


class Whole(nn.Module):
    """All that comes before suppression: corners (n, cells, 4) in shares, calibrated scores (n, labels, cells)."""

    slopes: torch.Tensor
    shifts: torch.Tensor

    def __init__(self, detector: Detector, served: Served, spec: PictureSpec) -> None:
        super().__init__()
        self.detector, self._flips, self._spec = detector, served.flips, spec
        for name, values in (("slopes", served.slopes), ("shifts", served.shifts)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Look at images (n, 3, height, width)."""
        logits, corners = averaged(self.detector, images, self._flips)
        return shares(corners, self._spec), (logits * self.slopes + self.shifts).sigmoid().transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Made:
    """A detector with all that it is served by."""

    detector: Detector
    served: Served
    classes: tuple[str, ...]
    recipe: str
    backbone: str
    spec: PictureSpec


def write_bundle(made: Made, compared: Sequence[Sample], pixels: PixelCache, directory: Path) -> DetectorInfo:
    """Write a bundle into ``directory`` (emptied first), ``model.json`` last.

    ``compared`` are pictures on which what is served is compared with what was trained. Raises TrainingError where the
    detector cannot be exported, or where the two are not the same.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    facts = {"backbone": made.backbone, "classes": made.classes, "learns": BOXES, "recipe": made.recipe}
    state = {name: tensor.contiguous() for name, tensor in made.detector.state_dict().items()}
    save_file(state, directory / WEIGHTS, {"labelloop": json.dumps(facts)})
    whole = Whole(made.detector, made.served, made.spec).eval()
    export.write_onnx(whole, torch.zeros(2, 3, made.spec.height, made.spec.width), directory / ONNX, PLACES, NAMES)
    parity = _parity(made, whole, compared, pixels, directory / ONNX)
    _finish(directory / ONNX, made.served)
    info = DetectorInfo(
        classes=made.classes,
        choice="multiple",
        recipe=made.recipe,
        kind=BOXES,
        files={name: sha256(directory / name) for name in (WEIGHTS, ONNX)},
        backbone=made.backbone,
        picture=made.spec,
        strides=made.detector.strides,
        overlap=made.served.overlap,
        flips=made.served.flips,
        thresholds=dict(zip(made.classes, made.served.thresholds.tolist(), strict=True)),
        parity=parity,
    )
    (directory / DESCRIPTION).write_text(info.to_json())
    return info


def _parity(made: Made, whole: Whole, samples: Sequence[Sample], pixels: PixelCache, path: Path) -> dict[str, float]:
    """Measure how far scores and corners of the exported graph are from the detector's, and pictures from training's.

    The pictures are read from their files and prepared as a server does it. Raises TrainingError.
    """
    images = np.stack([pictures.prepare(sample.path.read_bytes(), made.spec) for sample in samples])
    with torch.inference_mode():
        expected = [one.numpy() for one in whole(torch.from_numpy(images))]
    given = export.session(path).run((PLACES, NAMES), {export.IMAGES: images})
    apart = max(float(np.abs(one - other).max()) for one, other in zip(expected, given, strict=True))
    if not apart <= MOST_APART:
        raise TrainingError(
            f"{ONNX} of backbone {made.backbone!r} gives scores or corners that differ from the trained detector's by "
            f"{apart:.2g} (allowed: {MOST_APART:g}); choose another backbone"
        )
    return {ONNX: apart, PICTURE: same_pictures(samples, images, pixels)}


def _finish(path: Path, served: Served) -> None:
    """Put the suppression of overlapping boxes behind an exported graph, and its calibrated scores."""
    # Nothing is found below the least score that candidates have, whatever its label's calibration makes of that.
    least = (1 / (1 + np.exp(-(np.log(FLOOR / (1 - FLOOR)) * served.slopes + served.shifts)))).min()
    model = onnx.load(str(path))
    suppress(model.graph, served.overlap, float(least))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def suppress(graph: onnx.GraphProto, overlap: float, least: float) -> None:
    """Put suppression behind a graph that gives ``PLACES`` and ``NAMES``: of scores above ``least`` the surest."""
    values: dict[str, npt.NDArray[Any]] = {
        "most": np.array([MOST], dtype=np.int64),
        "overlap": np.array([overlap], dtype=np.float32),
        "least": np.array([least], dtype=np.float32),
        "picture and label": np.array([0, 1], dtype=np.int64),
        "picture and cell": np.array([0, 2], dtype=np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    places, corners, scores = OUTPUTS
    graph.node.extend(
        [
            helper.make_node("NonMaxSuppression", [PLACES, NAMES, "most", "overlap", "least"], ["kept"]),
            helper.make_node("Gather", ["kept", "picture and label"], [places], axis=1),
            helper.make_node("Gather", ["kept", "picture and cell"], ["kept cells"], axis=1),
            helper.make_node("GatherND", [PLACES, "kept cells"], [corners]),
            helper.make_node("GatherND", [NAMES, "kept"], [scores]),
        ]
    )
    graph.ClearField("output")
    shapes: dict[str, list[str | int]] = {places: ["found", 2], corners: ["found", 4], scores: ["found"]}
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64 if name == places else TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
