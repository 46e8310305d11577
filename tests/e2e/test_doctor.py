"""`doctor` on a machine where all is well, and on one where nothing is."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from labelloop.cli.doctor import diagnose
from labelloop.demo.label_studio import LabelStudio
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.loop.redis_server import RedisServer
from labelloop.loop.worker import make_worker
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect
from labelloop.types import Finding
from support.ml_backend import Backend, running_backend

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.versions]


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """Load torch once here: the process in which doctor looks at the training is forked from this one."""
    import labelloop.train.trainer  # noqa: F401


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running_backend() as running:
        yield running


@pytest.fixture
def hub(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Hub]:
    """What a machine has on which everything runs, except that its endpoint is the fake one."""
    settings = Settings(
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
        model_dir=str(tmp_path),
        endpoint="fake://?classes=cat,dog",
        backbone="test_resnet",
    )
    server = RedisServer(settings.directory / "redis")
    server.start()
    hub = open_hub(settings)
    worker = make_worker(hub)
    try:
        with closing(hub.tool), closing(hub.redis), closing(worker.connection):
            worker.register_birth()
            yield hub
    finally:
        server.stop()


@pytest.fixture
def studio(hub: Hub) -> Iterator[Studio]:
    with closing(Studio.of(hub.settings)) as client:
        yield client


def findings(hub: Hub, project: int | None) -> dict[str, Finding]:
    found = list(diagnose(hub, project))
    assert len({finding.name for finding in found}) == len(found)
    assert all(finding.ok or finding.remedy for finding in found)
    assert (hub.settings.label_studio_api_key or "hush") not in json.dumps([asdict(finding) for finding in found])
    return {finding.name: finding for finding in found}


def bad(found: dict[str, Finding]) -> set[str]:
    return {name for name, finding in found.items() if not finding.ok}


def test_on_a_sound_machine_all_is_well(
    hub: Hub, studio: Studio, project: int, backend: Backend, label_studio_version: str, token_kind: str
) -> None:
    connect(studio, project, backend.url, hub.settings)
    found = findings(hub, project)
    assert bad(found) == set()
    assert found["Label Studio"].detail == f"{label_studio_version} at {hub.settings.label_studio_url}"
    assert found["API key"].detail == f"{token_kind} of demo@labelloop.local"
    assert set(found) >= {
        "settings",
        "training",
        "Redis",
        "workers",
        "host name",
        "store",
        "endpoint",
        "labels",
        "webhook",
        "webhook address",
        "title",
        "sampling",
    }


def test_without_a_project_only_the_machine_is_looked_at(hub: Hub) -> None:
    found = findings(hub, None)
    assert bad(found) == set()
    assert "webhook" not in found


def test_an_unconnected_project_is_found(hub: Hub, project: int) -> None:
    assert bad(findings(hub, project)) == {"ML backend", "sampling"}


def test_what_is_broken_in_label_studio_is_found(hub: Hub, studio: Studio, project: int, backend: Backend) -> None:
    connect(studio, project, backend.url, hub.settings)
    [webhook] = studio.webhooks(project)
    studio.delete_webhook(webhook)
    assert bad(findings(hub, project)) == {"webhook"}
    [registered] = studio.ml_backends(project)
    studio.set_title(registered, "somebody's")
    assert bad(findings(hub, project)) == {"webhook", "title"}
    studio.api.delete(f"api/ml/{registered.id}")
    studio.create_webhook(project, webhook.spec)
    assert bad(findings(hub, project)) == {"ML backend", "orphan webhooks"}


def test_a_backend_that_is_gone_is_found(hub: Hub, studio: Studio, project: int) -> None:
    with running_backend() as backend:
        connect(studio, project, backend.url, hub.settings)
    found = findings(hub, project)
    assert bad(found) == {"ML backend"}
    assert "is Disconnected" in found["ML backend"].detail


def test_a_project_that_is_not_there_is_found(hub: Hub) -> None:
    assert bad(findings(hub, 999999)) == {"project"}


def test_where_nothing_runs_everything_is_found_and_nothing_raised(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    hub = open_hub(
        Settings(
            label_studio_url="http://127.0.0.1:1",
            label_studio_api_key="very-secret-legacy-token",
            basic_auth_user="me",
            model_dir=str(tmp_path),
            endpoint="http://127.0.0.1:1",
        )
    )
    with closing(hub.tool):
        found = findings(hub, 7)
    assert bad(found) == {"Label Studio", "API key", "credentials", "Redis", "workers", "store", "endpoint", "project"}
    assert found["workers"].detail == "cannot be looked at, for what Redis says"
    assert "labelloop serve" in found["endpoint"].remedy


def test_without_an_api_key_the_setting_is_named(tmp_path: Path) -> None:
    found = findings(open_hub(Settings(model_dir=str(tmp_path / "new"))), None)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0, "what the doctor makes is nobody else's to read"
    assert "LABEL_STUDIO_API_KEY" in found["Label Studio"].detail
    assert "LABEL_STUDIO_API_KEY" in found["credentials"].remedy
