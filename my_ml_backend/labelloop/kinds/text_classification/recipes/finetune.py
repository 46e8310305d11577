"""``finetune``: an encoder of transformers with one layer on top, which read the beginning of a text."""

from pathlib import Path

import numpy as np

from labelloop.kinds.text_classification.recipes.material import Candidate, Material
from labelloop.kinds.texts.recipes.encoder import find
from labelloop.kinds.texts.recipes.encoder_export import parity, write_encoder
from labelloop.kinds.texts.recipes.encoder_finetune import ClassesFinetune, How, against, shortened
from labelloop.train.balance import class_weights
from labelloop.train.recipes.finetune_plan import on_gpu


def left_out(material: Material) -> str:
    """Say why it does not compete; "" where it does. Raises TrainingError where the encoder cannot be had."""
    count = len(material.validation.names)
    return against(material.parameters, count, lambda: _planned(material).plan, challenger=material.challenger)


def fit(material: Material, before: Candidate | None) -> Candidate:
    """Learn from the training side, without what the head suspects; rare classes are weighed where the head's are.

    Alone, it weighs them where the settings say so.
    """
    suspects = {} if before is None else before.suspects
    asked = "loss" if material.parameters.values["balance"] in {"loss", "sampler"} else "none"
    balance = asked if before is None else before.balance
    trusted = material.trusting(suspects)
    learned = _planned(trusted)
    shown = trusted.train.shown
    weights = None if balance == "none" else class_weights(shown, material.choice)
    logits, curve = learned.fit(shown, material.validation.shown, material.choice, weights)

    def write(directory: Path, temperature: float) -> tuple[str, ...]:
        learned.network.divide(temperature)
        names = write_encoder(learned.network, learned.encoder.cutter, directory, {})
        parity(learned.network, learned.encoder.cutter, directory, material.train.texts)
        return names

    return Candidate(
        recipe="finetune",
        logits=logits.astype(np.float32),
        write=write,
        suspects=suspects,
        before=before,
        balance=balance,
        curve=curve,
        notes=shortened(learned.plan),
        device="cuda" if on_gpu() else "cpu",
    )


def _planned(material: Material) -> ClassesFinetune:
    how = How.of(material.parameters, material.progress, material.checkpoints, material.watch)
    encoder = find(str(material.parameters.values["encoder"]))
    return ClassesFinetune(encoder, material.train.texts, material.validation.texts, len(material.classes), how)
