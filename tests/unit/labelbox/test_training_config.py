"""What a model run's training config sets, what it may not, and what of it is told to mean nothing."""

import pytest

from labelloop.errors import SettingsError
from labelloop.labelbox.training_config import TrainingConfig
from labelloop.settings import Settings


def read(config: object, *, trains: bool = True) -> TrainingConfig:
    return TrainingConfig.of(config, Settings(), trains=trains)


def test_parameters_are_taken_however_json_writes_them() -> None:
    config = read({"epochs": 7.0, "learning_rate": 1e-05, "recipe": ["head", "finetune"], "seed": "3", "balance": None})
    found = config.applied(Settings())
    assert (found.epochs, found.learning_rate, found.recipes, found.seed) == (7, 1e-05, ("head", "finetune"), 3)
    assert found.balance == Settings().balance


def test_no_config_changes_nothing() -> None:
    nothing = TrainingConfig({}, {})
    assert read(None) == read("") == read({}) == nothing


def test_options_are_those_of_a_training_or_of_an_inference() -> None:
    config = {"trainer": "local", "request": "chat", "threshold": 0.4, "epochs": 3}
    training, inference = read(config), read(config, trains=False)
    assert (dict(training.parameters), training.options) == ({"epochs": "3"}, {"trainer": "local", "threshold": 0.4})
    assert (dict(inference.parameters), inference.options) == ({}, {"request": "chat", "threshold": 0.4})
    # One config is for both buttons: what the other one reads is not unknown.
    assert training.unknown == inference.unknown == ()


def test_where_anything_is_sent_is_said_by_settings_alone() -> None:
    config = read({"endpoint": "http://169.254.169.254/", "deployer": "x", "headers": {}}, trains=False)
    assert config.options == {}
    assert config.unknown == ("deployer", "endpoint", "headers")


def test_unknown_names_are_told_and_shortened() -> None:
    told = read({f"name {number:02} " + "x" * 100: 1 for number in range(12)}).told
    assert told.startswith("these names of the training config mean nothing to LabelLoop: 'name 00 xxx")
    assert told.endswith("and 2 more")
    assert len(told) < 600


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"epochs": "many"}, "'epochs': 'many' is not a whole number"),
        ({"epochs": 0}, "'epochs': '0' is below 1"),
        ({"epochs": True}, "'epochs': expected a text or a number"),
        ({"learning_rate": float("nan")}, "'learning_rate': 'nan' is below 0"),
        ({"recipe": "boost"}, "'recipe': "),
        ({"recipe": [["head"]]}, "'recipe': expected a text or a number"),
        ({"weights": "/etc/labelloop.safetensors"}, "'weights': files and addresses are named by the settings"),
        ({"augmentations": "../x.yaml"}, "'augmentations': files and addresses"),
        ({"encoder": "/models/encoder"}, "'encoder': files and addresses"),
        ({"model": "local-dir:/models/x"}, "'model': files and addresses"),
        ("text", "must be a JSON object"),
    ],
)
def test_what_is_impossible_is_refused_with_a_sentence(config: object, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(config)
    assert str(refused.value).startswith("the training config of the model run")
    assert told in str(refused.value)
    assert "LABELLOOP_EPOCHS" not in str(refused.value)


def test_a_file_that_the_settings_name_already_may_be_named() -> None:
    settings = Settings(weights="/models/ours.safetensors")
    config = TrainingConfig.of({"weights": "/models/ours.safetensors"}, settings, trains=True)
    assert config.applied(settings) == settings
