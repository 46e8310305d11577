"""What a webhook may carry: its project's secret, those of before while they are named, and no other project's."""

import pytest

from labelloop.settings import Settings
from labelloop.webhook_secrets import Carried, WebhookSecrets

KEYED = Settings(label_studio_api_key="key")
COMMON = "134a241482f2ff0eaabba403b6c5e843fdb0957fb9414ff5e29ab10524f9a239"
"""What earlier releases made of that key for all projects."""


def test_each_project_has_its_own_of_the_setting_or_the_api_key() -> None:
    secrets = WebhookSecrets(KEYED)
    assert secrets
    assert secrets.of(7) != secrets.of(8)
    assert secrets.of(7) == WebhookSecrets(Settings(label_studio_api_key="key", port=1)).of(7)
    assert secrets.of(7) != WebhookSecrets(Settings(label_studio_api_key="another")).of(7)
    assert secrets.of(7) != WebhookSecrets(Settings(label_studio_api_key="key", webhook_secret="mine")).of(7)
    assert (bool(WebhookSecrets(Settings())), WebhookSecrets(Settings()).of(7)) == (False, "")


def test_who_knows_one_projects_secret_speaks_for_that_project_alone() -> None:
    secrets = WebhookSecrets(KEYED)
    seven = secrets.of(7)
    assert secrets.read(seven) == Carried(7, current=True)
    assert secrets.read(seven.replace("7.", "8.", 1)) is None


@pytest.mark.parametrize(
    "given", [None, "", "7.", "7.00", "0." + "0" * 64, "key", "7." + "é" * 64, "\u0667." + "0" * 64]
)
def test_anything_else_is_no_secret(given: str | None) -> None:
    assert WebhookSecrets(KEYED).read(given) is None
    assert WebhookSecrets(Settings()).read(given) is None


def test_what_all_projects_carried_is_right_for_all() -> None:
    assert WebhookSecrets(Settings(webhook_secret="mine")).read("mine") == Carried(None, current=True)
    assert WebhookSecrets(KEYED).read(COMMON) == Carried(None, current=True)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (Settings(webhook_secret="old"), Settings(webhook_secret="new", webhook_secret_previous="old")),
        (KEYED, Settings(label_studio_api_key="new", label_studio_api_key_previous="key")),
        (KEYED, Settings(label_studio_api_key="key", webhook_secret="new", label_studio_api_key_previous="key")),
        (Settings(webhook_secret="old"), Settings(label_studio_api_key="key", webhook_secret_previous="old")),
    ],
)
def test_a_secret_of_before_is_right_while_it_is_named(before: Settings, now: Settings) -> None:
    secrets = WebhookSecrets(now)
    assert secrets.read(WebhookSecrets(before).of(7)) == Carried(7, current=False)
    assert secrets.read(secrets.of(7)) == Carried(7, current=True)
    assert WebhookSecrets(before).witness != secrets.witness


def test_without_its_name_a_secret_of_before_is_none() -> None:
    assert WebhookSecrets(Settings(webhook_secret="new")).read(WebhookSecrets(KEYED).of(7)) is None
    both = Settings(webhook_secret="new", label_studio_api_key="key")
    assert WebhookSecrets(both).read(WebhookSecrets(KEYED).of(7)) is None, "the API key counts where nothing is set"
