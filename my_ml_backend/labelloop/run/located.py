"""Test items with what is true and what was found of them, for kinds whose truth is regions: ``predictions.npz``."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from labelloop.errors import StoreError
from labelloop.files import whole_file
from labelloop.regions import read_regions, write_regions
from labelloop.run.scoring import Rename
from labelloop.types import Answer, Box, Failure, Item, NotAsked, Output, Region, Shape, Shown, Span

Regions = tuple[Region, ...]

_PARTS = 3

_SHOWN = 200
"""Characters that are kept of the reason why an item has no prediction."""


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


def locate(
    item: Item,
    true: Regions,
    answer: Answer | Shown | Failure,
    shape: type[Shape],
    shown: Callable[[Region], bool],
    rename: Rename,
    classes: Sequence[str],
) -> Located | None:
    """Put what was answered beside what is ``true`` of an item; None where nobody could be asked.

    Regions of another ``shape`` count for nothing, nor does one without an extent, or with a label that is none of
    today's ``classes``, to which ``rename`` leads: annotators see none of them.
    """
    if isinstance(answer, NotAsked):
        return None
    if isinstance(answer, Failure):
        return Located(item.content, item.task, true, reason=answer.reason[:_SHOWN] or "no reason is known")
    if isinstance(answer, Output):
        return Located(item.content, item.task, true, reason="it classifies, where regions are asked for")
    found = [(region, shown(region)) for region in answer.regions if isinstance(region.shape, shape)]
    given, unsure = (
        tuple(one for region, is_shown in found if is_shown == wanted and (one := _renamed(region, rename, classes)))
        for wanted in (True, False)
    )
    return Located(item.content, item.task, true, given, unsure)


def _renamed(region: Region, rename: Rename, classes: Sequence[str]) -> Region | None:
    label = rename(region.label)
    return replace(region, label=label, tag="") if label in classes and label and _extends(region.shape) else None


def _extends(shape: Shape) -> bool:
    match shape:
        case Span(start, end):
            return start < end
        case Box():
            return min(shape.width, shape.height) > 0
    return False


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
