"""The settings table."""

import pytest

from labelloop.errors import SettingsError
from labelloop.settings import Settings, environment_of


def test_every_kind_of_setting_is_read() -> None:
    settings = Settings.from_environment(
        {
            "PORT": "1234",
            "LABELLOOP_QUIET_SECONDS": "2.5",
            "LABELLOOP_ALLOW_PRIVATE_ADDRESSES": "yes",
            "LABELLOOP_RECIPES": "head, finetune",
            "LABELLOOP_BACKBONE": "test_resnet",
        }
    )

    assert settings.port == 1234
    assert settings.quiet_seconds == 2.5
    assert settings.allow_private_addresses is True
    assert settings.recipes == ("head", "finetune")
    assert settings.backbone == "test_resnet"


def test_an_empty_variable_is_an_unset_one() -> None:
    assert Settings.from_environment({"PORT": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("PORT", "http", "PORT: 'http' is not a whole number"),
        ("PORT", "-1", "PORT: '-1' is below 0"),
        ("LABELLOOP_QUIET_SECONDS", "nan", "LABELLOOP_QUIET_SECONDS: 'nan' is below 0"),
        ("LABELLOOP_ALLOW_PRIVATE_ADDRESSES", "maybe", "'maybe' is not true or false"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        Settings.from_environment({name: text})


def test_the_default_store_lies_in_the_model_folder() -> None:
    assert Settings(model_dir="/data/x y").store_address == "file:///data/x%20y/store"


def test_settings_survive_the_way_through_an_environment() -> None:
    settings = Settings(recipes=("head",), allow_private_addresses=True, quiet_seconds=0.5, label_studio_api_key="k")

    assert Settings.from_environment(environment_of(settings)) == settings
