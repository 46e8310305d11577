"""Which of the regions found in an item are right, and what the others are instead."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelloop.types import Region

Overlaps = npt.NDArray[np.float64]

_ROUNDING = 1e-9

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Matches:
    """What became of an item's regions, by their places in both lists; a pair is (true, found).

    ``right``: the same label at the same place. ``missed`` are true ones that nothing found is right about,
    ``invented`` found ones that are not right. Of these, ``labels`` are at the right place with another label, and
    ``borders`` have the right label, and a place that only overlaps.
    """

    right: Pairs
    missed: tuple[int, ...]
    invented: tuple[int, ...]
    labels: Pairs
    borders: Pairs

    @property
    def exact(self) -> bool:
        """Whether exactly the right regions were found."""
        return not self.missed and not self.invented


def match(
    true: Sequence[Region], found: Sequence[Region], overlaps: Overlaps, least: float, touching: float
) -> Matches:
    """Pair true and found regions one to one; ``overlaps`` is the share of their union in common, (true, found).

    Found ones choose by falling scores, each the true one of its label that it overlaps most and that is free, from
    ``least`` on (COCO's rule; Everingham et al., IJCV 88, 2010, section 4.4). What is left is paired by falling
    overlap: first where it is as large and the label another one, then where it is more than ``touching``.
    """
    same = np.array([[one.label == other.label for other in found] for one in true], dtype=bool).reshape(overlaps.shape)
    near = overlaps >= least - _ROUNDING
    right: list[tuple[int, int]] = []
    free = np.ones(len(true), dtype=bool)
    for at in by_score(found):
        possible = np.flatnonzero(same[:, at] & near[:, at] & free)
        if len(possible):
            best = int(possible[overlaps[possible, at].argmax()])
            free[best] = False
            right.append((best, at))
    labels = _closest(overlaps, near & ~same, right)
    borders = _closest(overlaps, (overlaps > touching) & same, [*right, *labels])
    hit, given = ({pair[side] for pair in right} for side in (0, 1))
    return Matches(
        tuple(sorted(right)),
        tuple(at for at in range(len(true)) if at not in hit),
        tuple(at for at in range(len(found)) if at not in given),
        labels,
        borders,
    )


def by_score(found: Sequence[Region]) -> list[int]:
    """Give places by falling scores, equal ones as they come; who says no score is sure."""
    return sorted(range(len(found)), key=lambda at: -score_of(found[at]))


def score_of(region: Region) -> float:
    """Give how sure a region is; one without a score is as sure as can be."""
    return 1.0 if region.score is None else region.score


def _closest(overlaps: Overlaps, possible: npt.NDArray[np.bool_], taken: Iterable[tuple[int, int]]) -> Pairs:
    """Pair what is possible and not taken, the largest overlap first."""
    rows, columns = ({pair[side] for pair in taken} for side in (0, 1))
    pairs = sorted(zip(*np.nonzero(possible), strict=True), key=lambda pair: -overlaps[pair])
    chosen = []
    for one, other in pairs:
        if one not in rows and other not in columns:
            rows.add(one)
            columns.add(other)
            chosen.append((int(one), int(other)))
    return tuple(sorted(chosen))
