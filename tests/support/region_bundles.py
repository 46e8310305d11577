"""Small real bundles that find regions: a CRF that finds persons, and a network that draws a box by colour."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from labelloop.kinds.named_entity_recognition.engine import CRF, write_crf
from labelloop.kinds.named_entity_recognition.info import SpanInfo
from labelloop.kinds.named_entity_recognition.recipes.base import Labeled
from labelloop.kinds.named_entity_recognition.recipes.head import learn
from labelloop.kinds.object_detection.engine import OUTPUTS
from labelloop.kinds.object_detection.info import ONNX, DetectorInfo
from labelloop.types import BOXES, SPANS, Region, Span
from support.bundles import SPEC

PEOPLE = ("Ada Lovelace", "Bob Smith", "Cleo", "Ren\u00e9 M\u00fcller")
PLACES = ("Oslo", "Berlin", "Norway")


def make_span_bundle(folder: Path) -> Path:
    """Learn persons and places from a few sentences, in a fraction of a second; every find is shown from .3 on."""
    folder.mkdir(parents=True, exist_ok=True)
    write_crf(folder / CRF, replace(learn([_labeled(number) for number in range(24)]), slope=1.0, shift=0.0))
    info = SpanInfo(
        ("PER", "LOC"), "multiple", "head", _hashes(folder, CRF), kind=SPANS, thresholds={"PER": 0.3, "LOC": 0.3}
    )
    (folder / "model.json").write_text(info.to_json())
    return folder


def _labeled(number: int) -> Labeled:
    person, place = PEOPLE[number % len(PEOPLE)], PLACES[number % len(PLACES)]
    text = f"\U0001f600 {person} met us in {place}." if number % 3 else f"In {place}, {person} lives."
    found = tuple(
        Region(label, Span(text.index(name), text.index(name) + len(name)))
        for label, name in (("PER", person), ("LOC", place))
    )
    return Labeled(f"{number:064x}", text, found)


def make_box_bundle(folder: Path) -> Path:
    """Write a network that draws one box in each picture, at a place and of a label that its colours tell."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_network(), folder / ONNX)
    info = DetectorInfo(
        ("cell", "disk"), "multiple", "head", _hashes(folder, ONNX), kind=BOXES, backbone="colour", picture=SPEC,
        strides=(8,), overlap=0.5, parity={ONNX: 0.0}, thresholds={"cell": 0.3, "disk": 0.3},
    )  # fmt: skip
    (folder / "model.json").write_text(info.to_json())
    return folder


def _network() -> onnx.ModelProto:
    constants = {
        "axes": np.array([2, 3]),
        "first": np.array([1]),
        "zero": np.array(0),
        "one": np.array(1),
        "picked": np.array([0, 1, 1, 2]),
        "slopes": np.array([0.2, 0.2, 0.3, 0.3], dtype=np.float32),
        "shifts": np.array([0.0, 0.0, 0.6, 0.6], dtype=np.float32),
        "half": np.array(0.5, dtype=np.float32),
        "two": np.array([0, 1]),
    }
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["means"], keepdims=0),
        helper.make_node("Gather", ["means", "picked"], ["chosen"], axis=1),
        helper.make_node("Mul", ["chosen", "slopes"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shifts"], ["corners"]),
        helper.make_node("Gather", ["means", "zero"], ["red"], axis=1),
        helper.make_node("Mul", ["red", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "half"], ["scores"]),
        helper.make_node("Gather", ["means", "two"], ["redgreen"], axis=1),
        helper.make_node("ArgMax", ["redgreen"], ["label"], axis=1, keepdims=1),
        helper.make_node("Shape", ["red"], ["shape"]),
        helper.make_node("Squeeze", ["shape"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["numbers"]),
        helper.make_node("Unsqueeze", ["numbers", "first"], ["column"]),
        helper.make_node("Concat", ["column", "label"], ["places"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "boxes",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SPEC.height, SPEC.width])],
        [
            helper.make_tensor_value_info(OUTPUTS[0], TensorProto.INT64, ["m", 2]),
            helper.make_tensor_value_info(OUTPUTS[1], TensorProto.FLOAT, ["m", 4]),
            helper.make_tensor_value_info(OUTPUTS[2], TensorProto.FLOAT, ["m"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _hashes(folder: Path, *names: str) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
