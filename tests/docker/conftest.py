"""The compose file's services on a real Docker engine, once for all tests here."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import yaml

from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.ports import free_port
from labelloop.studio.client import Studio
from labelloop.types import Json
from support.docker_engine import BACKEND, Engine, engine, foreign_images, python_image

KEPT = "LABELLOOP_TEST_DOCKER_FOLDER"
"""Names a folder in which our own engine keeps its images between two calls; else they are gone afterwards (10 GB)."""

TOKEN = "labelloop-on-this-machine-only"
BUILT = ("web", "inference", "worker")
ANNOTATED = 80
"""How many pictures are labeled for a first version: the least there have to be, so that none is made of fewer."""

# A quick loop: a small network without weights from a hub, short waits. All of it as a user sets it, in `.env`.
QUICK = {
    "LABELLOOP_BACKBONE": "test_resnet",
    "LABELLOOP_WEIGHTS": "none",
    "LABELLOOP_IMAGE_SIZE": "32",
    "LABELLOOP_EPOCHS": "5",
    "LABELLOOP_RETRAIN_AFTER": "15",
    "LABELLOOP_MIN_LABELS": str(ANNOTATED),
    "LABELLOOP_QUIET_SECONDS": "1",
    "LABELLOOP_SWEEP_SECONDS": "5",
}


class Published(LabelStudio):
    """The compose file's Label Studio, as its first user sees it."""

    email = "labelloop@example.com"
    password = "labelloop"


@dataclass(frozen=True)
class Stack:
    """What ``docker compose`` runs from a copy of ``my_ml_backend``, under a project name of its own."""

    on: Engine
    folder: Path
    name: str
    port: int
    web: str

    @cached_property
    def studio(self) -> Published:
        """Label Studio, where the compose file publishes it."""
        return Published(Path("docker"), self.folder, self.port)

    def client(self) -> Studio:
        """What this machine needs to upload pictures and annotate."""
        return Studio(self.studio.url, TOKEN)

    def compose(self, *arguments: str, seconds: float = 120, check: bool = True) -> str:
        """Run ``docker compose ...``; fails with what it printed unless ``check`` is false."""
        return self.on.compose(self.folder, "--project-name", self.name, *arguments, seconds=seconds, check=check)

    def labelloop(self, *arguments: str, service: str = "web", check: bool = True) -> str:
        """Run ``docker compose exec web labelloop ...``."""
        return self.compose("exec", "-T", service, "labelloop", *arguments, check=check)

    def status(self, project: int) -> Json:
        """What ``labelloop status`` tells of a project."""
        listed: list[Json] = json.loads(self.labelloop("status", "--project", str(project), "--json"))
        return listed[0]

    def container(self, service: str) -> Json:
        """What the engine knows of a service's container."""
        identifier = self.compose("ps", "--all", "--quiet", service).split()[0]
        found: list[Json] = json.loads(self.on.run("inspect", identifier))
        return found[0]


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """An engine with the images that are built here and those of others."""
    kept = os.environ.get(KEPT)
    folder = Path(kept).absolute() if kept else Path(tempfile.mkdtemp(prefix="labelloop-docker-"))
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="labelloop-images-"))
    try:
        with engine(folder) as running:
            python_image(running, scratch)
            named = [service["image"] for service in _services().values() if "build" not in service]
            foreign_images(running, named, scratch)
            for target in BUILT:
                running.build(BACKEND, f"labelloop-{target}", "--target", target)
            yield running
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def make_stack(docker: Engine) -> Iterator[Callable[[str], Stack]]:
    """Prepares a stack by name, without starting it; all are taken down with their volumes in the end."""
    made: list[Stack] = []

    def make(name: str) -> Stack:
        folder = Path(tempfile.mkdtemp(prefix=f"labelloop-{name}-")) / "my_ml_backend"
        shutil.copytree(BACKEND, folder, ignore=shutil.ignore_patterns("__pycache__"))
        port = free_port(0)
        web = f"127.0.0.1:{free_port(0)}"
        given = {"LABEL_STUDIO_LISTEN": f"127.0.0.1:{port}", "WEB_LISTEN": web, **QUICK}
        (folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in given.items()))
        # A name of its own: taking it down must never take down what a user runs from the same file.
        made.append(Stack(docker, folder, f"labelloop-test-{name}-{os.getpid()}", port, f"http://{web}"))
        return made[-1]

    yield make
    for stack in made:
        stack.studio.stop()
        stack.compose("down", "--volumes", "--timeout", "5", check=False)
        shutil.rmtree(stack.folder.parent, ignore_errors=True)


def _services() -> dict[str, Json]:
    loaded: dict[str, dict[str, Json]] = yaml.safe_load((BACKEND / "docker-compose.yml").read_text())
    return loaded["services"]
