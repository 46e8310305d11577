"""A run's parameters: what is refused, and that a record spells them so that they come back the same."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.cli.train import search, train
from labelloop.errors import SettingsError, TrainingError
from labelloop.kinds.base import find
from labelloop.kinds.hyperparameters import OwnParameters
from labelloop.run.parameters import (
    check_names,
    content_hash,
    is_hidden,
    parameters_of,
    recorded,
    train_settings,
    with_parameters,
)
from labelloop.settings import Settings
from labelloop.training_parameters import PARAMETERS, SEARCHED
from labelloop.types import IMAGES
from support.numbers_kind import Numbers

PICTURES = tuple(name for name in PARAMETERS if name != "encoder")

OTHER = {
    "model": "resnet34",
    "weights": "none",
    "recipe": "head",
    "image_size": "64",
    "epochs": "3",
    "batch_size": "8",
    "optimizer": "sgd",
    "learning_rate": "0.25",
    "augmentations": "realistic",
    "mixup": "0.2",
    "balance": "loss",
    "int8": "off",
    "seed": "5",
    "encoder": "organisation/encoder",
}
"""Another value than the built-in one of each parameter."""


def test_every_parameter_sets_its_setting() -> None:
    assert OTHER.keys() == PARAMETERS.keys()
    changed = with_parameters(Settings(), OTHER)
    assert (changed.backbone, changed.recipes, changed.image_size) == ("resnet34", ("head",), 64)
    assert (changed.learning_rate, changed.optimizer, changed.seed) == (0.25, "sgd", 5)
    assert parameters_of(changed, find(IMAGES).settings) == {name: OTHER[name] for name in PICTURES}
    assert parameters_of(changed, ("encoder",)) == {"seed": "5", "encoder": "organisation/encoder"}


def test_every_parameter_is_an_option_of_both_commands() -> None:
    trains, searches = ({option.name for option in command.params} for command in (train, search))
    assert set(PARAMETERS) <= trains
    assert {how.option for how in SEARCHED.values()} | (set(PARAMETERS) - set(SEARCHED)) <= searches


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_of_pictures_has_a_part_in_what_names_a_run_and_no_other_one(name: str) -> None:
    changed = with_parameters(Settings(), {name: OTHER[name]})
    told = train_settings(changed).fingerprint() != train_settings(Settings()).fingerprint()
    assert told == (name in PICTURES)


def test_runs_of_pictures_are_named_as_ever() -> None:
    """As release 0.1 names them; a recipe or a gate that is raised changes ``raised``, and this test with it."""
    usual, other = Settings(), Settings(backbone="mobilenetv3_small_100", image_size=128, mixup=0.2)
    named = [
        "ccd00ba8b5f6747222b55012085137379cb7c005c3eed1be24854581e2167bb7",
        "2e1a88f9891c689db7b5bed8ef826915b893528e9c4e2014616a50783101ca7b",
    ]
    raised = ("finetune 2", "gate 2", "head 2")
    assert [replace(train_settings(one), raised=raised).fingerprint() for one in (usual, other)] == named


def test_a_kind_without_a_class_for_them_has_its_own_settings_as_hyperparameters(tmp_path: Path) -> None:
    class Words(Numbers):
        name = "words"
        recipes: Mapping[str, int] = {"nearest": 1, "finetune": 2}
        settings: tuple[str, ...] = ("epochs", "encoder")

    def found(**more: Any) -> OwnParameters:
        return OwnParameters.of(Words(), Settings(**more))

    usual = found(epochs=7)
    assert usual.to_json() == {
        "epochs": 7,
        "encoder": "",
        "recipes": ("nearest", "finetune"),
        "seed": 0,
        "raised": ("finetune 2", "gate 2"),
    }
    # What is another kind's has no part in it.
    assert found(epochs=7, backbone="resnet34").fingerprint() == usual.fingerprint()
    others = [found(), found(epochs=7, seed=1), found(epochs=7, encoder="a/b"), found(epochs=7, encoder="a/c")]
    assert len({one.fingerprint() for one in (usual, *others)}) == 5

    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
    one, other = (found(encoder=str(folder)) for folder in folders)
    assert one.fingerprint() == other.fingerprint() != usual.fingerprint()
    assert one.to_json()["encoder_hash"] == other.to_json()["encoder_hash"]
    (folders[1] / "config.json").write_text("{}")
    assert len({found(encoder=str(folder)).fingerprint() for folder in folders}) == 2


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"LABELLOOP_ENCODER: .*/none cannot be read \(No such file or directory\)"):
        content_hash(Settings(encoder=str(tmp_path / "none")), "encoder")
    assert content_hash(Settings(encoder="organisation/name"), "encoder") == ""


def test_what_is_not_given_stays() -> None:
    assert with_parameters(Settings(epochs=7), {"batch_size": "4", "model": ""}) == Settings(epochs=7, batch_size=4)


@pytest.mark.parametrize(
    ("given_value", "told"),
    [
        ({"learningrate": "1"}, "did you mean learning_rate"),
        ({"colour": "red"}, "model, weights, recipe"),
        ({"epochs": "many"}, "not a whole number"),
        ({"epochs": "0"}, "below 1"),
        ({"learning_rate": "fast"}, "not a number"),
        ({"learning_rate": "nan"}, "below 0"),
        ({"batch_size": "1e3"}, "not a whole number"),
        ({"batch_size": "9" * 30}, "above 65536"),
        ({"learning_rate": "inf"}, "above 100"),
        ({"seed": str(2**32)}, "LABELLOOP_SEED: '4294967296' is above 4294967295"),
        ({"image_size": "100000"}, "above 4096"),
    ],
)
def test_what_cannot_be_is_refused_and_said(given_value: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        with_parameters(Settings(), given_value)


@pytest.mark.parametrize(
    ("location", "spelled"),
    [
        ("https://ann:pw@host:8080/a/list.csv?sig=x#y", "https://***@host:8080/a/list.csv?***"),
        ("HTTPS://host?sig=x", "HTTPS://host?***"),
        ("https://ann:p@w@host/list", "https://***@host/list"),
        ("s3://KEY:SECRET@bucket/list", "s3://***@bucket/list"),
    ],
)
def test_what_may_be_secret_in_an_address_is_hidden(location: str, spelled: str) -> None:
    assert recorded(location) == spelled == recorded(spelled)
    assert is_hidden(spelled)


@pytest.mark.parametrize(
    "location",
    [
        "/data/a b?c#d@e",
        "C:\\data",
        "s3://bucket/a?b#c@d",
        "gs://bucket/",
        "https://host/list.csv",
        "file:///a?b@c",
        "",
    ],
)
def test_names_without_secrets_stay_as_they_are(location: str) -> None:
    assert recorded(location) == location
    assert not is_hidden(location)


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=3))
def test_wild_parameters_are_refused_or_taken(wild: dict[str, str]) -> None:
    try:
        check_names(wild)
        with_parameters(Settings(), wild)
    except SettingsError:
        return
    assert set(wild) <= {*PARAMETERS, "train_location", "validation_location", "test_location", "format"} | {
        "label_attribute",
        "project_key",
        "picture_field",
        "separator",
        "classes",
    }
