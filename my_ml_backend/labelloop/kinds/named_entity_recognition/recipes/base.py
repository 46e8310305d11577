"""What every recipe is given, and what it hands back to the contest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from labelloop.kinds.hyperparameters import OwnParameters
from labelloop.types import Json, Progress, Region

Regions = tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Labeled:
    """A text and the spans that are learned of it, none overlapping; ``content`` is the sha256 of the text (hex)."""

    content: str
    text: str
    regions: Regions


class Model(Protocol):
    """What a recipe has learned."""

    def find(self, texts: Sequence[str]) -> list[Regions]:
        """Find the spans of each text, with calibrated scores; the unsure ones too, none overlapping."""
        ...

    def write(self, folder: Path) -> tuple[str, ...]:
        """Write the files that serve it into a bundle's folder, and name them."""
        ...


@dataclass(frozen=True, slots=True)
class Material:
    """The texts of both sides that have been read, ``classes`` of the project, and what decides the rest.

    ``checkpoints`` is where a training that was killed goes on, ``caches`` what runs share. ``challengers`` are recipes
    that it leaves to a challenger, ``challenger`` says that it is one.
    """

    train: tuple[Labeled, ...]
    validation: tuple[Labeled, ...]
    classes: tuple[str, ...]
    parameters: OwnParameters
    caches: Path
    checkpoints: Path
    progress: Progress
    challengers: tuple[str, ...] = ()
    challenger: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe's model, and the spans that it ``found`` in the validation texts before it had seen them.

    ``refit`` learns once more, with them. ``calibration`` says what calibrating changed, on texts that were held out:
    each measure as ``NAME_before`` and ``NAME_after``. ``device`` is where it was trained.
    """

    recipe: str
    model: Model
    found: tuple[Regions, ...]
    refit: Callable[[], Model] | None = None
    calibration: Json = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    curve: tuple[Json, ...] = ()
    device: str = "cpu"


Recipe = Callable[[Material], Candidate]
