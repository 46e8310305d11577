"""Several annotators, one truth, where each of them draws regions: what most of them drew."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from labelloop.types import Region

Regions = Sequence[Region]
Overlaps = Callable[[Regions, Regions], npt.NDArray[np.float64]]
"""Gives the share of their union that regions have in common: (ones, others)."""

_ROUNDING = 1e-9


def agreement(
    drawn: Sequence[Regions], overlaps: Overlaps, least: float, middle: Callable[[Regions], Region]
) -> tuple[list[Region], list[str]]:
    """Give what more than half of the annotators drew, and the labels of what exactly half of them did.

    ``drawn`` holds what each of them drew, at least one of them. Regions of a label are the same one where they overlap
    by ``least``; ``middle`` makes one of those that are.
    """
    if len(drawn) == 1:
        return list(drawn[0]), []
    agreed, halves = [], set()
    for group in _groups(drawn, overlaps, least):
        if 2 * len(group) > len(drawn):
            agreed.append(middle(group))
        elif 2 * len(group) == len(drawn):
            halves.add(group[0].label)
    return agreed, sorted(halves)


def _groups(drawn: Sequence[Regions], overlaps: Overlaps, least: float) -> Iterator[list[Region]]:
    """Bring together what annotators drew of one thing, at most one of each; what most of them drew comes first."""
    pool = [(annotator, region) for annotator, regions in enumerate(drawn) for region in regions]
    regions, by = [region for _, region in pool], np.array([annotator for annotator, _ in pool])
    labels = np.array([region.label for region in regions], dtype=object)
    common = overlaps(regions, regions)
    alike = (common >= least - _ROUNDING) & (labels[:, None] == labels) & (by[:, None] != by)
    free = np.ones(len(pool), dtype=bool)
    for seed in np.argsort(-alike.sum(axis=1), kind="stable"):
        if not free[seed]:
            continue
        group = [seed]
        for annotator in range(len(drawn)):
            possible = np.flatnonzero(alike[seed] & free & (by == annotator))
            if len(possible):
                group.append(possible[common[seed, possible].argmax()])
        free[group] = False
        yield [regions[at] for at in sorted(group)]
