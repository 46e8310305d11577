"""A few samples that stand for many."""

from collections.abc import Sequence

import numpy as np

from labelloop.train.dataset import Sample


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
