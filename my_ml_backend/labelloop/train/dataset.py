"""What a run trains on: pictures on disk and, by index, the classes each shows, and what it hands back."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import Int8
from labelloop.errors import TrainingError
from labelloop.types import Choice, Epoch, Json

Said = tuple[str, tuple[int, ...], bool]
"""An item (sha256), its classes by index, and whether these are confirmed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture: its file, the sha256 of its bytes (hex), and the sorted indices of its classes.

    ``confirmed``: these were looked at again (see ``Item``), so that nothing that contradicts them counts.
    """

    path: Path
    picture: str
    targets: tuple[int, ...]
    confirmed: bool = False

    @property
    def said(self) -> Said:
        """What is said of the picture."""
        return self.picture, self.targets, self.confirmed


@dataclass(frozen=True, slots=True)
class Dataset:
    """The two sides a run may see. ``classes`` are all of the label config, also those no sample shows."""

    classes: tuple[str, ...]
    choice: Choice
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]

    def __post_init__(self) -> None:
        for sample in (*self.train, *self.validation):
            if self.choice == "single" and len(sample.targets) != 1:
                raise ValueError(f"picture {sample.picture} has {len(sample.targets)} classes; kind single takes one")
            if any(not 0 <= target < len(self.classes) for target in sample.targets):
                raise ValueError(f"picture {sample.picture} has a class outside the {len(self.classes)} classes")

    @property
    def targets(self) -> dict[str, tuple[int, ...]]:
        """Map the pictures (sha256) of both sides to their classes."""
        return {sample.picture: sample.targets for sample in (*self.train, *self.validation)}

    def without(self, pictures: Container[str]) -> "Dataset":
        """Give both sides without these pictures (sha256)."""
        train, validation = (
            tuple(sample for sample in side if sample.picture not in pictures) for side in (self.train, self.validation)
        )
        return Dataset(self.classes, self.choice, train, validation)


def indicators(samples: Sequence[Sample], classes: int) -> npt.NDArray[np.bool_]:
    """Tell which sample shows which class: bool, (samples, classes)."""
    shown = np.zeros((len(samples), classes), dtype=bool)
    for row, sample in enumerate(samples):
        shown[row, list(sample.targets)] = True
    return shown


def in_order(dataset: Dataset) -> Dataset:
    """Sort both sides by picture, so that a run does not depend on the order in which labels were fetched."""
    train, validation = (
        tuple(sorted(side, key=lambda sample: (sample.picture, sample.targets)))
        for side in (dataset.train, dataset.validation)
    )
    return Dataset(dataset.classes, dataset.choice, train, validation)


def require_contrast(dataset: Dataset, unreadable: int = 0) -> None:
    """Raise TrainingError unless the training samples tell at least one class from the rest.

    ``unreadable`` is how many pictures were left out before, for the message.
    """
    counts = indicators(dataset.train, len(dataset.classes)).sum(axis=0)
    names = ", ".join(name for name, count in zip(dataset.classes, counts, strict=True) if count) or "none"
    lost = f" ({unreadable} pictures could not be read)" if unreadable else ""
    if dataset.choice == "single" and np.count_nonzero(counts) < 2:
        raise TrainingError(
            f"the {len(dataset.train)} training pictures show fewer than two classes (seen: {names}); "
            f"label pictures of another class{lost}"
        )
    if not np.any((counts > 0) & (counts < len(dataset.train))):
        raise TrainingError(
            f"no label sets any of the {len(dataset.train)} training pictures apart (seen: {names}); "
            f"each label needs pictures with it and pictures without it{lost}"
        )


def balanced(samples: Sequence[Sample], most: int, seed: int) -> tuple[Sample, ...]:
    """Choose at most ``most`` samples, from every class in turn, by ``seed``; in the order of their pictures."""
    ordered = sorted(samples, key=_key)
    groups: dict[tuple[int, ...], list[Sample]] = {}
    for at in np.random.default_rng(seed).permutation(len(ordered)):
        groups.setdefault(ordered[at].targets, []).append(ordered[at])
    turns = [(turn, sample) for group in groups.values() for turn, sample in enumerate(group)]
    first = [sample for _, sample in sorted(turns, key=lambda entry: entry[0])[:most]]
    return tuple(sorted(first, key=_key))


def _key(sample: Sample) -> tuple[str, tuple[int, ...]]:
    return sample.picture, sample.targets


@dataclass(frozen=True, slots=True)
class FinetunedNetwork:
    """The network of a project's finetune: the ``version`` that it made, and the file of its ``weights`` in a bundle.

    ``learned`` are the items (sha256) that it learned from. With ``flips`` it answers for picture and mirror image.
    """

    version: str
    weights: Path
    learned: Container[str]
    flips: bool = False

    @property
    def noted(self) -> str:
        """Say for a run's record that a last layer is learned on it."""
        return f"the last layer is learned on the network of {self.version}"


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model: its bundle (a folder, ``model.json`` written last) and how it came about.

    ``recipe`` is the winner; ``validation`` maps each recipe that ran to its accuracy on the validation side (empty
    without validation pictures); ``seconds`` maps each stage to its duration; ``left_out`` maps unreadable pictures
    (sha256) to the reason; ``notes`` are sentences for the run's record. ``curves`` maps each recipe to what its epochs
    reached (Epoch), ``policy`` is how a finetune changed its pictures ("" without one). ``flips``,
    ``balance`` and ``temperature`` are the winner's; ``calibration`` holds the validation log-loss before and after the
    temperature. ``device`` is where the winner was trained. ``suspects`` are the pictures that were left out because
    their labels are probably wrong, most certain first: ``picture`` (sha256), the classes ``given`` and ``suggested``,
    ``score`` and ``given_score``. ``challengers`` maps recipes that are left to a challenger to the reason why they
    cannot win ("" where they can). ``network`` is the version whose network a last layer was learned on. ``int8`` says
    what came of its form in 8 bits, where that was tried, whether it is served or not.
    """

    bundle: Path
    recipe: str
    validation: Mapping[str, float]
    seconds: Mapping[str, float]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()
    curves: Mapping[str, Sequence[Epoch]] = field(default_factory=dict)
    flips: bool = False
    balance: str = "none"
    policy: str = ""
    temperature: float = 1.0
    calibration: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
    suspects: Sequence[Json] = ()
    challengers: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    int8: Int8 | None = None
