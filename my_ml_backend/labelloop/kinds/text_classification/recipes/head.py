"""``head``: logistic regression on n-grams beside static embeddings. Seconds, and best with few labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labelloop.kinds.text_classification.recipes.material import Candidate, Labeled, Material
from labelloop.kinds.text_classification.recipes.space import Space
from labelloop.kinds.texts.static_embeddings import StaticEmbeddings, packaged
from labelloop.train import balance
from labelloop.train.crossvalidation import DEFAULT, Problem, cross_validate, solve
from labelloop.train.head_choice import choose
from labelloop.train.metrics import Indicators, log_losses
from labelloop.types import Choice

_EXAMINED = 2000
"""Texts that it is decided by whether embeddings and names help."""

_STRENGTHS = (0.01, 0.03, 0.1)
"""Weaker regularisation only makes scores surer, which is the temperature's matter, and answers no better."""

_PARTS = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def fit(material: Material, before: Candidate | None) -> Candidate:  # noqa: ARG001 - every recipe takes it
    """Choose features and regularisation by cross-validation, and fit the one layer."""
    train, validation = material.train, material.validation
    task = Task(material.classes, material.choice, material.seed)
    view = task.view(train)
    problem = view.problem(train)
    material.progress("head", 1, 3)
    chosen = choose(problem, str(material.parameters.values["balance"]), material.seed, None, train.confirmed)
    material.progress("head", 2, 3)
    linear = solve(chosen.problem, chosen.strength)
    logits = linear.logits(view.space.rows(validation.texts))
    suspects = {train.names[one.row]: one for one in chosen.suspects}
    confirmed = np.concatenate((validation.confirmed, train.confirmed))
    suspects |= chosen.doubted(validation.names, validation.shown, logits, confirmed)
    material.progress("head", 3, 3)

    def write(directory: Path, temperature: float) -> tuple[str, ...]:
        everything = train.joined(validation).without(suspects)
        last = task.space(everything, view)
        again = replace(view, space=last).problem(everything)
        if chosen.balance != "none":
            again = replace(again, weights=balance.class_weights(again.shown, again.choice))
        return last.model(solve(again, chosen.strength), temperature).write(directory)

    return Candidate(
        recipe="head",
        logits=logits.astype(np.float32),
        write=write,
        held=chosen.held,
        suspects=suspects,
        balance=chosen.balance,
        strength=chosen.strength,
        notes=(*view.notes(), *chosen.notes()),
    )


@dataclass(frozen=True, eq=False)
class View:
    """How a head sees texts: its ``space``, and whether it learns from the names of the ``classes`` too."""

    space: Space
    classes: tuple[str, ...]
    choice: Choice
    named: bool

    def problem(self, texts: Labeled) -> Problem:
        """Put to it what labeled texts have to be learned."""
        rows = self.space.rows(texts.texts)
        spelled = names_of(self.classes, texts.shown) if self.named else {}
        added = None
        if spelled:
            shown = np.eye(len(self.classes), dtype=bool)[list(spelled)]
            added = (self.space.rows([*spelled.values()]), shown)
        return Problem(rows, texts.shown, self.choice, added=added, scaled=False, strengths=_STRENGTHS)

    def notes(self) -> tuple[str, ...]:
        """Say what is out of the ordinary, for the run's record."""
        said = {
            "head learns from the names of the classes too": self.named,
            "head sees n-grams alone: static embeddings add nothing here, or are not installed": (
                self.space.features.pooled is None
            ),
        }
        return tuple(sentence for sentence, holds in said.items() if holds)


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be told apart, and by which seed."""

    classes: tuple[str, ...]
    choice: Choice
    seed: int

    def view(self, texts: Labeled) -> View:
        """Decide by cross-validation whether embeddings and names of classes help: as far as log-loss falls with them.

        Where there are too few texts to tell, both are taken.
        """
        best = View(self._space(texts, packaged()), self.classes, self.choice, named=True)
        loss = self._loss(best, texts)
        if best.space.features.pooled is not None and loss is not None:
            best, loss = self._better(best, loss, replace(best, space=self._space(texts, None)), texts)
        return best if loss is None else self._better(best, loss, replace(best, named=False), texts)[0]

    def _better(self, best: View, loss: float, other: View, texts: Labeled) -> tuple[View, float]:
        against = self._loss(other, texts)
        return (best, loss) if against is None or against > loss else (other, against)

    def space(self, texts: Labeled, view: View) -> Space:
        """Make the space of other texts in the same way."""
        pooled = view.space.features.pooled
        return self._space(texts, None if pooled is None else pooled.embeddings)

    def _space(self, texts: Labeled, embeddings: StaticEmbeddings | None) -> Space:
        return Space.of(texts.texts, len(self.classes), embeddings, self.seed)

    def _loss(self, view: View, texts: Labeled) -> float | None:
        sample = np.sort(np.random.default_rng(self.seed).permutation(len(texts.names))[:_EXAMINED])
        problem = view.problem(texts).take(sample)
        found = cross_validate(problem, self.seed, (DEFAULT,))
        return None if found is None else float(log_losses(problem.shown, found.logits, problem.choice).mean())


def names_of(classes: Sequence[str], shown: Indicators) -> dict[int, str]:
    """Spell the names of the classes that some text shows, as a text would: ``cardArrival_late`` as three words."""
    spelled = {at: " ".join(_PARTS.findall(_CAMEL.sub(" ", name))) for at, name in enumerate(classes)}
    return {at: words for at, words in spelled.items() if words and shown[:, at].any()}
