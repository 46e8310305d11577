"""A run's parameters: what is refused, and that a record spells them so that they come back the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.cli.train import search, train
from labelloop.errors import SettingsError
from labelloop.kinds.base import find
from labelloop.run.parameters import check_names, is_hidden, parameters_of, recorded, train_settings, with_parameters
from labelloop.settings import Settings
from labelloop.training_parameters import PARAMETERS, SEARCHED
from labelloop.types import IMAGES

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
    "seed": "5",
}
"""Another value than the built-in one of each parameter."""


def test_every_parameter_sets_its_setting() -> None:
    assert OTHER.keys() == PARAMETERS.keys()
    changed = with_parameters(Settings(), OTHER)
    assert (changed.backbone, changed.recipes, changed.image_size) == ("resnet34", ("head",), 64)
    assert (changed.learning_rate, changed.optimizer, changed.seed) == (0.25, "sgd", 5)
    assert parameters_of(changed, find(IMAGES).settings) == OTHER


def test_every_parameter_is_an_option_of_both_commands() -> None:
    trains, searches = ({option.name for option in command.params} for command in (train, search))
    assert set(PARAMETERS) <= trains
    assert {how.option for how in SEARCHED.values()} | (set(PARAMETERS) - set(SEARCHED)) <= searches


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_has_a_part_in_what_names_a_run(name: str) -> None:
    changed = with_parameters(Settings(), {name: OTHER[name]})
    assert train_settings(changed).fingerprint() != train_settings(Settings()).fingerprint()


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
