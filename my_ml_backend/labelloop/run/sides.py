"""The sides of a run's pictures: those that the source named, and for all others the split by content."""

from collections.abc import Mapping

from labelloop.data.manifest import Manifest
from labelloop.data.split import SIDES, side, splits
from labelloop.types import Item, Side

Sides = dict[Side, tuple[Item, ...]]


def sides_of(manifest: Manifest, named: Mapping[str, Side]) -> Sides:
    """Part a manifest's items, each picture once; ``named`` maps pictures to the sides that they were given."""
    parts: dict[Side, list[Item]] = {name: [] for name in SIDES}
    for items in splits(manifest).values():
        for item in items:
            parts[named.get(item.picture) or side(item.picture)].append(item)
    return {name: tuple(sorted(items, key=lambda item: item.task)) for name, items in parts.items()}


def with_own_test(manifest: Manifest, named: Mapping[str, Side]) -> dict[str, Side]:
    """Name sides where the test pictures are a set of their own: what the split would test on is learned from too."""
    given = dict(named)
    for item in manifest.items:
        if item.picture not in given and side(item.picture) == "test":
            given[item.picture] = "train"
    return given
