"""All of LabelLoop on this machine, started as a user starts it, beside a real Label Studio."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from labelloop.children import start_child, stop_child
from labelloop.demo.examples import Example, Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.layouts import LAYOUTS, Layout, label_config, upload
from labelloop.demo.rounds import Annotator
from labelloop.environment import environment_of
from labelloop.loop.process import open_hub
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.status import ProjectStatus, project_status
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect
from labelloop.types import NO_VERSION, ProjectKey
from support.servers import free_port
from support.waiting import wait_until

WSGI = Path(__file__).parents[2] / "my_ml_backend" / "_wsgi.py"


@dataclass(frozen=True)
class Project:
    """A connected project whose answers are known."""

    key: ProjectKey
    answers: dict[int, Example]
    annotator: Annotator

    @property
    def tasks(self) -> list[int]:
        """All tasks, by id."""
        return sorted(self.answers)


class LoopMachine:
    """``python my_ml_backend/_wsgi.py`` with these settings; ends with the ``with`` block.

    It is started in ``folder``, by default in this process's; ``environment`` is added to that of this process.
    """

    def __init__(
        self,
        studio: LabelStudio,
        settings: Settings,
        log: Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.studio, self.settings, self.log = studio, settings, log
        self._folder, self._added = folder or Path.cwd(), environment or {}
        self.hub = open_hub(settings)
        self.client = Studio.of(self.settings)
        self.url = f"http://127.0.0.1:{settings.port}"
        self._child: subprocess.Popen[bytes] | None = None
        self._annotators: list[Annotator] = []

    def __enter__(self) -> Self:
        """Start it and wait until Label Studio could call it."""
        environment = {**os.environ, **environment_of(self.settings), **self._added}
        command = [sys.executable, str(WSGI), "-p", str(self.settings.port)]
        self._child = start_child(["env", "-C", str(self._folder), *command], log=self.log, environment=environment)
        wait_until(self._is_up, lambda: f"LabelLoop is up:\n{self.log.read_text()[-3000:]}", 120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        if self._child is not None:
            stop_child(self._child, 30)
        for annotator in self._annotators:
            annotator.close()
        self.hub.redis.close()
        self.hub.tool.close()
        self.client.close()

    def project(self, examples: Examples, title: str) -> Project:
        """Make a project of these examples and connect it."""
        return self.connected(
            self.studio.create_project(title, label_config(examples)),
            lambda number: upload(self.studio, self.client, number, examples),
            LAYOUTS[examples.kind],
        )

    def connected(self, number: int, fill: Callable[[int], dict[int, Example]], layout: Layout) -> Project:
        """Connect a project and fill it; ``fill`` gives what is true by task, ``layout`` is what annotators see."""
        connect(self.client, number, self.url, self.settings, NO_VERSION)
        answers = fill(number)
        annotator = Annotator(self.client, self.studio.url, number, answers, layout)
        self._annotators.append(annotator)
        return Project(confirmed_project(self.hub, number)[0], answers, annotator)

    def status(self, project: Project) -> ProjectStatus:
        """How a project stands now."""
        return project_status(self.hub, project.key)

    def wait_for(
        self, project: Project, condition: Callable[[ProjectStatus], bool], what: str, seconds: float = 180.0
    ) -> ProjectStatus:
        """Wait until a project's status is as wanted."""

        def holds() -> bool:
            status = self.status(project)
            run = status.run or {}
            assert not run.get("given_up"), f"the run failed: {run['reason']}"
            return condition(status)

        try:
            wait_until(holds, what, seconds)
        except AssertionError as error:
            log = self.log.read_text(errors="replace")[-4000:]
            raise AssertionError(f"{error}\n{self.status(project)}\n{log}") from None
        return self.status(project)

    def predictions(self, project: Project) -> dict[int, list[str]]:
        """The versions of every task's predictions, as Label Studio has them."""
        found = self.client.tasks(project.key.id, fields=("id", "predictions"))
        return {task["id"]: [one["model_version"] for one in task["predictions"]] for task in found}

    def require_running(self) -> None:
        """Fail with the end of its log where all of it has ended by itself."""
        assert self._child is not None
        assert self._child.poll() is None, f"LabelLoop has ended:\n{self.log.read_text(errors='replace')[-4000:]}"

    def worker(self) -> psutil.Process:
        """The worker's process."""
        assert self._child is not None
        for process in psutil.Process(self._child.pid).children():
            with suppress(psutil.NoSuchProcess):  # it may end meanwhile
                if process.cmdline()[-2:] == ["labelloop", "worker"]:
                    return process
        raise AssertionError("there is no worker")

    def _is_up(self) -> bool:
        import requests

        self.require_running()
        try:
            with requests.Session() as session:
                return session.get(f"{self.url}/health", timeout=2).ok
        except (requests.ConnectionError, requests.Timeout):
            return False


def loop_settings(studio: LabelStudio, folder: Path, **given: object) -> Settings:
    """Settings of a quick loop on free ports: small network, short waits."""
    quick = {
        "label_studio_url": studio.url,
        "label_studio_api_key": studio.token,
        "model_dir": str(folder / "model"),
        "host": "127.0.0.1",
        "port": free_port(),
        "endpoint": f"http://127.0.0.1:{free_port()}",
        "backbone": "test_resnet",
        "weights": "none",
        "image_size": 32,
        "epochs": 5,
        "min_labels": 40,
        "retrain_after": 15,
        "quiet_seconds": 1.0,
        "sweep_seconds": 5.0,
        "scan_seconds": 2.0,
        "retry_seconds": 1.0,
        "first_labels": False,
        **given,
    }
    # As the environment would: what holds for all runs holds for those of heads.
    quick = {f"head_{name}": quick[name] for name in ("retrain_after", "quiet_seconds")} | quick
    return Settings(**quick)  # type: ignore[arg-type]
