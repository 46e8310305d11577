"""What doctor makes of what Label Studio says."""

from dataclasses import replace

import pytest

from labelloop.data.labeling import Counters
from labelloop.settings import Settings
from labelloop.studio import diagnosis
from labelloop.studio.backends import MLBackend, Webhook, WebhookSpec, wanted_webhook
from labelloop.studio.client import UNCERTAINTY, ProjectInfo
from labelloop.types import NO_VERSION, Finding, Identity
from labelloop.webhook_secrets import WebhookSecrets

CONNECT = "`labelloop connect --project 7 --url ADDRESS`."
OWN = MLBackend(3, 7, "http://backend:9090", "v2", "Connected", "", "")
INFO = ProjectInfo(Identity(7), "Pets", "", "v2", UNCERTAINTY, Counters(10, 5, 5, 0))
SECRETS = WebhookSecrets(Settings(webhook_secret="hush"))
CONFIG = (
    '<View><Image name="p" value="$image"/><Choices name="kind" toName="p"><Choice value="cat"/><Choice value="dog"/>'
    "</Choices></View>"
)


def webhook(id: int = 1, url: str = OWN.url) -> Webhook:
    return Webhook(id, wanted_webhook(url, SECRETS.of(7)))


def test_all_is_well() -> None:
    findings = [
        diagnosis.check_labels(CONFIG, ("cat", "dog")),
        diagnosis.check_labels(CONFIG, None),
        diagnosis.check_backend([OWN], OWN, CONNECT),
        diagnosis.check_title(OWN, "v2", INFO),
        diagnosis.check_title(replace(OWN, title=NO_VERSION), NO_VERSION, INFO),
        diagnosis.check_webhook([webhook()], OWN, SECRETS, CONNECT),
        diagnosis.check_orphans([webhook()], [OWN]),
        diagnosis.check_sampling(INFO, CONNECT),
    ]
    assert [finding for finding in findings if not finding.ok or finding.remedy] == []


def test_labels_the_model_does_not_know_are_named() -> None:
    finding = diagnosis.check_labels(CONFIG, ("cat", "horse"))
    assert not finding.ok
    assert "does not know dog" in finding.detail
    assert "Start Training" in finding.remedy


@pytest.mark.parametrize("config", ["<View/>", "no XML", CONFIG.replace("cat", "cow").replace("dog", "pig")])
def test_a_label_config_that_cannot_be_predicted_for_is_found(config: str) -> None:
    assert not diagnosis.check_labels(config, ("cat", "dog")).ok


def test_without_training_every_control_tag_counts_that_can_be_predicted_for() -> None:
    outlines = CONFIG.replace("Choices", "PolygonLabels").replace("Choice", "Label")

    assert not diagnosis.check_labels(outlines, None).ok
    finding = diagnosis.check_labels(outlines, None, None)
    assert finding.ok
    assert finding.detail == "predicts for <PolygonLabels name='kind'> with 2 labels"
    assert not diagnosis.check_labels("<View/>", None, None).ok


def test_a_missing_backend_lists_those_that_are_there() -> None:
    finding = diagnosis.check_backend([replace(OWN, title="other")], None, CONNECT)
    assert not finding.ok
    assert "other at http://backend:9090" in finding.detail
    assert finding.remedy == f"Run {CONNECT}"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [("401 Client Error: UNAUTHORIZED", "BASIC_AUTH_USER"), ("", "USE_DEFAULT_BANNED_SUBNETS=false")],
)
def test_a_backend_that_is_not_reached_is_found(error: str, remedy: str) -> None:
    broken = replace(OWN, state="Error", error=error)
    finding = diagnosis.check_backend([broken], broken, CONNECT)
    assert not finding.ok
    assert remedy in finding.remedy


def test_a_backend_that_is_not_asked_is_found() -> None:
    first = replace(OWN, id=1, url="http://first:9090", title="first")
    finding = diagnosis.check_backend([OWN, first], OWN, CONNECT)
    assert not finding.ok
    assert "first at http://first:9090" in finding.detail


@pytest.mark.parametrize(
    ("own", "announced", "ordered_by"),
    [("v1", "v2", "v2"), ("v2", "v2", "v1"), ("v2", "v2", ""), ("v2", NO_VERSION, "v2")],
)
def test_titles_that_do_not_agree_are_found(own: str, announced: str, ordered_by: str) -> None:
    finding = diagnosis.check_title(replace(OWN, title=own), announced, replace(INFO, model_version=ordered_by))
    assert not finding.ok
    assert finding.remedy


@pytest.mark.parametrize("url", ["http://localhost:9090", "http://web.internal:9090", "http://10.0.0.7:9090"])
def test_a_host_that_label_studio_takes_webhooks_to_is_well(url: str) -> None:
    assert diagnosis.check_host(replace(OWN, url=url)) == Finding("host name", ok=True, detail=url[7:-5])


def test_a_host_name_without_a_dot_is_found() -> None:
    finding = diagnosis.check_host(OWN)
    assert not finding.ok
    assert "Give backend a name with a dot" in finding.remedy


def test_another_version_of_label_studio_is_told_and_not_refused() -> None:
    assert diagnosis.check_version("1.23.2", "http://here") == Finding("Label Studio", True, "1.23.2 at http://here")
    other = diagnosis.check_version("1.20.0", "http://here")
    assert other.ok
    assert "tested with 1.23.2" in other.remedy


@pytest.mark.parametrize("version", ["1.12.0.post0", "1.12.1", "1.23.2", "1.24.0", "2.0", "unknown"])
def test_a_version_that_works_needs_no_upgrade(version: str) -> None:
    assert diagnosis.too_old(version) == ""
    assert "Upgrade" not in diagnosis.check_version(version, "http://here").remedy


@pytest.mark.parametrize("version", ["1.11.0", "1.10.1dev", "1.8.2.post1", "0.9"])
def test_an_older_version_is_told_to_be_upgraded_and_not_refused(version: str) -> None:
    finding = diagnosis.check_version(version, "http://here")
    assert finding.ok
    assert finding.remedy == diagnosis.too_old(version)
    assert f"Upgrade Label Studio {version} to 1.12 or later" in finding.remedy


def test_a_missing_webhook_is_found_with_the_address_switches() -> None:
    finding = diagnosis.check_webhook([webhook(url="http://elsewhere:9090")], OWN, SECRETS, CONNECT)
    assert not finding.ok
    assert "USE_DEFAULT_BANNED_SUBNETS=false" in finding.remedy


def test_a_webhook_of_another_secret_or_there_twice_is_found() -> None:
    another = WebhookSecrets(Settings(webhook_secret="another"))
    assert "secret header" in diagnosis.check_webhook([webhook()], OWN, another, CONNECT).detail
    assert "there 2 times" in diagnosis.check_webhook([webhook(1), webhook(2)], OWN, SECRETS, CONNECT).detail


@pytest.mark.parametrize(
    ("carried", "detail"),
    [("hush", "a secret that all projects had in common"), (SECRETS.of(8), "is not as it should be: secret header")],
)
def test_the_secret_of_all_projects_is_told_from_that_of_another_one(carried: str, detail: str) -> None:
    finding = diagnosis.check_webhook([Webhook(1, wanted_webhook(OWN.url, carried))], OWN, SECRETS, CONNECT)
    assert finding.ok == (carried == "hush")
    assert detail in finding.detail
    assert finding.remedy == f"Run {CONNECT}"


def test_orphans_are_found() -> None:
    orphan = Webhook(9, WebhookSpec("http://old:9090/webhook", {}))
    finding = diagnosis.check_orphans([webhook(), orphan], [OWN])
    assert not finding.ok
    assert finding.detail == "webhook 9 to http://old:9090/webhook"


def test_other_sampling_is_found() -> None:
    assert not diagnosis.check_sampling(replace(INFO, sampling="Sequential sampling"), CONNECT).ok
