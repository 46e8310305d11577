"""A real Label Studio, one for the whole session: projects are what separates the tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.version import Version

from labelloop.demo.label_studio import LabelStudio
from labelloop.studio.client import Studio
from support.annotating import LABEL_CONFIG
from support.servers import free_port


@pytest.fixture(scope="session")
def label_studio_command() -> Path:
    """The executable; `make test` installs it. A missing one fails the tests that need it."""
    default = Path(__file__).parents[2] / ".venv-label-studio/bin/label-studio"
    command = Path(os.environ.get("LABELLOOP_TEST_LABEL_STUDIO") or default)
    if not command.is_file():
        pytest.fail(
            f"{command} is missing: `make test` installs Label Studio, or name the label-studio executable of an "
            "installed 1.23.2 in LABELLOOP_TEST_LABEL_STUDIO"
        )
    return command


@pytest.fixture(scope="session")
def label_studio_version(label_studio_command: Path) -> str:
    """The version of the executable, as its installation says it."""
    [installed] = label_studio_command.parents[1].glob("lib/python*/site-packages/label_studio-*.dist-info")
    return installed.name.removeprefix("label_studio-").removesuffix(".dist-info")


@pytest.fixture
def token_kind(label_studio_version: str) -> str:
    """What kind of token ``label_studio.token`` is."""
    return "personal access token" if Version(label_studio_version) >= Version("1.17") else "legacy token"


@pytest.fixture(autouse=True)
def since(request: pytest.FixtureRequest) -> None:
    """Skip what is so only since a newer Label Studio than the one there is."""
    marker = request.node.get_closest_marker("since")
    if marker and Version(request.getfixturevalue("label_studio_version")) < Version(marker.args[0]):
        pytest.skip(f"so since Label Studio {marker.args[0]}")


@pytest.fixture(scope="session")
def label_studio(label_studio_command: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """A running Label Studio that may call backends and webhooks on this machine, and answers without delay.

    Its own server writes headers and content apart, so that each answer waits 40 ms (Nagle's algorithm).
    """
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(
        "import socketserver\nsocketserver.StreamRequestHandler.disable_nagle_algorithm = True\n"
    )
    # An old one looks for a newer one at the registry, and no variable keeps it from that.
    environment = {"HTTPS_PROXY": "http://127.0.0.1:9", "PYTHONPATH": str(site)}
    folder = tmp_path_factory.mktemp("label-studio")
    with LabelStudio(label_studio_command, folder, free_port(), environment) as running:
        yield running


@pytest.fixture
def studio(label_studio: LabelStudio) -> Iterator[Studio]:
    """A client with a personal access token."""
    client = Studio(label_studio.url, label_studio.token)
    yield client
    client.close()


@pytest.fixture
def project(label_studio: LabelStudio) -> int:
    """An empty project with the labels cat and dog."""
    return label_studio.create_project("Cats and dogs", LABEL_CONFIG)
