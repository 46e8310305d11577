"""``head``: logistic regression on n-grams beside static embeddings. Seconds, and best with few labels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.kinds.text_classification.recipes.corpus import Corpus
from labelloop.kinds.text_classification.recipes.material import Candidate, Labeled, Material
from labelloop.kinds.text_classification.recipes.ngram_counts import Rows
from labelloop.kinds.text_classification.recipes.space import Space, Spaces
from labelloop.kinds.texts.static_embeddings import packaged
from labelloop.train import balance
from labelloop.train.calibration import calibrated_losses
from labelloop.train.crossvalidation import DEFAULT, Problem, Validated, cross_validate, solve
from labelloop.train.head_choice import choose, examined
from labelloop.train.metrics import HeldOut, Indicators
from labelloop.train.refitted_head import KeptChoice, RefittedHead
from labelloop.types import Choice

Losses = npt.NDArray[np.float64]

_STRENGTHS = (0.01, 0.03, 0.1)
"""Weaker regularisation only makes scores surer, which is the temperature's matter, and answers no better."""

_FORMAT = 1
"""To be raised where how a head sees texts is decided otherwise (here, corpus.py, space.py)."""

_PARTS = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def fit(material: Material, before: Candidate | None) -> Candidate:  # noqa: ARG001 - every recipe takes it
    """Choose features and regularisation by cross-validation, and fit the one layer."""
    train, validation = material.train, material.validation
    # The texts of both sides make the space; of the validation side no label is looked at before all is chosen.
    everything = train.joined(validation)
    own, asked = np.split(np.arange(len(everything.names)), [len(train.names)])
    task = Task(material.classes, material.choice, material.seed)
    view = task.view(everything.texts, own, train.shown)
    material.progress("head", 1, 3)
    problem = view.problem(own, train.shown)
    wanted = str(material.parameters.values["balance"])
    chosen = choose(problem, wanted, material.seed, None, train.confirmed, view.validated)
    material.progress("head", 2, 3)
    linear = solve(chosen.problem, chosen.strength)
    logits = linear.logits(view.space.rows(asked))
    suspects = {train.names[one.row]: one for one in chosen.suspects}
    confirmed = np.concatenate((validation.confirmed, train.confirmed))
    suspects |= chosen.doubted(validation.names, validation.shown, logits, confirmed)
    material.progress("head", 3, 3)

    def write(directory: Path, temperature: float) -> tuple[str, ...]:
        trusted = np.flatnonzero([name not in suspects for name in everything.names])
        again = view.problem(trusted, everything.shown[trusted])
        if chosen.balance != "none":
            again = replace(again, weights=balance.class_weights(again.shown, again.choice))
        if material.caches is not None:
            kept = task.kept(material.caches, everything, wanted)
            kept.write(chosen.strength, chosen.balance, suspects, **view.to_json())
        return view.space.model(solve(again, chosen.strength), temperature).write(directory)

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
    """How a head sees texts: its ``space``, and whether it learns from the names of the ``classes`` too.

    ``validated`` is what cross-validation at the usual strength said of it, where that has decided for it.
    """

    space: Space
    classes: tuple[str, ...]
    choice: Choice
    named: bool
    validated: Validated | None = None

    def problem(self, at: Rows, shown: Indicators, whole: Indicators | None = None) -> Problem:
        """Put to it what texts at these rows of the corpus, with the classes they show, have to be learned.

        The names are those of classes that one of them shows: where they are a sample, one of the ``whole``, likewise.
        """
        spelled, added = names_of(self.classes, shown if whole is None else whole) if self.named else {}, None
        if spelled:
            classes = np.eye(len(self.classes), dtype=bool)[list(spelled)]
            added = (self.space.of_texts([*spelled.values()]), classes)
        return Problem(self.space.rows(at), shown, self.choice, added=added, scaled=False, strengths=_STRENGTHS)

    def to_json(self) -> dict[str, bool]:
        """Say it for another run with the same labels."""
        return {"embedded": self.space.embedded, "named": self.named}

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

    def view(self, texts: Sequence[str], at: Rows, shown: Indicators) -> View:
        """Decide by cross-validation whether embeddings and names of classes help; both are taken but where they harm.

        That is where log-loss without is lower by more than its standard error over texts: a choice that a few labels
        turn over makes heads of one version and of the next differ by more than these labels. ``at`` are the rows of
        the texts to learn from, which ``shown`` (rows, classes) tells the classes of.
        """
        spaces = self._spaces(texts)
        best, losses = self._validated(View(spaces.embedded, self.classes, self.choice, named=True), at, shown)
        if best.validated is None:
            return best
        if spaces.corpus.pooled is not None:
            plain, others = self._validated(replace(best, space=spaces.plain), at, shown)
            best, losses = (plain, others) if _are_lower(others, losses) else (best, losses)
        unnamed, others = self._validated(replace(best, named=False), at, shown)
        return unnamed if _are_lower(others, losses) else best

    def seen(self, texts: Sequence[str], said: Mapping[str, bool]) -> View:
        """See texts as it was ``said`` of a view."""
        spaces = self._spaces(texts)
        return View(spaces.embedded if said["embedded"] else spaces.plain, self.classes, self.choice, said["named"])

    def kept(self, caches: Path, texts: Labeled, balance: str) -> KeptChoice:
        """Find what was chosen for the texts of both sides."""
        embeddings = packaged()
        name = repr((_FORMAT, "" if embeddings is None else embeddings.hash, self.classes))
        return KeptChoice.of(caches, name, texts.said(), self.choice, balance, self.seed)

    def _spaces(self, texts: Sequence[str]) -> Spaces:
        return _counted(tuple(texts), len(self.classes), self.seed)

    def _validated(self, view: View, at: Rows, shown: Indicators) -> tuple[View, Losses]:
        """Cross-validate a sample at the usual strength; gives each text's log-loss: none where there are too few."""
        sample = examined(len(at), self.seed)
        truth = shown[sample]
        found = cross_validate(view.problem(at[sample], truth, shown), self.seed, (DEFAULT,))
        losses = np.zeros(0) if found is None else calibrated_losses(HeldOut(truth, found.logits), self.choice)
        return replace(view, validated=found), losses


def _are_lower(losses: Losses, others: Losses) -> bool:
    """Whether they are by more than chance makes of it."""
    change = losses - others
    return bool(change.mean() < -change.std() / np.sqrt(len(change)))


@lru_cache(maxsize=1)
def _counted(texts: tuple[str, ...], classes: int, seed: int) -> Spaces:
    """Count texts, which the gate asks for again in the same process."""
    return Spaces(Corpus.of(texts, classes, packaged(), seed))


def refitted(task: Task, texts: Sequence[str], labeled: Labeled, balance: str, caches: Path | None) -> RefittedHead:
    """Take what was chosen for labeled texts, as far as it is kept in ``caches`` (None: choose anew).

    ``texts`` make the space; those that are ``labeled`` are among them.
    """
    row = {text: at for at, text in enumerate(texts)}
    at = np.array([row[text] for text in labeled.texts])
    kept = None if caches is None else task.kept(caches, labeled, balance)
    said = {} if kept is None else kept.held()
    if all(isinstance(said.get(name), bool) for name in ("embedded", "named")):
        view = task.seen(texts, said)
    else:
        view, kept = task.view(texts, at, labeled.shown), None
    problem, confirmed = view.problem(at, labeled.shown), labeled.confirmed
    found = RefittedHead.chosen(labeled.names, problem, balance, task.seed, None, confirmed, kept, view.validated)
    anew = None if found.anew is None else partial(refitted, task, texts, labeled, balance, None)
    return replace(found, anew=anew)


def names_of(classes: Sequence[str], shown: Indicators) -> dict[int, str]:
    """Spell the names of the classes that some text shows, as a text would: ``cardArrival_late`` as three words."""
    spelled = {at: " ".join(_PARTS.findall(_CAMEL.sub(" ", name))) for at, name in enumerate(classes)}
    return {at: words for at, words in spelled.items() if words and shown[:, at].any()}
