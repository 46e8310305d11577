"""LabelLoop as the service behind Labelbox's button: web process and worker on this machine, and who presses it."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from labelloop.children import start_child, stop_child
from labelloop.environment import environment_of
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from labelloop.training_parameters import PARAMETERS
from labelloop.types import Json
from support.servers import free_port
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.labelbox.stand_in import LabelboxStandIn

SECRET = "secret of the button"
ORGANIZATION = "cjhfn5y6s0pk507024nz1ocys"

_SOURCES = Path(__file__).parents[3]
_START_SECONDS, _ASK_SECONDS = 120.0, 30.0


def config_of(settings: Mapping[str, object]) -> Json:
    """Write settings (names of their fields) as the training config of a model run has them."""
    names = {field: name for name, field in PARAMETERS.items()}
    return {names[field]: list(value) if isinstance(value, tuple) else value for field, value in settings.items()}


class Button:
    """Labelbox's side: it reads the menu at ``url`` and asks for what was chosen, signed by the specification."""

    def __init__(self, url: str, secret: str = SECRET) -> None:
        self.url, self._secret = url, secret

    def menu(self) -> list[str]:
        """Give the menu's entries."""
        answer = requests.get(f"{self.url}/models", headers=self._signed(b""), timeout=_ASK_SECONDS)
        answer.raise_for_status()
        return list(answer.json())

    def press(self, entry: str, run: str, model: str) -> Json:
        """Ask for an entry of the menu to be made of a model run, and give the answer."""
        asked = {"modelType": entry, "modelRunId": run, "modelId": model, "organizationId": ORGANIZATION}
        body = json.dumps(asked).encode()
        headers = self._signed(body) | {"Content-Type": "application/json"}
        answer = requests.post(f"{self.url}/model_run", body, headers=headers, timeout=_ASK_SECONDS)
        assert answer.ok, f"HTTP {answer.status_code}: {answer.text[:300]}"
        told: Json = answer.json()
        return told

    def _signed(self, body: bytes) -> dict[str, str]:
        return {"X-Hub-Signature": "sha1=" + hmac.new(self._secret.encode(), body, hashlib.sha1).hexdigest()}


@dataclass(frozen=True)
class Service:
    """What runs: a button for its routes, the settings and variables of its processes, and the log of what they say.

    ``worker`` is a process of its own.
    """

    button: Button
    settings: Settings
    environment: Mapping[str, str]
    log: Path
    worker: "subprocess.Popen[bytes]"

    def labelloop(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of LabelLoop, with the same settings."""
        command = [sys.executable, "-m", "labelloop", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    @property
    def said(self) -> str:
        """What the processes have said until now."""
        return self.log.read_text(errors="replace")


@contextmanager
def labelbox_service(labelbox: "LabelboxStandIn", folder: Path, given: Settings | None = None) -> Iterator[Service]:
    """Run Redis, the web process and a worker for a stand-in, with real settings, until the block ends.

    Nothing of Label Studio is needed, and no inference server: versions of model runs answer in the worker.
    """
    redis, log = RedisServer(folder / "redis"), folder / "labelloop.log"
    settings = replace(
        given or Settings(),
        labelbox_endpoint=labelbox.endpoint,
        labelbox_api_key=labelbox.environment["LABELBOX_API_KEY"],
        labelbox_secret=SECRET,
        allow_private_addresses=True,
        redis_url=redis.url,
        model_dir=str(folder / "labelloop"),
        host="127.0.0.1",
        port=free_port(),
    )
    ours = ("LABELLOOP_", "LABEL_STUDIO_", "LABELBOX_", "BASIC_AUTH_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    paths = os.pathsep.join(str(_SOURCES / one) for one in ("my_ml_backend", "tests"))
    environment = {**inherited, **environment_of(settings), "PYTHONPATH": paths}
    with ExitStack() as running:
        redis.start()
        running.callback(redis.stop)
        web, worker = (
            start_child([sys.executable, "-m", "labelloop", name], log=log, environment=environment)
            for name in ("web", "worker")
        )
        for child in (web, worker):
            running.callback(stop_child, child, 30)
        service = Service(Button(f"http://127.0.0.1:{settings.port}/labelbox"), settings, environment, log, worker)
        wait_until(
            lambda: _is_up(service, web), lambda: f"the web process is up:\n{service.said[-3000:]}", _START_SECONDS
        )
        yield service


def _is_up(service: Service, web: "subprocess.Popen[bytes]") -> bool:
    assert web.poll() is None, service.said[-4000:]
    with suppress(requests.ConnectionError, requests.Timeout):
        return bool(service.button.menu())
    return False
