"""``last-layer``: logistic regression on what the encoder of a finetune says of texts. Seconds, as a head takes."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from labelloop.bundle_info import HEAD
from labelloop.files import link_kept
from labelloop.kinds.base import LAST_LAYER
from labelloop.kinds.text_classification.encoder_backbone import EncoderBackbone
from labelloop.kinds.text_classification.recipes.material import Candidate, Labeled, Material, OnNetwork
from labelloop.train.last_layer import Featured, LastLayer


def fit(material: Material, on: OnNetwork, before: Candidate) -> Candidate:
    """Learn by all labels of today, but for the suspects of the head ``before``; see LastLayer.

    Raises TrainingError, and BundleError where the network cannot be used.
    """
    backbone = EncoderBackbone.of(on.network.weights.parent, on.caches)
    kept = on.opens(backbone.backbone, backbone.width)

    def side(labeled: Labeled) -> Featured:
        rows = backbone.rows(kept, labeled.names, labeled.texts, material.progress)
        return Featured(labeled.names, rows, labeled.shown)

    train, validation = side(material.train), side(material.validation)
    learned = LastLayer.fit(train, validation, before.suspects, on.network, material.choice, material.seed)

    def write(directory: Path, temperature: float) -> tuple[str, ...]:
        linear = learned.linear
        layer = {"weight": linear.weight / temperature, "bias": linear.bias / temperature}
        held = {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in layer.items()}
        (directory / HEAD).write_bytes(save(held))
        for name, file in backbone.files.items():
            link_kept(file, directory / name)
        return (HEAD, *backbone.files)

    return Candidate(
        recipe=LAST_LAYER,
        logits=learned.logits,
        write=write,
        held=learned.held,
        suspects=before.suspects,
        strength=learned.strength,
        notes=(on.network.noted,),
        features=backbone.backbone,
    )
