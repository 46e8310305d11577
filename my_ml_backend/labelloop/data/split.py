"""Which side a picture is on, for ever."""

import hashlib

from labelloop.data.duplicates import each_picture_once
from labelloop.data.lacking import lacking, lacking_labels
from labelloop.data.manifest import Manifest
from labelloop.types import Item, Side

__all__ = ["SIDES", "lacking_labels", "missing", "side", "splits"]

SIDES: tuple[Side, ...] = ("train", "validation", "test")

_SALT = "labelloop split 1\n"
"""Fixed for ever: with another one, every picture would move and no two versions' scores could be compared."""


def side(picture: str) -> Side:
    """Say on which side a picture is (sha256 of its bytes, hex): 80 % train, 10 % validation, 10 % test."""
    # Hashed again, so that nothing else that is chosen by a picture's hash can go along with its side.
    share = int.from_bytes(hashlib.sha256((_SALT + picture).encode()).digest()[:8]) % 100
    if share < 80:
        return "train"
    return "validation" if share < 90 else "test"


def splits(manifest: Manifest) -> dict[Side, tuple[Item, ...]]:
    """Part the items by side: each picture once, none whose tasks contradict each other, in the manifest's order."""
    parts: dict[Side, list[Item]] = {name: [] for name in SIDES}
    for item in each_picture_once(manifest.items):
        parts[side(item.content)].append(item)
    return {name: tuple(items) for name, items in parts.items()}


def missing(manifest: Manifest, min_labels: int) -> str:
    """Say what the first version still lacks: ``12 more labels; class 7 has none; no test picture yet``.

    Empty when there is enough: ``min_labels`` pictures, two different answers among them, a picture on every side.
    Classes without a label are told along with the rest, but alone they do not keep a project from its first version.
    """
    return lacking(splits(manifest), manifest.classes, min_labels)
