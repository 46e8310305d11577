"""LabelLoop's web process with a Redis of its own beside a real Label Studio; no worker, so nothing else predicts."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import requests

from labelloop.children import start_child, stop_child
from labelloop.demo.label_studio import LabelStudio
from labelloop.environment import environment_of
from labelloop.loop.process import open_hub
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.types import Json
from labelloop.web.machine import gunicorn_command
from support.servers import free_port
from support.waiting import wait_until


class Ran(NamedTuple):
    """A command that has ended."""

    out: str
    err: str
    code: int


class WebMachine:
    """Runs with the ``with`` block; projects may name every endpoint of this machine in their ``extra_params``.

    ``environment`` is added to that of the web process and of the commands, ``given`` to their settings. What is
    begun by ``start`` begins in the folder ``home``, by default in this process's.
    """

    def __init__(
        self,
        studio: LabelStudio,
        folder: Path,
        environment: Mapping[str, str],
        given: Mapping[str, object] | None = None,
        home: Path | None = None,
    ) -> None:
        self._folder = home or Path.cwd()
        self.log = folder / "web.log"
        self._redis = RedisServer(folder / "redis")
        usual: dict[str, Any] = {
            "label_studio_url": studio.url,
            "label_studio_api_key": studio.token,
            "model_dir": str(folder),
            "host": "127.0.0.1",
            "port": free_port(),
            "redis_url": self._redis.url,
            "allowed_endpoints": ("http://127.0.0.1:*/*",),
            "retry_seconds": 0.5,
        }
        self.settings = Settings(**{**usual, **(given or {})})
        self.hub = open_hub(self.settings)
        self.client = Studio.of(self.settings)
        self.url = f"http://127.0.0.1:{self.settings.port}"
        self._environment = {**os.environ, **environment_of(self.settings), **environment}

    def __enter__(self) -> Self:
        """Start both and wait until Label Studio could call the web process."""
        self._redis.start()
        self._web = start_child(gunicorn_command(self.settings), log=self.log, environment=self._environment)
        try:
            wait_until(self._is_up, lambda: f"the web process is up:\n{self.log.read_text()[-3000:]}")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End both."""
        self._stop()

    def run(self, *arguments: str) -> Ran:
        """Run a command to its end."""
        [ran] = self.run_at_once(arguments)
        return ran

    def run_at_once(self, *commands: Sequence[str]) -> list[Ran]:
        """Run commands beside each other, to their ends."""
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "labelloop", *arguments],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for arguments in commands
        ]
        return [Ran(*process.communicate(timeout=100), process.returncode) for process in running]

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Begin a command; what it says is in the web process's log."""
        command = [sys.executable, "-m", "labelloop", *arguments]
        return start_child(["env", "-C", str(self._folder), *command], log=self.log, environment=self._environment)

    def predictions(self, project: int) -> list[list[Json]]:
        """Every task's predictions as Label Studio has them, tasks and predictions in order of id."""
        found = self.client.tasks(project, fields=("id", "predictions"))
        return [sorted(task["predictions"], key=lambda one: int(one["id"])) for task in found]

    def versions(self, project: int) -> list[list[str]]:
        """Every task's predictions by their versions."""
        return [[str(one["model_version"]) for one in task] for task in self.predictions(project)]

    def values(self, project: int) -> list[Any]:
        """What each task's only prediction says: its regions' values."""
        return [[region["value"] for region in one["result"]] for [one] in self.predictions(project)]

    def _stop(self) -> None:
        stop_child(self._web, 10)
        self.hub.redis.close()
        self.hub.tool.close()
        self.client.close()
        self._redis.stop()

    def _is_up(self) -> bool:
        assert self._web.poll() is None, self.log.read_text()[-3000:]
        with requests.Session() as session, suppress(requests.ConnectionError, requests.Timeout):
            return session.get(f"{self.url}/health", timeout=2).ok
        return False
