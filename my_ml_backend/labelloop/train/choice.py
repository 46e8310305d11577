"""What a head is to be, decided by cross-validation on the training side: regularisation, balance, flips."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from labelloop.train import balance
from labelloop.train.crossvalidation import DEFAULT, Problem, Validated, cross_validate
from labelloop.train.held import Held
from labelloop.train.logistic import Features
from labelloop.train.metrics import log_losses
from labelloop.train.mirrors import keep_labels

_EXAMINED = 2000
"""Samples that the strength is chosen by."""

_MIRRORED = 300
"""Samples whose mirror images are looked at: each costs another pass of the backbone."""

_CLEAR, _ERRORS = 0.05, 1.0
"""By how much log-loss must fall for flips, which double what serving costs: a share of it, and standard errors."""

Rows = npt.NDArray[np.intp]
Mirror = Callable[[Rows], Features]
"""Gives the features of the mirror images of these samples."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A problem to solve with ``strength``; ``held`` is what cross-validation said of its samples, if they sufficed.

    ``flips`` answer with the mean over picture and mirror image; ``mirrors``: mirror images have the labels too.
    """

    problem: Problem
    strength: float
    held: Held | None = None
    balance: str = "none"
    flips: bool = False
    mirrors: bool = False

    def notes(self) -> tuple[str, ...]:
        """Say what is out of the ordinary, for the run's record."""
        said = {
            "head weighs rare classes as much as frequent ones": self.balance != "none",
            "head answers with the mean over picture and mirror image, so serving it takes twice as long": self.flips,
        }
        return tuple(sentence for sentence, holds in said.items() if holds)


def choose(problem: Problem, wanted: str, seed: int, mirror: Mirror) -> Choice:
    """Choose for a problem without weights and mirror images; ``wanted`` is the balance of the settings."""
    order = np.random.default_rng(seed).permutation(len(problem.shown))
    choice = _balanced(problem, wanted, np.sort(order[:_EXAMINED]), seed)
    few = np.sort(order[:_MIRRORED])
    part = choice.problem.take(few)
    plain = cross_validate(part, seed, (choice.strength,))
    if plain is None:
        return choice
    mirrored = mirror(few)
    choice = replace(choice, mirrors=keep_labels(part, mirrored, choice.strength, seed))
    flipped = _flipped(replace(part, mirrored=mirrored), plain, seed)
    if flipped is None:
        return choice
    everything = np.arange(len(problem.shown))
    whole = replace(choice.problem, mirrored=mirror(everything))
    return replace(choice, problem=whole, held=flipped, flips=True)


def _balanced(problem: Problem, wanted: str, sample: Rows, seed: int) -> Choice:
    weighted = replace(problem, weights=balance.weights(problem.shown, problem.choice))
    if wanted in ("loss", "sampler"):  # for a head both are the same: answers count as often as they would be drawn
        return _choice(weighted, cross_validate(weighted.take(sample), seed), sample, wanted)
    plain = cross_validate(problem.take(sample), seed)
    if wanted == "auto" and plain is not None and balance.imbalanced(problem.shown):
        found = cross_validate(weighted.take(sample), seed)
        if found and balance.worth_it(problem.shown[sample], plain.logits, found.logits, problem.choice):
            return _choice(weighted, found, sample, "loss")
    return _choice(problem, plain, sample, "none")


def _choice(problem: Problem, found: Validated | None, sample: Rows, name: str) -> Choice:
    if found is None:
        return Choice(problem, DEFAULT, balance=name)
    return Choice(problem, found.strength, Held(problem.shown[sample], found.logits), name)


def _flipped(part: Problem, plain: Validated, seed: int) -> Held | None:
    """Give what cross-validation says of a problem with mirror images, where it is clearly better than without."""
    found = cross_validate(part, seed, (plain.strength,))
    assert found is not None  # noqa: S101 - as many samples as without them
    losses, others = (log_losses(part.shown, one.logits, part.choice) for one in (plain, found))
    change = others - losses
    error = change.std() / np.sqrt(len(change))
    clear = change.mean() < -_ERRORS * error and change.mean() < -_CLEAR * losses.mean()
    return Held(part.shown, found.logits) if clear else None
