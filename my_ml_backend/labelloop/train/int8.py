"""A network in whole numbers of 8 bits: made of its ONNX file, and served where it answers as the network itself does.

Weights by channel and activations by tensor, with scales from pictures of the training side. Whether that is good
enough is measured on pictures that nothing was learned from.
"""

import logging
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from labelloop.bundle_info import INT8_MODEL, Int8
from labelloop.files import multiplies_bytes
from labelloop.pictures import normalise
from labelloop.train import metrics
from labelloop.train.dataset import Sample
from labelloop.train.export import IMAGES, Array, session
from labelloop.train.intervals import paired_difference
from labelloop.train.pixels import PixelCache
from labelloop.train.recipes.base import Candidate, Material
from labelloop.train.selection import Validation
from labelloop.types import Choice, TrainSettings, chunks

_log = logging.getLogger(__name__)

LEAST = 100
"""Validation pictures below which it is not tried: a single answer would be more than a point of accuracy."""

MOST_LOST = 0.005
"""How much accuracy it may cost: half a point."""

_CALIBRATED, _BATCH = 64, 8


def whole_network(candidate: Candidate, material: Material, directory: Path) -> Int8 | None:
    """Try the form in 8 bits of a bundle's ``model.onnx``; its file stays beside that where it is to be served.

    None where it is not tried: switched off, too few validation pictures, or no processor that it would be quick on.
    """
    validation = material.dataset.validation
    if not is_tried(material.settings, len(validation)):
        return None
    target = directory / INT8_MODEL
    quantize(directory / "model.onnx", calibration(material.dataset.train, material.pixels), target)
    given = _logits(target, validation, material.pixels)
    found = compare(candidate, Validation.of(material.dataset), given)
    if not found.served:
        target.unlink()
    return found


def is_tried(settings: TrainSettings, validation: int) -> bool:
    """Whether a form in 8 bits is wanted and can be judged, with so many validation pictures."""
    return settings.int8 == "auto" and validation >= LEAST and multiplies_bytes()


def compare(candidate: Candidate, validation: Validation, given: Array) -> Int8:
    """Compare the logits that the form in 8 bits has ``given`` (pictures, classes) with the candidate's."""
    truth = validation.truth
    exact, other = (_answers(logits, validation.choice, candidate) for logits in (candidate.logits, given))
    right, still = metrics.correct(truth, exact), metrics.correct(truth, other)
    lost, gained, items = int((right & ~still).sum()), int((still & ~right).sum()), len(truth)
    low, high = paired_difference(lost, gained, items)
    change = (gained - lost) / items
    found = Int8(
        served=change >= -MOST_LOST,
        compared=items,
        agreement=float((exact == other).all(axis=1).mean()),
        change=change,
        low=low,
        high=high,
    )
    _log.info("%s", found.told())
    return found


def _answers(logits: Array, choice: Choice, candidate: Candidate) -> metrics.Indicators:
    return metrics.given(metrics.probabilities(logits, choice), choice, candidate.thresholds)


def calibration(samples: Sequence[Sample], pixels: PixelCache) -> Iterator[Array]:
    """Yield some pictures from all over ``samples``, each float32 (1, 3, height, width)."""
    places = np.linspace(0, len(samples) - 1, min(_CALIBRATED, len(samples))).round().astype(int)
    return (normalise(pixels.one(samples[place]), pixels.spec)[None] for place in places)


def quantize(source: Path, images: Iterable[Array], target: Path) -> None:
    """Write the form in 8 bits of an ONNX file, its scales found with ``images``; the last layer stays as it is."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Images(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_last_layer(prepared),
        )


class _Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: Iterable[Array]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Array] | None:
        image = next(self._images, None)
        return None if image is None else {IMAGES: image}


def _last_layer(file: Path) -> list[str]:
    """Name the last layer and what follows it: logits of 256 steps would be coarse, and cost next to nothing."""
    nodes = onnx.load(str(file)).graph.node
    last = max((at for at, one in enumerate(nodes) if one.op_type in ("Gemm", "MatMul")), default=len(nodes))
    return [one.name for one in nodes[last:] if one.name]


def _logits(file: Path, samples: Sequence[Sample], pixels: PixelCache) -> Array:
    network = session(file)
    parts = (normalise(pixels.many(part), pixels.spec) for part in chunks(samples, _BATCH))
    return np.concatenate([network.run(None, {IMAGES: part})[0] for part in parts])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence in this thread onnxruntime's advice to do what has been done, and what it warns of its own code."""
    root, own = logging.getLogger(), threading.get_ident()

    def heard(record: logging.LogRecord) -> bool:
        return record.thread != own or record.levelno >= logging.ERROR

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root.addFilter(heard)
        try:
            yield
        finally:
            root.removeFilter(heard)
