"""Best values kept for a project, and how they go together with the settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.errors import SettingsError, StoreError
from labelloop.models.file_store import FileStore
from labelloop.models.runs import Defaults, ProjectDefaults
from labelloop.run.search.defaults import keep_defaults, kept, lasting, with_defaults
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey

PROJECT = ProjectKey("localhost-8080", 7)
FOUND = {"model": "resnet34", "image_size": "160", "optimizer": "sgd", "augmentations": "none", "learning_rate": "0.01"}


def found(parameters: dict[str, str]) -> Json:
    """The part of a search's result that defaults are made of."""
    best = {"parameters": parameters, "accuracy": 0.9, "log_loss": 0.3}
    return {"best": best, "manifest": "ab", "pictures": 40, "counts": {"finished": 5, "pruned": 2}}


def test_a_project_without_a_search_has_no_defaults(tmp_path: Path) -> None:
    assert ProjectDefaults(FileStore(tmp_path), PROJECT).read() == Defaults()


def test_best_values_are_kept_for_one_project_until_they_are_cleared(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    written = keep_defaults(store, PROJECT, found({"recipe": "finetune", **FOUND}))
    kept_ones = ProjectDefaults(store, PROJECT)

    assert kept_ones.read() == written
    assert written.parameters == FOUND
    assert (written.accuracy, written.pictures, written.trials) == (0.9, 40, 7)
    assert ProjectDefaults(store, ProjectKey("localhost-8080", 8)).read() == Defaults()
    kept_ones.clear()
    assert kept_ones.read() == Defaults()


def test_next_settings_are_the_best_ones() -> None:
    settings = with_defaults(Settings(), FOUND)

    assert (settings.backbone, settings.image_size, settings.learning_rate) == ("resnet34", 160, 0.01)
    assert (settings.optimizer, settings.augmentations) == ("sgd", "none")
    assert settings == replace(
        Settings(), backbone="resnet34", image_size=160, learning_rate=0.01, optimizer="sgd", augmentations="none"
    )


def test_what_was_set_goes_before_and_is_named() -> None:
    own = Settings.from_environment({"LABELLOOP_IMAGE_SIZE": "96", "LABELLOOP_EPOCHS": "3"})

    assert with_defaults(own, FOUND) == replace(with_defaults(Settings(), FOUND), image_size=96, epochs=3)
    assert kept(own, FOUND) == {"image_size": "LABELLOOP_IMAGE_SIZE"}


@pytest.mark.parametrize("variable", ["LABELLOOP_OPTIMIZER", "LABELLOOP_LEARNING_RATE"])
def test_optimizer_and_learning_rate_stay_together(variable: str) -> None:
    value = {"LABELLOOP_OPTIMIZER": "lamb", "LABELLOOP_LEARNING_RATE": "0.1"}[variable]
    own = Settings.from_environment({variable: value})
    merged = with_defaults(own, FOUND)

    assert (merged.optimizer, merged.learning_rate) == (own.optimizer, own.learning_rate)
    assert kept(own, FOUND) == {"optimizer": variable, "learning_rate": variable}


def test_files_of_one_machine_are_no_defaults() -> None:
    assert lasting({**FOUND, "augmentations": "mine.yaml"}) == {
        name: value for name, value in FOUND.items() if name != "augmentations"
    }


def test_a_head_leaves_what_it_did_not_search_as_it_is() -> None:
    assert lasting({"recipe": "head", "model": "resnet34", "image_size": "160"}) == {
        "model": "resnet34",
        "image_size": "160",
    }


def test_defaults_that_set_something_else_are_refused() -> None:
    with pytest.raises(StoreError, match=r"defaults.json sets weights; .* are model, image_size"):
        with_defaults(Settings(), {"weights": "/etc/passwd"})
    with pytest.raises(SettingsError, match="LABELLOOP_IMAGE_SIZE"):
        with_defaults(Settings(), {"image_size": "large"})
