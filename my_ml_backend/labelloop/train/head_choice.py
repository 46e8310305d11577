"""What a head is to be, decided by cross-validation: regularisation, balance, which labels are left out, flips."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from labelloop.train import balance
from labelloop.train.crossvalidation import DEFAULT, Problem, Validated, cross_validate, unseen
from labelloop.train.label_errors import Suspect, left_out
from labelloop.train.logistic import Features
from labelloop.train.metrics import HeldOut, log_losses

_FEWEST = 60
"""Samples; fewer say too little of it."""

_SHARE = 0.15
"""How much higher the log-loss may be on mirror images. Measured: natural scenes -0.07 to 0.10, digits 0.38 to 2.9."""

_OF_CLASS, _SURE_ERRORS, _CLASS_LOSS = 5, 3.0, 0.1
"""Of a class with so many samples it must not be higher by so many standard errors and nats: left is not right."""


def keep_labels(problem: Problem, plain: Validated, mirrored: Features) -> bool:
    """Tell whether mirror images are recognised as well as the pictures, by heads that have seen neither.

    ``plain`` is the cross-validation of the problem, ``mirrored`` (samples, features) are the features of the mirror
    images of its samples. Where they are, a finetune learns from mirror images too, at no cost to whoever serves it.
    """
    if len(problem.shown) < _FEWEST:
        return False
    turned = np.zeros(problem.shown.shape)
    for linear, held in zip(plain.heads.folded(plain.found), plain.heads.held, strict=True):
        turned[held] = linear.logits(mirrored[held])
    before, after = (log_losses(problem.shown, logits, problem.choice) for logits in (plain.logits, turned))
    change = after - before
    alike = bool(change.mean() <= _SHARE * before.mean())
    return alike and not any(_suffers(change[problem.shown[:, at]]) for at in range(problem.shown.shape[1]))


def _suffers(change: npt.NDArray[np.float64]) -> bool:
    if len(change) < _OF_CLASS:
        return False
    return bool(change.mean() - _SURE_ERRORS * change.std() / np.sqrt(len(change)) > _CLASS_LOSS)


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
class HeadChoice:
    """A problem to solve with ``strength``; ``held`` is what cross-validation said of its samples, if they sufficed.

    ``flips`` answer with the mean over picture and mirror image; ``mirrors``: mirror images have the labels too.
    ``suspects``, by row of the problem that was given, are no samples of this one: their labels are probably wrong,
    by what ``judged`` says of all that were given.
    """

    problem: Problem
    strength: float
    held: HeldOut | None = None
    balance: str = "none"
    flips: bool = False
    mirrors: bool = False
    suspects: tuple[Suspect, ...] = ()
    judged: HeldOut | None = None

    def doubted(
        self,
        names: Sequence[str],
        truth: npt.NDArray[np.bool_],
        logits: npt.NDArray[np.float64],
        confirmed: npt.NDArray[np.bool_],
    ) -> dict[str, Suspect]:
        """Find the validation samples whose labels are probably wrong, by a head that has not seen them.

        ``truth`` and ``logits`` (samples, classes) are theirs; ``confirmed`` are first theirs, then those of all
        samples that were given.
        """
        if self.judged is None or not names:
            return {}
        seen = HeldOut(truth, logits).joined(self.judged)
        found = (one for one in left_out(seen, self.problem.choice, confirmed) if one.row < len(names))
        return {names[one.row]: one for one in found}

    def notes(self) -> tuple[str, ...]:
        """Say what is out of the ordinary, for the run's record."""
        said = {
            "head weighs rare classes as much as frequent ones": self.balance != "none",
            "head answers with the mean over picture and mirror image, so serving it takes twice as long": self.flips,
        }
        return tuple(sentence for sentence, holds in said.items() if holds)


@dataclass(frozen=True, eq=False)
class HeadEntrant:
    """A head as an Entrant of selection.py, on features that nothing else learns from."""

    logits: npt.NDArray[np.float64]
    held: HeldOut | None
    suspects: Mapping[str, Suspect] = field(default_factory=dict)
    thresholds: npt.NDArray[np.float64] | None = None
    recipe: str = "head"
    before: None = None


def examined(samples: int, seed: int) -> Rows:
    """Draw those of so many samples that a choice is made by."""
    return np.sort(np.random.default_rng(seed).permutation(samples)[:_EXAMINED])


def choose(
    problem: Problem,
    wanted: str,
    seed: int,
    mirror: Mirror | None,
    confirmed: npt.NDArray[np.bool_] | None = None,
    known: Validated | None = None,
) -> HeadChoice:
    """Choose for a problem without weights and mirror images; ``wanted`` is the balance of the settings.

    ``mirror`` is None where items have no mirror image.
    ``confirmed`` (samples,) are those whose labels are not doubted, None: there are none.
    ``known`` is what cross-validation has found already of those that are ``examined``, at the default.
    """
    confirmed = np.zeros(len(problem.shown), dtype=bool) if confirmed is None else confirmed
    sample = examined(len(problem.shown), seed)
    choice = _balanced(problem.turned(), wanted, sample, seed, known)
    choice, kept = _trusted(choice, confirmed, sample, seed)
    return choice if mirror is None else _mirrored(choice, problem, kept, mirror, seed)


def _mirrored(choice: HeadChoice, problem: Problem, kept: Rows, mirror: Mirror, seed: int) -> HeadChoice:
    """Look at the mirror images of some of the samples of a ``problem`` that are ``kept``."""
    few = np.sort(np.random.default_rng(seed).permutation(len(kept))[:_MIRRORED])
    part = choice.problem.take(few)
    plain = cross_validate(part, seed, (choice.strength,))
    if plain is None:
        return choice
    mirrored = mirror(kept[few])
    choice = replace(choice, mirrors=keep_labels(part, plain, mirrored))
    flipped = _flipped(_with_mirrored(part, problem, kept[few], mirrored), plain, seed)
    if flipped is None:
        return choice
    whole = _with_mirrored(choice.problem, problem, kept, mirror(kept)).turned()
    return replace(choice, problem=whole, held=flipped, flips=True)


def _with_mirrored(part: Problem, problem: Problem, at: Rows, mirrored: Features) -> Problem:
    """Add the features of mirror images to the ``part`` of a problem that has these samples.

    Where the axes of its own features do not span theirs, it begins with those of the problem anew.
    """
    if part.axes is not None and part.axes.is_whole:
        return replace(part, mirrored=part.axes.rows(mirrored))
    return replace(part, features=problem.features[at], mirrored=mirrored, axes=None)


def _trusted(choice: HeadChoice, confirmed: npt.NDArray[np.bool_], sample: Rows, seed: int) -> tuple[HeadChoice, Rows]:
    """Leave out samples whose labels are probably wrong; gives the rows that stay. ``sample`` are those of ``held``.

    What was chosen before stays: without them, the same regularisation and balance did as well as others or better.
    """
    problem, held = choice.problem, choice.held
    if held is None:
        return choice, np.arange(len(problem.shown))
    everything = len(sample) == len(problem.shown)
    judged = held if everything else HeldOut(problem.shown, unseen(problem, choice.strength, seed))
    found = left_out(judged, problem.choice, confirmed)
    kept = np.setdiff1d(np.arange(len(problem.shown)), [one.row for one in found])
    stays = np.isin(sample, kept)
    trusted = HeldOut(held.truth[stays], held.logits[stays])
    return replace(choice, problem=problem.take(kept), held=trusted, suspects=found, judged=judged), kept


def _balanced(problem: Problem, wanted: str, sample: Rows, seed: int, known: Validated | None) -> HeadChoice:
    weighted = replace(problem, weights=balance.class_weights(problem.shown, problem.choice))
    if wanted in ("loss", "sampler"):  # for a head both are the same: answers count as often as they would be drawn
        return _choice(weighted, cross_validate(weighted.take(sample), seed), sample, wanted)
    plain = cross_validate(problem.take(sample), seed, known=known)
    if wanted == "auto" and plain is not None and problem.choice == "single" and balance.imbalanced(problem.shown):
        found = cross_validate(weighted.take(sample), seed)
        if found and balance.worth_it(problem.shown[sample], plain.logits, found.logits, problem.choice):
            return _choice(weighted, found, sample, "loss")
    return _choice(problem, plain, sample, "none")


def _choice(problem: Problem, found: Validated | None, sample: Rows, name: str) -> HeadChoice:
    if found is None:
        return HeadChoice(problem, DEFAULT, balance=name)
    return HeadChoice(problem, found.strength, HeldOut(problem.shown[sample], found.logits), name)


def _flipped(part: Problem, plain: Validated, seed: int) -> HeldOut | None:
    """Give what cross-validation says of a problem with mirror images, where it is clearly better than without."""
    found = cross_validate(part, seed, (plain.strength,))
    assert found is not None  # noqa: S101 - as many samples as without them
    losses, others = (log_losses(part.shown, one.logits, part.choice) for one in (plain, found))
    change = others - losses
    error = change.std() / np.sqrt(len(change))
    clear = change.mean() < -_ERRORS * error and change.mean() < -_CLEAR * losses.mean()
    return HeldOut(part.shown, found.logits) if clear else None
