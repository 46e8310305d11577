"""A trained encoder as the files that are served, and whether those say what was trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from labelloop.errors import TrainingError
from labelloop.kinds.texts.encoder_bundle import DETAILS, FILES, MODEL, TOKENIZER
from labelloop.kinds.texts.encoder_engine import IDS, LOGITS, MASK, EncoderSession, write_details
from labelloop.kinds.texts.recipes.encoder_network import EncoderNetwork, outputs_of
from labelloop.kinds.texts.windows import Cutter
from labelloop.train.export import export_onnx
from labelloop.train.parity import MOST_LOGIT
from labelloop.types import Json

_COMPARED = 8
_REMEDY = "choose another LABELLOOP_ENCODER"
_LARGEST = 2_000_000_000
"""Bytes that one ONNX file with its weights inside may have (protobuf's limit)."""


def write_encoder(network: EncoderNetwork, cutter: Cutter, directory: Path, kinds: Json) -> tuple[str, ...]:
    """Write the files that serve an encoder, and name them; ``kinds`` is what a kind adds to ``encoder.json``.

    Raises TrainingError.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > _LARGEST:
        raise TrainingError(
            f"encoder {cutter.spec.name!r} has {size / 1e9:.1f} GB of weights, more than one ONNX file holds (2 GB): "
            "choose a smaller LABELLOOP_ENCODER"
        )
    # The length of the example is neither 1 nor the longest, which the exporter would take for fixed.
    example = torch.ones(2, max(2, cutter.spec.length // 2), dtype=torch.int64)
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=cutter.spec.length)}
    # Two tensors, for one that came in twice would be taken for one input.
    inputs = {IDS: (example, free), MASK: (example.clone(), free)}
    export_onnx(network, inputs, directory / MODEL, (LOGITS,), _REMEDY)
    (directory / TOKENIZER).write_text(cutter.tokenizer.to_str(), encoding="utf-8")
    write_details(directory / DETAILS, cutter.spec, kinds)
    return FILES


def parity(network: EncoderNetwork, cutter: Cutter, directory: Path, texts: Sequence[str]) -> Mapping[str, float]:
    """Give the largest difference of a logit of the written files, run as a server does, from the trained network's.

    On a few of ``texts``, from their characters on. Raises TrainingError where it is more than 0.001.
    """
    at = np.linspace(0, len(texts) - 1, min(_COMPARED, len(texts))).round().astype(int)
    chosen = [texts[place] for place in at]
    expected = outputs_of(network, [cutter.beginning(text) for text in chosen], cutter.spec.pad)
    session = EncoderSession(directory)
    given = session.run([session.cutter.beginning(text) for text in chosen])
    difference = max(
        float(np.abs(one - other).max()) if one.shape == other.shape else float("inf")
        for one, other in zip(expected, given, strict=True)
    )
    if not difference <= MOST_LOGIT:
        raise TrainingError(
            f"{MODEL} of encoder {cutter.spec.name!r} gives logits that differ from the trained network's by "
            f"{difference:.2g} (allowed: {MOST_LOGIT:g}); {_REMEDY}"
        )
    return {MODEL: difference}
