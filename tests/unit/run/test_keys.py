"""What names a run: its labels, settings and seed, whoever makes it."""

from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.data.manifest import Manifest
from labelloop.models.opening import open_store
from labelloop.models.runs import run_key
from labelloop.models.versions import Versions
from labelloop.run.context import Context, Labeled, digest_of
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import train_settings
from labelloop.run.registrar import Registrar
from labelloop.settings import Settings
from labelloop.types import Item, LeftOut, ProjectKey

PROJECT = ProjectKey("localhost-8080", 7)
SETTINGS = replace(train_settings(Settings(weights="none")), raised=())
MANIFEST = Manifest.of(PROJECT, "single", ("cat", "dog"), [Item(1, "a" * 64, ("cat",)), Item(2, "b" * 64, ("dog",))])


def test_a_run_without_named_sides_is_named_as_the_loop_has_always_named_it() -> None:
    assert Labeled(MANIFEST).key(SETTINGS) == run_key(MANIFEST.hash, SETTINGS.fingerprint(), SETTINGS.seed)
    assert Labeled(MANIFEST).key(SETTINGS) == "6226cfd525515766"


@pytest.mark.parametrize(
    "other",
    [
        Labeled(replace(MANIFEST, classes=("cat", "dog", "owl"))),
        Labeled(MANIFEST, {"a" * 64: "test"}),
        Labeled(MANIFEST, {"a" * 64: "validation"}),
    ],
)
def test_other_labels_or_sides_are_another_run(other: Labeled) -> None:
    assert other.key(SETTINGS) != Labeled(MANIFEST).key(SETTINGS)


def test_what_decides_nothing_names_nothing() -> None:
    first = Labeled(MANIFEST, {"a" * 64: "test", "b" * 64: "train"})
    again = Labeled(MANIFEST, {"b" * 64: "train", "a" * 64: "test"}, moved=(LeftOut(3, "twice"),))
    assert first.key(SETTINGS) == again.key(SETTINGS)


@pytest.mark.parametrize("labeled", [Labeled(MANIFEST), Labeled(MANIFEST, {"b" * 64: "test"}, (LeftOut(9, "moved"),))])
def test_a_version_that_the_command_of_the_first_release_made_keeps_its_run(tmp_path: Path, labeled: Labeled) -> None:
    folder, store = RunFolder(tmp_path / "run"), open_store((tmp_path / "store").as_uri())
    labeled.write(folder)
    registrar, then = Registrar(store, PROJECT, 1), digest_of(MANIFEST.hash, folder.sides)
    former = run_key(then, SETTINGS.fingerprint(), SETTINGS.seed)
    read = Context(folder, Settings(weights="none"), lambda *_: None).labeled

    assert registrar.key_of(read, SETTINGS) == labeled.key(SETTINGS) != former
    assert Versions(store, PROJECT).claim(former) == "v1"
    assert registrar.key_of(read, SETTINGS) == former
