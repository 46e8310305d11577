"""The contest of the recipes on the validation side: temperatures first, then the lower log-loss."""

from collections.abc import Sequence

from labelloop.train import metrics
from labelloop.train.calibration import calibrated, temperature
from labelloop.train.dataset import Dataset, indicators
from labelloop.train.held import Held
from labelloop.train.recipes.base import Candidate


def validated(candidate: Candidate, dataset: Dataset) -> Held:
    """Give what a candidate says of the validation side, with the truth."""
    return Held(indicators(dataset.validation, len(dataset.classes)), candidate.logits)


def with_temperature(candidate: Candidate, dataset: Dataset) -> Candidate:
    """Calibrate on the validation side and on what cross-validation said of training pictures; changes the network."""
    seen = validated(candidate, dataset).joined(candidate.held)
    return calibrated(candidate, temperature(seen, dataset.kind))


def winner(candidates: Sequence[Candidate], dataset: Dataset) -> Candidate:
    """Give the calibrated candidate of lowest log-loss on the validation side; without validation pictures the first.

    Accuracy would be decided by one or two pictures where there are few, or by none; the log-loss weighs them all.
    """
    if not dataset.validation:
        return candidates[0]
    shares = accuracies(candidates, dataset)
    return min(candidates, key=lambda one: (_loss(one, dataset), -shares[one.recipe]))


def accuracies(candidates: Sequence[Candidate], dataset: Dataset) -> dict[str, float]:
    """Map each recipe to its accuracy on the validation side; empty without validation pictures."""
    found = {one.recipe: validated(one, dataset) for one in candidates if dataset.validation}
    return {
        name: metrics.accuracy(held.truth, metrics.chosen(held.logits, dataset.kind)) for name, held in found.items()
    }


def _loss(candidate: Candidate, dataset: Dataset) -> float:
    held = validated(candidate, dataset)
    return metrics.log_loss(held.truth, held.logits, dataset.kind)
