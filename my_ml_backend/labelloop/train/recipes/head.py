"""``head``: logistic regression on the features of the frozen backbone. Seconds, and best with few labels."""

import numpy as np
import torch

from labelloop.train import logistic
from labelloop.train.backbone import classifier
from labelloop.train.dataset import indicators
from labelloop.train.features import Features
from labelloop.train.frozen import freeze
from labelloop.train.recipes.base import Candidate, Material


def fit(material: Material, before: Candidate | None) -> Candidate:  # noqa: ARG001 - every recipe takes it
    """Train the last layer alone."""
    dataset, settings = material.dataset, material.settings
    model = material.network()
    material.progress("backbone", 0, 1)
    frozen = freeze(model, settings.backbone, material.pixels.spec, material.cache_dir)
    material.progress("backbone", 1, 1)
    features = Features(frozen, material.pixels, material.cache_dir)
    rows = features.of((*dataset.train, *dataset.validation), material.progress)
    train, validation = rows[: len(dataset.train)], rows[len(dataset.train) :]
    shown = indicators(dataset.train, len(dataset.classes))
    linear = logistic.fit(train, shown, dataset.kind, settings.seed)
    last = classifier(model)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(linear.weight))
        last.bias.copy_(torch.from_numpy(linear.bias))
    logits = validation.astype(np.float64) @ linear.weight.T + linear.bias
    return Candidate("head", model, logits.astype(np.float32), frozen)
