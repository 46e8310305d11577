"""Which side a picture is on, for ever."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from labelloop.data.lacking import Tally, lacking, lacking_labels
from labelloop.data.manifest import Manifest
from labelloop.kinds.base import find
from labelloop.types import Item, Side

__all__ = ["SIDES", "Part", "Tally", "lacking_labels", "missing", "side", "splits", "tally"]

SIDES: tuple[Side, ...] = ("train", "validation", "test")

_SALT = "labelloop split 1\n"
"""Fixed for ever: with another one, every picture would move and no two versions' scores could be compared."""

_NONE_NAMED: Mapping[str, Side] = MappingProxyType({})


def side(picture: str) -> Side:
    """Say on which side a picture is (sha256 of its bytes, hex): 80 % train, 10 % validation, 10 % test."""
    # Hashed again, so that nothing else that is chosen by a picture's hash can go along with its side.
    share = int.from_bytes(hashlib.sha256((_SALT + picture).encode()).digest()[:8]) % 100
    if share < 80:
        return "train"
    return "validation" if share < 90 else "test"


@dataclass(frozen=True, slots=True)
class Part:
    """The items of a manifest that are on some of the sides, in its order; found anew at every pass.

    Each input is there once, and none whose tasks contradict each other. ``named`` maps inputs (sha256) to the sides
    that they were given; all others go by their content.
    """

    manifest: Manifest
    named: Mapping[str, Side]
    sides: tuple[Side, ...]

    def __iter__(self) -> Iterator[Item]:
        return (item for name, item in self.sided() if name in self.sides)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def sided(self) -> Iterator[tuple[Side, Item]]:
        """Give every item of all sides with its own."""
        for item in self.manifest.distinct():
            yield self.named.get(item.content) or side(item.content), item


def splits(manifest: Manifest, named: Mapping[str, Side] = _NONE_NAMED) -> dict[Side, Part]:
    """Part the items by side."""
    return {name: Part(manifest, named, (name,)) for name in SIDES}


def tally(manifest: Manifest, named: Mapping[str, Side] = _NONE_NAMED) -> dict[Side, Tally]:
    """Count items and labels by side, in one pass."""
    found = {name: Tally() for name in SIDES}
    for name, item in Part(manifest, named, SIDES).sided():
        found[name].add(item.labels)
    return found


def missing(manifest: Manifest, min_labels: int) -> str:
    """Say what the first version still lacks: ``12 more labels; class 7 has none; no test picture yet``.

    Empty when there is enough: ``min_labels`` items, two different answers among them, one on every side.
    Classes without a label are told along with the rest, but alone they do not keep a project from its first version.
    """
    return lacking(tally(manifest), manifest.classes, min_labels, find(manifest.kind))
