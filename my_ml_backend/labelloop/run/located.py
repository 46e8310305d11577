"""Test items with what is true and what was found of them, for kinds whose truth is regions: ``predictions.npz``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labelloop.errors import StoreError
from labelloop.files import whole_file
from labelloop.regions import read_regions, write_regions
from labelloop.types import Region

Regions = tuple[Region, ...]

_PARTS = 3


@dataclass(frozen=True, slots=True)
class Located:
    """One test item (sha256 of its ``picture`` or text): what is ``true`` of it, and what was found.

    ``given`` is what annotators would see, ``unsure`` what was found beside, too unsure for that; both with scores. An
    item that is not ``answered`` had no prediction, for a ``reason``, and nothing was found in it.
    """

    picture: str
    task: int
    true: Regions
    given: Regions = ()
    unsure: Regions = ()
    reason: str = field(default="", compare=False)

    @property
    def found(self) -> Regions:
        """All that was found."""
        return (*self.given, *self.unsure)

    @property
    def answered(self) -> bool:
        """Whether there was a prediction."""
        return not self.reason


def write_located(path: Path, items: Sequence[Located]) -> None:
    """Write the items whole or not at all, in a form that reads as that of a version without scores."""
    lines = [write_regions(part) for one in items for part in (one.true, one.given, one.unsure)]
    with whole_file(path) as aside:
        np.savez_compressed(
            aside,
            allow_pickle=False,
            classes=np.array((), dtype=str),
            pictures=np.array([one.picture for one in items], dtype=str),
            tasks=np.array([one.task for one in items], dtype=np.int64),
            truth=np.zeros((len(items), 0), dtype=bool),
            scores=np.zeros((len(items), 0)),
            reasons=np.array([one.reason for one in items], dtype=str),
            # As bytes: an array of texts takes as much for each as for the longest.
            regions=np.frombuffer("\n".join(lines).encode("ascii"), dtype=np.uint8),
        )


def read_located(path: Path) -> tuple[Located, ...]:
    """Read the items; raises StoreError where there are none, or those of a kind without regions."""
    try:
        with np.load(path, allow_pickle=False) as held:
            pictures, tasks, reasons = (held[name].tolist() for name in ("pictures", "tasks", "reasons"))
            lines = held["regions"].tobytes().decode("ascii").split("\n") if pictures else []
        return tuple(_read(pictures, tasks, reasons, lines))
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run the evaluate stage of this run") from error


def _read(
    pictures: Sequence[str], tasks: Sequence[int], reasons: Sequence[str], lines: Sequence[str]
) -> Iterator[Located]:
    parts = [iter(map(read_regions, lines[start::_PARTS])) for start in range(_PARTS)]
    yield from map(Located, pictures, tasks, *parts, reasons)
