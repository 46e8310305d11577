"""What every recipe is given, and what it hands back."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.kinds.hyperparameters import OwnParameters
from labelloop.models.features import OpenFeatures
from labelloop.train.dataset import FinetunedNetwork, Said
from labelloop.train.label_errors import Suspect
from labelloop.train.metrics import HeldOut, Indicators
from labelloop.train.selection import Validation
from labelloop.types import Choice, Epoch, Item, Progress, Watch, unwatched

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Labeled:
    """Texts with their names (sha256) and the classes each ``shown``, (texts, classes).

    ``confirmed`` (texts,) are those whose labels were looked at again, so that nothing that contradicts them counts.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    shown: Indicators
    confirmed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, read: Iterable[tuple[Item, str]], classes: Sequence[str]) -> Self:
        """Take items with their texts, ordered by content: a run does not depend on how labels were fetched."""
        held = sorted(read, key=lambda one: (one[0].content, one[0].labels))
        shown = np.array([[name in item.labels for name in classes] for item, _ in held], dtype=bool)
        return cls(
            tuple(item.content for item, _ in held),
            tuple(text for _, text in held),
            shown.reshape(len(held), len(classes)),
            np.array([item.confirmed for item, _ in held], dtype=bool),
        )

    def said(self) -> Iterator[Said]:
        """Say what each text shows."""
        shown = (tuple(np.flatnonzero(row).tolist()) for row in self.shown)
        return zip(self.names, shown, self.confirmed.tolist(), strict=True)

    def take(self, at: npt.NDArray[np.intp]) -> Self:
        """Give a part of them."""
        names, texts = (tuple(every[row] for row in at) for every in (self.names, self.texts))
        return replace(self, names=names, texts=texts, shown=self.shown[at], confirmed=self.confirmed[at])

    def without(self, names: Container[str]) -> Self:
        """Give those that are not among these."""
        return self.take(np.array([row for row, name in enumerate(self.names) if name not in names], dtype=np.intp))

    def joined(self, other: Self) -> Self:
        """Give both together."""
        return replace(
            self,
            names=self.names + other.names,
            texts=self.texts + other.texts,
            shown=np.concatenate((self.shown, other.shown)),
            confirmed=np.concatenate((self.confirmed, other.confirmed)),
        )


@dataclass(frozen=True, slots=True)
class OnNetwork:
    """What a last layer is learned on: a finetune's ``network``.

    ``opens`` opens the features of the run's project, in ``caches`` what is cut out of the network is kept.
    """

    network: FinetunedNetwork
    opens: OpenFeatures
    caches: Path


@dataclass(frozen=True, eq=False)
class Material:
    """One run's labels and parameters.

    ``checkpoints`` is a folder of this run alone, where a training that was killed finds how far it had come;
    in ``caches`` what a head has chosen is kept for the gate (None: nowhere).
    ``challengers`` are recipes that it leaves to a challenger, ``challenger`` says that it is one. Beside a head, a
    last layer is learned ``on`` a finetune's network, where there is one.
    """

    classes: tuple[str, ...]
    choice: Choice
    train: Labeled
    validation: Labeled
    parameters: OwnParameters
    progress: Progress
    watch: Watch = unwatched
    checkpoints: Path | None = None
    caches: Path | None = None
    challengers: tuple[str, ...] = ()
    challenger: bool = False
    on: OnNetwork | None = None

    @property
    def seed(self) -> int:
        """What decides every draw."""
        return self.parameters.seed

    def trusting(self, suspects: Container[str]) -> Self:
        """Give the same without training texts whose labels are probably wrong."""
        return replace(self, train=self.train.without(suspects))

    @property
    def tested(self) -> Validation:
        """The validation side, as a choice between recipes looks at it."""
        return Validation(self.validation.names, self.validation.shown, self.choice)

    def require_contrast(self) -> None:
        """Raise TrainingError unless the training texts tell at least one class from the rest."""
        counts = self.train.shown.sum(axis=0)
        seen = ", ".join(name for name, count in zip(self.classes, counts, strict=True) if count) or "none"
        if self.choice == "single" and np.count_nonzero(counts) < 2:
            raise TrainingError(
                f"the {len(self.train.texts)} training texts have fewer than two classes (seen: {seen}); label texts "
                "of another class"
            )
        if not np.any((counts > 0) & (counts < len(self.train.texts))):
            raise TrainingError(
                f"no label sets any of the {len(self.train.texts)} training texts apart (seen: {seen}); each label "
                "needs texts with it and texts without it"
            )


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained model and its logits on the validation side, (texts, classes).

    ``write`` writes its files into a folder, and names them; logits are divided by the temperature that it is given. A
    head learns from the validation texts first, as nothing is left to be chosen by them. ``held`` is what
    cross-validation said of training texts.
    ``suspects`` are the texts of both sides (sha256) whose labels are probably wrong: no recipe learns from them.
    ``before`` is the head where there is one. ``curve`` holds what each epoch reached, ``notes`` are sentences for the
    run's record. ``thresholds`` (classes,) are the scores from which on several classes are given (None: a half each).
    ``features`` names those that a last layer is served behind; empty for others.
    """

    recipe: str
    logits: Logits
    write: Callable[[Path, float], tuple[str, ...]]
    held: HeldOut | None = None
    suspects: Mapping[str, Suspect] = field(default_factory=dict)
    before: "Candidate | None" = None
    balance: str = "none"
    strength: float = 0.0
    temperature: float = 1.0
    thresholds: npt.NDArray[np.float64] | None = None
    curve: tuple[Epoch, ...] = ()
    notes: tuple[str, ...] = ()
    device: str = "cpu"
    features: str = ""


Recipe = Callable[[Material, Candidate | None], Candidate]
"""Trains on the material; the second argument is what the recipe before it made, if there was one."""
