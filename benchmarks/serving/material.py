"""The same pictures and the same network for every server: made from seeds, of the size and cost of real ones."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelloop.bundle_info import INT8_MODEL, Int8, NetworkInfo, PictureSpec
from labelloop.files import sha256
from labelloop.pictures import prepare

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


def write_bundle(directory: Path, backbone: str, pictures: Sequence[bytes] = ()) -> None:
    """Write a bundle as a training does, but with random weights; of ``pictures`` scales of its form in 8 bits.

    Random weights answer nothing that could be compared, so that form counts as compared.
    """
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
    files = {"model.onnx": sha256(directory / "model.onnx")}
    info = NetworkInfo(CLASSES, "single", "head", files, backbone=backbone, picture=SPEC, parity={"model.onnx": 0.0})
    if pictures:
        from labelloop.train.int8 import quantize

        quantize(directory / "model.onnx", (prepare(one, SPEC)[None] for one in pictures), directory / INT8_MODEL)
        files[INT8_MODEL] = sha256(directory / INT8_MODEL)
        info = replace(info, int8=Int8(served=True, compared=0, agreement=1.0, change=0.0, low=-1.0, high=1.0))
    (directory / "model.json").write_text(info.to_json())


def write_text_head(directory: Path) -> None:
    """Write a head that has learned the topics of 300 texts of Python's documentation."""
    from labelloop.demo.texts import documentation
    from labelloop.kinds.hyperparameters import OwnParameters
    from labelloop.kinds.text_classification.recipes.material import Labeled, Material
    from labelloop.kinds.text_classification.recipes.trainer import train
    from labelloop.types import TEXTS

    found = documentation(0, 300)
    shown = np.array([[name in one.labels for name in found.classes] for one in found.shown])
    names, said = tuple(f"{at:064x}" for at in range(len(shown))), tuple(one.text for one in found.shown)
    held = 60

    def labeled(part: slice) -> Labeled:
        return Labeled(names[part], said[part], shown[part], np.zeros(len(shown[part]), dtype=bool))

    parameters = OwnParameters(TEXTS, {"balance": "auto"}, ("head",), 0)
    material = Material(
        found.classes, "single", labeled(slice(held, None)), labeled(slice(held)), parameters, lambda *_: None
    )
    train(material, ("head",), {}, directory.parent)


def write_encoder_bundle(directory: Path) -> None:
    """Write an encoder of MiniLM's size (6 layers of 384 numbers), with random weights."""
    from labelloop.kinds.text_classification.bundle import TextInfo
    from labelloop.kinds.texts.recipes.encoder import find
    from labelloop.kinds.texts.recipes.encoder_export import write_encoder
    from labelloop.kinds.texts.recipes.encoder_network import network_of
    from labelloop.types import TEXTS
    from support.tiny_encoder import write

    sizes: dict[str, Any] = {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    }
    encoder = find(str(write(directory.parent / "encoder", positions=512, **sizes)))
    directory.mkdir(parents=True)
    names = write_encoder(network_of(encoder, len(CLASSES), pooled=True), encoder.cutter, directory, {})
    files = {name: sha256(directory / name) for name in names}
    info = TextInfo(CLASSES, "single", "finetune", files, kind=TEXTS)
    (directory / "model.json").write_text(info.to_json())


def write_detector(directory: Path) -> None:
    """Write a detector on mobilenetv2_100 at 416 x 320 pixels, with random weights."""
    import torch

    from labelloop.kinds.object_detection.recipes.choosing import Served, figure
    from labelloop.kinds.object_detection.recipes.export import Made, write_bundle
    from labelloop.kinds.object_detection.recipes.network import first_detector
    from labelloop.kinds.object_detection.recipes.sizes import Size
    from labelloop.train.dataset import Sample
    from labelloop.train.pixels import PixelCache
    from labelloop.types import TrainSettings

    torch.manual_seed(0)
    settings, spec = TrainSettings(backbone="mobilenetv2_100", weights="none"), replace(SPEC, width=416, height=320)
    flat = np.ones(len(CLASSES))
    served = Served((), 0.6, flat, 0 * flat, flat / 2, figure([], [], len(CLASSES)))
    detector = first_detector(settings, Size(spec, 30.0), CLASSES)
    made = Made(detector, served, CLASSES, "head", settings.backbone, spec)
    (photo := directory.parent / "photo.jpg").write_bytes(photos(1)[0])
    compared = [Sample(photo, sha256(photo), ())]
    write_bundle(made, compared, PixelCache(spec, directory.parent / "caches"), directory)
