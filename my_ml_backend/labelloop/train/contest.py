"""The contest of the recipes on the validation side: temperatures first, then the clearly lower log-loss."""

import math
from collections.abc import Sequence

from labelloop.train import metrics
from labelloop.train.calibration import calibrated, temperature
from labelloop.train.dataset import Dataset, indicators
from labelloop.train.held import Held
from labelloop.train.metrics import log_losses
from labelloop.train.recipes.base import Candidate
from labelloop.train.stopping import ENOUGH


def validated(candidate: Candidate, dataset: Dataset) -> Held:
    """Give what a candidate says of the validation side, with the truth."""
    return Held(indicators(dataset.validation, len(dataset.classes)), candidate.logits)


def with_temperature(candidate: Candidate, dataset: Dataset) -> Candidate:
    """Calibrate on the validation side and on what cross-validation said of training pictures; changes the network."""
    seen = validated(candidate, dataset).joined(candidate.held)
    return calibrated(candidate, temperature(seen, dataset.choice))


def winner(candidates: Sequence[Candidate], dataset: Dataset) -> Candidate:
    """Give the calibrated candidate that does better on the validation side; the first unless one is clearly better.

    Clearly: on 50 pictures or more, its log-loss is lower by more than the standard error of the difference, picture by
    picture. Accuracy would be decided by one or two pictures where there are few, and with fewer the log-loss would be,
    too; what costs more has to show that it is worth it.
    """
    best = candidates[0]
    for one in candidates[1:]:
        if dataset.validation and _clearly_better(one, best, dataset):
            best = one
    return best


def accuracies(candidates: Sequence[Candidate], dataset: Dataset) -> dict[str, float]:
    """Map each recipe to its accuracy on the validation side; empty without validation pictures."""
    found = {one.recipe: validated(one, dataset) for one in candidates if dataset.validation}
    return {
        name: metrics.accuracy(held.truth, metrics.chosen(held.logits, dataset.choice)) for name, held in found.items()
    }


def _clearly_better(one: Candidate, other: Candidate, dataset: Dataset) -> bool:
    held, against = validated(one, dataset), validated(other, dataset)
    gain = log_losses(against.truth, against.logits, dataset.choice) - log_losses(
        held.truth, held.logits, dataset.choice
    )
    return len(gain) >= ENOUGH and bool(gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)))
