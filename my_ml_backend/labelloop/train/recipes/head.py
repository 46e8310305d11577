"""``head``: logistic regression on the features of the frozen backbone. Seconds, and best with few labels.

And ``last-layer``: the same on the network of a finetune, which has learned some of the labels.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from labelloop.kinds.base import LAST_LAYER
from labelloop.models.features import Rows
from labelloop.train import balance
from labelloop.train.backbone import classifier
from labelloop.train.crossvalidation import Problem, mean, solve
from labelloop.train.dataset import FinetunedNetwork, Sample, indicators
from labelloop.train.features import FeatureCache
from labelloop.train.frozen import freeze
from labelloop.train.head_choice import choose
from labelloop.train.last_layer import Featured, LastLayer
from labelloop.train.logistic import Linear
from labelloop.train.recipes.base import Candidate, Material
from labelloop.train.refitted_head import KeptChoice
from labelloop.train.selection import Validation


def fit(material: Material, before: Candidate | None) -> Candidate:  # noqa: ARG001 - every recipe takes it
    """Train the last layer alone."""
    dataset, settings, progress = material.dataset, material.settings, material.progress
    model = material.network()
    features = _features(material, model)

    def mirror(rows: npt.NDArray[np.intp]) -> Rows:
        return features.of([dataset.train[row] for row in rows], progress, mirrored=True)

    problem = Problem(features.of(dataset.train, progress), _shown(material, dataset.train), dataset.choice)
    choice = choose(problem, settings.balance, settings.seed, mirror, _confirmed(dataset.train))
    linear = solve(choice.problem, choice.strength)
    _put(linear, model)
    logits = linear.logits(_asked(material, features, dataset.validation, flips=choice.flips))
    suspects = {dataset.train[one.row].picture: one for one in choice.suspects}
    validation, confirmed = Validation.of(dataset), _confirmed((*dataset.validation, *dataset.train))
    return Candidate(
        recipe="head",
        model=model,
        logits=logits.astype(np.float32),
        frozen=features.frozen,
        flips=choice.flips,
        mirrors=choice.mirrors,
        balance=choice.balance,
        strength=choice.strength,
        notes=choice.notes(),
        held=choice.held,
        suspects=suspects | choice.doubted(validation.names, validation.truth, logits, confirmed),
    )


def fit_last_layer(material: Material, network: FinetunedNetwork, before: Candidate) -> Candidate:
    """Train the last layer of a finetune's ``network``, with which the material begins; see LastLayer.

    Suspects are those of the head ``before``. Raises TrainingError.
    """
    dataset, model = material.dataset, material.network()
    features = _features(material, model)

    def side(samples: Sequence[Sample]) -> Featured:
        rows = _asked(material, features, samples, flips=network.flips)
        return Featured([one.picture for one in samples], rows, _shown(material, samples))

    learned = LastLayer.fit(
        side(dataset.train),
        side(dataset.validation),
        before.suspects,
        network,
        dataset.choice,
        material.settings.seed,
    )
    _put(learned.linear, model)
    return Candidate(
        recipe=LAST_LAYER,
        model=model,
        logits=learned.logits,
        frozen=features.frozen,
        flips=network.flips,
        mirrors=before.mirrors,
        strength=learned.strength,
        notes=(network.noted,),
        held=learned.held,
        suspects=before.suspects,
    )


def _confirmed(samples: Sequence[Sample]) -> npt.NDArray[np.bool_]:
    return np.array([sample.confirmed for sample in samples], dtype=bool)


def refit(material: Material, candidate: Candidate) -> Candidate:
    """Fit a head once more, to the validation pictures as well: nothing is left to be chosen by them.

    All that was chosen stays, the temperature too, and so do the logits on the validation side: they are those of the
    head that had not seen it.
    """
    trusted = material.dataset.without(candidate.suspects)
    everything = (*trusted.train, *trusted.validation)
    model = material.network()
    features, shown = _features(material, model), _shown(material, everything)
    weights = None if candidate.balance == "none" else balance.class_weights(shown, material.dataset.choice)
    mirrored = features.of(everything, material.progress, mirrored=True) if candidate.flips else None
    rows = features.of(everything, material.progress)
    linear = solve(Problem(rows, shown, material.dataset.choice, weights, mirrored), candidate.strength)
    _put(Linear(linear.weight / candidate.temperature, linear.bias / candidate.temperature), model)
    _keep(material, features, candidate)
    return replace(candidate, model=model)


def _keep(material: Material, features: FeatureCache, candidate: Candidate) -> None:
    """Keep what was chosen, for the gate, which trains such heads anew (train/refitted_head.py)."""
    dataset, settings = material.dataset, material.settings
    samples = (one.said for one in (*dataset.train, *dataset.validation))
    kept = KeptChoice.of(
        material.cache_dir, features.frozen.hash, samples, dataset.choice, settings.balance, settings.seed
    )
    kept.write(candidate.strength, candidate.balance, candidate.suspects, flips=candidate.flips)


def _features(material: Material, model: nn.Module) -> FeatureCache:
    material.progress("backbone", 0, 1)
    frozen = freeze(model, material.settings.backbone, material.pixels.spec, material.cache_dir)
    material.progress("backbone", 1, 1)
    return FeatureCache(frozen, material.pixels, material.cache_dir, material.opens)


def _shown(material: Material, samples: Sequence[Sample]) -> npt.NDArray[np.bool_]:
    return indicators(samples, len(material.dataset.classes))


def _asked(material: Material, features: FeatureCache, samples: Sequence[Sample], *, flips: bool) -> Rows:
    """Give what the head answers for: the features, with flips the mean of both."""
    rows = features.of(samples, material.progress)
    return mean(rows, features.of(samples, material.progress, mirrored=True)) if flips else rows


def _put(linear: Linear, model: nn.Module) -> None:
    last = classifier(model)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(linear.weight))
        last.bias.copy_(torch.from_numpy(linear.bias))
