"""LabelLoop hosted by label-studio-ml 2.x's own server, over real HTTP, with the store, Redis and worker of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
import requests

from labelloop.children import start_child, stop_child
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.loop.project_registry import known_projects
from labelloop.loop.queue import job_status
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from labelloop.types import NO_VERSION, Json
from support.servers import free_port
from support.waiting import wait_until
from support.web import announce, serving_pictures

_CODE = Path(__file__).resolve().parents[2] / "my_ml_backend"
_CONFIG = '<View><Image name="i" value="$i"/><Choices name="c" toName="i"><Choice value="a"/></Choices></View>'
_HOST = """
import sys
from model import LabelLoop
from label_studio_ml.api import init_app
init_app(LabelLoop).run(host="127.0.0.1", port=int(sys.argv[1]))
"""
_IMPORTS = """
import json, multiprocessing, sys
from model import LabelLoop
from label_studio_ml.model import LabelStudioMLBase
print(json.dumps({
    "torch": "torch" in sys.modules,
    "start_method": multiprocessing.get_start_method(allow_none=True),
    "base": issubclass(LabelLoop, LabelStudioMLBase),
}))
"""


@dataclass(frozen=True)
class Hosted:
    """2.x's server with LabelLoop in it, and the hub of the same settings."""

    url: str
    hub: Hub
    log: Path

    def post(self, path: str, body: Json) -> requests.Response:
        return requests.post(f"{self.url}{path}", json=body, timeout=10)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    folder = tmp_path_factory.mktemp("upstream")
    redis_server = RedisServer(folder / "redis")
    redis_server.start()
    settings = {
        "MODEL_DIR": str(folder),
        "LABELLOOP_REDIS_URL": redis_server.url,
        "LABELLOOP_ENDPOINT": "fake://?classes=a,b",
        "LABELLOOP_ALLOW_PRIVATE_ADDRESSES": "true",
    }
    port = free_port()
    log = folder / "log"
    server = start_child([sys.executable, "-c", _HOST, str(port)], environment=environment(settings), log=log)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: up(url) or server.poll() is not None, log.read_text)
    assert server.poll() is None, log.read_text()
    yield Hosted(url, open_hub(Settings.from_environment(settings)), log)
    stop_child(server, grace=10)
    redis_server.stop()


def environment(settings: dict[str, str]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(_CODE), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **settings, "PYTHONPATH": path}


def up(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=1).ok
    except requests.RequestException:
        return False


def test_the_library_is_2x() -> None:
    assert version("label-studio-ml").startswith("2.")


def test_the_class_imports_without_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS],
        env=environment({"MODEL_DIR": str(tmp_path)}),
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {"torch": False, "start_method": None, "base": True}


def test_setup_answers_the_announced_version(hosted: Hosted) -> None:
    body = {"project": "3.1795187589", "schema": _CONFIG, "extra_params": {"any": "thing"}}
    assert hosted.post("/setup", body).json() == {"model_version": NO_VERSION}
    announce(hosted.hub, 3, "v4")
    assert hosted.post("/setup", {**body, "extra_params": None}).json() == {"model_version": "v4"}


@pytest.mark.parametrize("config", [_CONFIG, "", "<View", "<View/>"])
def test_predict_answers_one_item_per_task(hosted: Hosted, config: str) -> None:
    announce(hosted.hub, 5, "v2")
    params = {"login": None, "password": "hunter2", "context": None}
    tasks = [{"id": 1, "data": {"i": "http://127.0.0.1:1/x.png"}}, {"id": 2}, {"id": 3, "data": {"i": None}}]
    answer = hosted.post("/predict", {"tasks": tasks, "project": "5.1", "label_config": config, "params": params})
    assert answer.status_code == 200
    assert answer.json() == {"results": [[], [], []]}
    assert "hunter2" not in hosted.log.read_text()


def test_predict_answers_predictions_of_the_announced_version(hosted: Hosted) -> None:
    announce(hosted.hub, 6, "v2")
    with serving_pictures() as pictures:
        tasks = [{"id": 1, "data": {"i": f"{pictures}/a.png"}}, {"id": 2, "data": {"i": f"{pictures}/missing"}}]
        body = {"tasks": tasks, "project": "6.1", "label_config": _CONFIG, "params": {"context": None}}
        found, missing = hosted.post("/predict", body).json()["results"]
    assert found["model_version"] == "v2"
    assert found["result"][0]["value"]["choices"] == ["a"]
    assert isinstance(found["score"], float)
    assert missing == []


def test_start_training_queues_a_run(hosted: Hosted) -> None:
    project = {"id": 7, "label_config": _CONFIG}
    answer = hosted.post("/webhook", {"action": "START_TRAINING", "project": project})
    assert answer.status_code == 201
    assert job_status(hosted.hub.redis, answer.json()["result"]["job"]) == "queued"


def test_an_annotation_is_noted(hosted: Hosted) -> None:
    body = {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": 4, "task": 1, "was_cancelled": False},
        "task": {"id": 1},
        "project": {"id": 8, "label_config": _CONFIG},
    }
    assert hosted.post("/webhook", body).status_code == 201
    assert hosted.hub.state(hosted.hub.project(8)).changes.pending().changed == 1


def test_the_sweep_knows_a_project_from_its_setup(hosted: Hosted) -> None:
    hosted.post("/setup", {"project": "11.1", "schema": _CONFIG})
    assert hosted.hub.project(11) in known_projects(hosted.hub)


def test_values_are_shared_by_processes(hosted: Hosted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))  # where 2.x makes a cache.db as it is imported
    hosted.post("/setup", {"project": "9.1", "schema": _CONFIG, "extra_params": {"any": "thing"}})
    from model import LabelLoop

    model = LabelLoop(project_id="9", label_config=_CONFIG, hub=hosted.hub)
    assert model.get("extra_params") == '{"any": "thing"}'
    assert model.extra_params == {"any": "thing"}
    model.set("mine", "7")
    assert LabelLoop("9", hub=hosted.hub).get("mine") == "7"
    assert LabelLoop("10", hub=hosted.hub).get("mine") is None
    assert model.get("model_version") == model.model_version == NO_VERSION
