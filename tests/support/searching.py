"""Run folders whose data are fetched already, for searches in seconds."""

import json
from pathlib import Path

from labelloop.data.manifest import Manifest
from labelloop.run.context import Context
from labelloop.run.folder import RunFolder
from labelloop.settings import Settings
from labelloop.types import Item, ProjectKey, Side
from support.shapes import CLASSES, picture


def settings(folder: Path, epochs: int = 2) -> Settings:
    """Settings of a small network from random weights; caches lie in ``folder``."""
    return Settings(
        model_dir=str(folder / "machine"), backbone="test_resnet", weights="none", image_size=32, epochs=epochs
    )


def fetched(folder: Path, own: Settings, train: int = 16, validation: int = 8) -> Context:
    """Make a run of bars across and upright, ``folder/run``, with its pictures in the cache."""
    context = Context(RunFolder(folder / "run"), own, lambda _what, _done, _total: None)
    items, sides = [], dict[str, Side]()
    for number in range(train + validation):
        shown = number % 2
        name = context.pictures.add(picture((shown,), seed=number))
        items.append(Item(number + 1, name, (CLASSES[shown],)))
        sides[name] = "train" if number < train else "validation"
    manifest = Manifest.of(ProjectKey("local", 1), "single", CLASSES, items)
    context.folder.path.mkdir()
    context.folder.manifest.write_text(manifest.to_jsonl())
    context.folder.sides.write_text(json.dumps({"sides": sides, "moved": []}))
    return context
