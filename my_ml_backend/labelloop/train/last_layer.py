"""A last layer on the network of a finetune, which has learned some of the labels: logistic regression on its features.

What the network has learned already it knows too well to say how strongly to regularise: that is chosen by what it has
not seen, which the validation side is a part of (docs/training.md).
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from labelloop.errors import TrainingError
from labelloop.models.features import Rows
from labelloop.train.crossvalidation import DEFAULT, Problem, cross_validate, solve
from labelloop.train.dataset import FinetunedNetwork
from labelloop.train.logistic import Linear
from labelloop.train.metrics import HeldOut, Indicators
from labelloop.types import Choice


@dataclass(frozen=True, eq=False)
class Featured:
    """One side's items: ``names`` (sha256), ``rows`` (items, features), and the classes ``shown`` (items, classes).

    With the network's ``flips`` rows are the means of picture and mirror image.
    """

    names: Sequence[str]
    rows: Rows
    shown: Indicators

    def among(self, names: Container[str]) -> "np.typing.NDArray[np.bool_]":
        """Tell which items are among these."""
        return np.array([name in names for name in self.names], dtype=bool)


@dataclass(frozen=True, eq=False)
class LastLayer:
    """The layer, with its ``strength`` (C); ``logits`` are those on the validation side, as float32 (items, classes).

    Each is of a layer that has not seen the item, where cross-validation could say so; then ``held`` has those of
    training items that the network has not seen.
    """

    linear: Linear
    strength: float
    logits: Rows
    held: HeldOut | None

    @classmethod
    def fit(
        cls,
        train: Featured,
        validation: Featured,
        suspects: Container[str],
        network: FinetunedNetwork,
        choice: Choice,
        seed: int,
    ) -> Self:
        """Learn of all labels of both sides, but for the ``suspects``; nothing is left to refit.

        Raises TrainingError where the network has seen some of the validation side: a tool has moved them there since.
        """
        trusted = [~side.among(suspects) for side in (validation, train)]
        counts = int(trusted[0].sum())
        rows, shown, known = (
            np.concatenate([part[kept] for part, kept in zip(parts, trusted, strict=True)])
            for parts in (
                (validation.rows, train.rows),
                (validation.shown, train.shown),
                (validation.among(network.learned), train.among(network.learned)),
            )
        )
        if seen := int(known[:counts].sum()):
            raise TrainingError(f"{network.version} has learned from {seen} of the items it would be chosen by")
        problem = Problem(rows[~known], shown[~known], choice, added=(rows[known], shown[known]), default=None).turned()
        found = cross_validate(problem, seed)
        strength = DEFAULT if found is None else found.strength
        linear = solve(problem, strength)
        logits, held = linear.logits(validation.rows), None
        if found is not None:
            # Of the validation side without its suspects, which nothing looks at.
            logits[trusted[0]] = found.logits[:counts]
            held = HeldOut(problem.shown[counts:], found.logits[counts:])
        return cls(linear, strength, logits.astype(np.float32), held)
