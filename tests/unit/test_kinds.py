"""Every kind says what is its own, and no other setting is in its runs' keys."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from labelloop.errors import UnknownKind
from labelloop.kinds.base import KINDS, find, kind_of, kinds, learnable
from labelloop.settings import Settings
from labelloop.types import IMAGES

PAGE = (Path(__file__).parents[2] / "docs" / "kinds.md").read_text()
OTHERS = {
    "backbone": "resnet34",
    "image_size": 64,
    "recipes": ("head",),
    "epochs": 3,
    "batch_size": 8,
    "optimizer": "sgd",
    "learning_rate": 0.25,
    "augmentations": "realistic",
    "mixup": 0.2,
    "balance": "loss",
    "int8": "off",
    "weights": "pretrained",
    "encoder": "organisation/encoder",
    "seed": 5,
    "min_labels": 7,
    "gate_margin": 0.3,
    "minimum_f1": 0.9,
    "threshold": 0.4,
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("field", OTHERS)
def test_a_kinds_runs_are_named_by_its_own_settings_and_the_seed(name: str, field: str) -> None:
    kind, usual = find(name), Settings(weights="none", encoder="organisation/other")
    changed = replace(usual, **{field: OTHERS[field]})  # type: ignore[arg-type]
    before, after = (kind.hyperparameters(one) for one in (usual, changed))
    told = (before.fingerprint(), before.seed) != (after.fingerprint(), after.seed)
    assert told == (field == "seed" or field in kind.settings)


@pytest.mark.parametrize("name", KINDS)
def test_the_page_lists_what_a_kind_learns_and_its_settings(name: str) -> None:
    kind = find(name)
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    known = {entry.name: entry.metadata["name"] for entry in fields(Settings)}
    learned = {word for control, about in kind.label_configs for word in (control, *about)}
    assert set(re.findall(r"`([^`]+)`", row)) == {name, *learned, *kind.recipes, *(known[one] for one in kind.settings)}


def test_a_label_config_belongs_to_one_kind() -> None:
    pairs = [(control, about) for kind in kinds() for control, objects in kind.label_configs for about in objects]
    assert len(pairs) == len(set(pairs))
    assert pairs == [(control, about) for control, objects in learnable() for about in objects]
    assert kind_of("Choices", "Image").name == IMAGES
    with pytest.raises(UnknownKind, match="<Choices> about <Audio>"):
        kind_of("Choices", "Audio")


@pytest.mark.parametrize("name", ["", "images", None, ["image-classification"]])
def test_what_is_no_kind_is_named(name: object) -> None:
    with pytest.raises(UnknownKind, match="which this release does not know"):
        find(name)


def test_what_an_engine_runs_is_part_of_its_kinds_bundles() -> None:
    for engine in Settings.choices_of("engine"):
        assert all(set(kind.served(engine)) <= set(kind.weights) for kind in kinds())
