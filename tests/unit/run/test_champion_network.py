"""On which network a last layer is learned: the champion's, where a finetune made it by the settings of today."""

from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.data.manifest import Manifest
from labelloop.data.split import Part
from labelloop.errors import BundleError, TrainingError
from labelloop.kinds.base import find
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs, manifest_path, sides_path
from labelloop.models.versions import VersionRecord, Versions
from labelloop.run.champion_network import ChampionNetwork
from labelloop.run.context import Labeled
from labelloop.run.refits import Origin
from labelloop.settings import Settings
from labelloop.types import IMAGES, SPANS, TEXTS, Item, Json, ProjectKey, Side
from support.bundles import make_bundle
from support.memory_store import MemoryStore

PROJECT = ProjectKey("localhost-8080", 7)
TODAY = Settings(backbone="test_resnet", weights="pretrained", image_size=32)


class Versioned:
    """A project's versions, each of which becomes champion."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.store = folder, MemoryStore()

    def champion(self, recipe: str, network: str = "", trained: Settings | None = TODAY, kind: str = IMAGES) -> str:
        versions, pointer = Versions(self.store, PROJECT), ChampionPointer(self.store, PROJECT)
        key = f"run-{len(versions.names())}"
        name = versions.claim(key)
        make_bundle(self._folder / name)
        metrics: Json = {"network": network} if network else {}
        record = VersionRecord(name, key, recipe, None, "", True, "made", metrics)
        trained_with = find(kind).hyperparameters(trained).to_json() if trained else {}
        record = replace(record, trained_with=trained_with)
        Runs(self.store, PROJECT).save(RunRecord(key, str(PROJECT), "", "", 0, kind=kind))
        versions.publish(name, self._folder / name, record)
        pointer.promote(name, pointer.take_fence())
        return name

    def found(self, today: Settings = TODAY, kind: str = IMAGES) -> tuple[str, str] | None:
        """Give the finetune whose network was found, and the version that has it."""
        found = ChampionNetwork.find(self.store, PROJECT, find(kind), today)
        return (found.version, found.champion) if found else None


@pytest.fixture
def made(tmp_path: Path) -> Versioned:
    return Versioned(tmp_path)


def test_it_is_that_of_a_finetune_and_stays_under_last_layers(made: Versioned) -> None:
    assert made.found() is None, "there is no champion"
    made.champion("head")
    assert made.found() is None
    assert made.champion("finetune") == "v2"
    assert made.found() == ("v2", "v2")
    made.champion("last-layer", "v2")
    assert made.found() == ("v2", "v3")
    made.champion("head", trained=replace(TODAY, seed=1))
    assert made.found() is None


@pytest.mark.parametrize(
    ("today", "same"),
    [
        ({"epochs": 3}, True),
        ({"backbone": "resnet18"}, False),
        ({"image_size": 64}, False),
        ({"weights": "none"}, False),
    ],
)
def test_settings_of_another_network_put_an_end_to_it(made: Versioned, today: Json, same: bool) -> None:
    made.champion("finetune")
    assert (made.found(replace(TODAY, **today)) is not None) == same


def test_a_file_of_weights_may_lie_elsewhere_by_now(made: Versioned, tmp_path: Path) -> None:
    for name, content in {"before": b"some", "moved": b"some", "other": b"more"}.items():
        (tmp_path / name).write_bytes(content)
    made.champion("finetune", trained=replace(TODAY, weights=str(tmp_path / "before")))
    assert made.found(replace(TODAY, weights=str(tmp_path / "moved"))) == ("v1", "v1")
    assert made.found(replace(TODAY, weights=str(tmp_path / "other"))) is None
    assert made.found() is None


def test_an_encoder_is_that_of_a_kind(made: Versioned) -> None:
    encoder = replace(TODAY, encoder="maker/tiny")
    made.champion("finetune", trained=encoder, kind=TEXTS)
    assert made.found(encoder, TEXTS) == ("v1", "v1")
    assert made.found(replace(encoder, encoder="maker/other"), TEXTS) is None
    assert made.found(TODAY, TEXTS) is None
    made.champion("finetune", trained=encoder, kind=SPANS)
    assert made.found(encoder, TEXTS) is None, "the label config asked for spans then"


def test_a_version_whose_settings_are_not_known_has_none(made: Versioned) -> None:
    made.champion("finetune", trained=None)
    assert made.found() is None


def test_a_bundle_without_weights_has_none_to_learn_on(made: Versioned, tmp_path: Path) -> None:
    made.champion("finetune")
    found = ChampionNetwork.find(made.store, PROJECT, find(IMAGES), TODAY)
    assert found is not None
    with pytest.raises(BundleError, match="v1 has no model"):
        found.weights(tmp_path / "cache")


def test_what_it_learned_from_is_told_by_the_sides_of_its_run(tmp_path: Path) -> None:
    items = [Item(task, f"{task:064x}", ("seven",)) for task in range(1, 4)]
    named: tuple[Side, ...] = ("train", "validation", "test")
    manifest = Manifest.of(PROJECT, "single", ("seven",), items)
    labeled = Labeled(manifest, dict(zip((item.content for item in items), named, strict=True)))
    store, file = MemoryStore(), tmp_path / "manifest.jsonl"
    manifest.write(file)
    store.upload(manifest_path(PROJECT, manifest.hash), file)
    Runs(store, PROJECT).save(RunRecord("key", str(PROJECT), manifest.hash, "", 0, sides=labeled.sides_hash))
    origin = Origin(store, PROJECT, VersionRecord("v1", "key", "finetune", None, "", True, "made", {}))
    with pytest.raises(TrainingError, match="sides of v1 are not in the store"):
        origin.named_sides()
    store.write(sides_path(PROJECT, labeled.sides_hash), labeled.sides_text().encode())
    part = Part(origin.manifest(tmp_path), origin.named_sides(), ("train",))
    assert [item.task for item in part] == [1]
