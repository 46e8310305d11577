"""What a task's address can make LabelLoop read and send, tried on all of it as a user starts it."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from labelloop.children import start_child, stop_child
from support.misbehaving import Misbehaving, Reply, answer, good, misbehaving
from support.servers import free_port
from support.waiting import wait_until
from support.web import CONFIG

pytestmark = pytest.mark.process

WSGI = Path(__file__).parents[3] / "my_ml_backend" / "_wsgi.py"
TOKEN, SECRET = "legacy-token-of-forty-characters", b"hush-hush-hush"
PICTURE = b"\x89PNG, or something like it"
FILES = {"/data/upload/7/a.png": PICTURE, "/data/local-files/?d=a.png": PICTURE, "/tasks/1/resolve/?fileuri=x": PICTURE}


def studio(exchange: Any) -> None:
    """Label Studio: files for the token, and secrets for it, too."""
    path = exchange.request.line.split()[1]
    allowed = exchange.request.headers.get("authorization") == f"Token {TOKEN}"
    if path == "/data/upload/7/moved.png":
        answer(b"", 302, "Location: /api/current-user/token\r\n")(exchange)
    elif not allowed:
        answer({"detail": "Authentication credentials were not provided."}, 401)(exchange)
    else:
        answer(FILES.get(path, PICTURE + SECRET))(exchange)


@dataclass
class Running:
    url: str
    studio: Misbehaving
    endpoint: Misbehaving

    def predict(self, *addresses: str) -> list[Any]:
        tasks = [{"id": number, "data": {"image": one}} for number, one in enumerate(addresses, 1)]
        body = {"project": "7.1795187589", "label_config": CONFIG, "tasks": tasks}
        found: list[Any] = requests.post(f"{self.url}/predict", json=body, timeout=60).json()["results"]
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, port = tmp_path_factory.mktemp("machine"), free_port()
    log, replies = folder / "log", (good,)
    with ExitStack() as stack:
        label_studio = stack.enter_context(misbehaving(_reply(studio)))
        endpoint = stack.enter_context(misbehaving(*replies))
        settings = {
            "LABEL_STUDIO_URL": label_studio.address,
            "LABEL_STUDIO_API_KEY": TOKEN,
            "LABELLOOP_ENDPOINT": f"{endpoint.address}/predict",
            "HOST": "127.0.0.1",
            "MODEL_DIR": str(folder / "model"),
            "LABELLOOP_TRAINER": "command:true",  # nothing is trained: the worker need not load torch
        }
        child = start_child(
            [sys.executable, str(WSGI), "-p", str(port)], log=log, environment={**os.environ, **settings}
        )
        stack.callback(stop_child, child, 30)
        wait_until(lambda: _listens(port), lambda: log.read_text()[-3000:], 90)
        yield Running(f"http://127.0.0.1:{port}", label_studio, endpoint)


def _reply(reply: Any) -> Reply:
    chosen: Reply = reply
    return chosen


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("address", sorted(FILES))
def test_a_task_s_own_files_are_predicted(running: Running, address: str) -> None:
    [found] = running.predict(address)

    assert found["model_version"]
    assert running.endpoint.requests[-1].body == PICTURE


@pytest.mark.parametrize(
    "path",
    [
        "/api/current-user/token",
        "/api/webhooks/?project=1",
        "/api/projects/1/export?exportType=JSON",
        "/data/upload/7/../../../api/current-user/token",
        "/data/upload/7/%2e%2e/%2e%2e/%2e%2e/api/current-user/token",
        "/data/upload/7/%252e%252e/%252e%252e/%252e%252e/api/current-user/token",
        "//api//current-user/token",
        "/data/upload/7/moved.png",
        "/data/upload/8/a.png",
        "/storage-data/uploaded/?filepath=upload/8/a.png",
        "/storage-data/uploaded/?filepath=upload/7/a.png&filepath=upload/8/a.png",
        "/tasks/2/resolve/?fileuri=x",
        "/user/account",
    ],
)
@pytest.mark.parametrize("absolute", [False, True], ids=["path", "address"])
def test_nothing_else_of_label_studio_is_read_with_the_token(running: Running, path: str, absolute: bool) -> None:
    asked = len(running.endpoint.requests)
    told = len(running.studio.requests)
    address = running.studio.address + path if absolute else path

    assert running.predict(address) == [[]]
    assert len(running.endpoint.requests) == asked
    carried = [one.line.split()[1] for one in running.studio.requests[told:] if "authorization" in one.headers]
    assert set(carried) <= {"/data/upload/7/moved.png"}


def test_one_odd_task_costs_no_other_its_prediction(running: Running) -> None:
    found = running.predict("/data/upload/7/a.png", "gs://b/\ud800.png", "/data/local-files/?d=a.png")

    assert [item == [] for item in found] == [False, True, False]


def test_no_secret_ever_came_to_the_endpoint(running: Running) -> None:
    for request in running.endpoint.requests:
        assert SECRET not in request.body
        assert TOKEN not in str(request.headers)
