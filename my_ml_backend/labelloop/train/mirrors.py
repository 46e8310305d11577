"""Whether a picture's mirror image has the same labels: so for scenes, not so for handwriting or arrows.

Where it has, a finetune learns from mirror images too, at no cost to whoever serves it.
"""

import numpy as np
import numpy.typing as npt

from labelloop.train.crossvalidation import Problem, solve
from labelloop.train.folds import folds
from labelloop.train.logistic import Features
from labelloop.train.metrics import log_losses

_FEWEST = 60
"""Samples; fewer say too little of it."""

_FOLDS = 5
_SHARE = 0.15
"""How much higher the log-loss may be on mirror images. Measured: natural scenes -0.07 to 0.10, digits 0.38 to 2.9."""

_OF_CLASS, _ERRORS, _CLASS_LOSS = 5, 3.0, 0.1
"""Of a class with so many samples it must not be higher by so many standard errors and nats: left is not right."""


def keep_labels(problem: Problem, mirrored: Features, strength: float, seed: int) -> bool:
    """Tell whether mirror images are recognised as well as the pictures, by heads that have seen neither.

    ``mirrored`` (samples, features) are the features of the mirror images of the problem's samples.
    """
    if len(problem.shown) < _FEWEST:
        return False
    straight, turned = (np.zeros(problem.shown.shape) for _ in range(2))
    for learned, held in folds(problem.shown, _FOLDS, seed):
        linear = solve(problem.take(learned), strength)
        straight[held], turned[held] = linear.logits(problem.features[held]), linear.logits(mirrored[held])
    before, after = (log_losses(problem.shown, logits, problem.choice) for logits in (straight, turned))
    change = after - before
    alike = bool(change.mean() <= _SHARE * before.mean())
    return alike and not any(_suffers(change[problem.shown[:, at]]) for at in range(problem.shown.shape[1]))


def _suffers(change: npt.NDArray[np.float64]) -> bool:
    if len(change) < _OF_CLASS:
        return False
    return bool(change.mean() - _ERRORS * change.std() / np.sqrt(len(change)) > _CLASS_LOSS)
