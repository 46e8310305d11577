"""The Dockerfile's commands and health checks, taken from it and run against each other, without the containers."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from labelloop.children import start_child, stop_child
from labelloop.loop.redis_server import RedisServer, find_binary
from support.clients import SECONDS
from support.servers import free_port
from support.waiting import wait_until

pytestmark = pytest.mark.process

BACKEND = Path(__file__).parents[2] / "my_ml_backend"
START_SECONDS = 120.0
"""How long a container may take to start on a machine that does much else: a worker imports torch first."""
END_SECONDS = 60.0
"""How long it may take there to end in order."""


def instruction(image: str, name: str) -> list[str]:
    """The arguments of an instruction in exec form, as a stage has it or inherits it."""
    text = (BACKEND / "Dockerfile").read_text().replace("\\\n", "")
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL))
    found = re.findall(rf"^{name}\b.*?(\[.*\])$", stages["runtime"] + stages[image], re.MULTILINE)
    arguments = json.loads(found[-1])
    assert isinstance(arguments, list)
    return [sys.executable if one == "python" else one for one in arguments]


def healthy(image: str, environment: Mapping[str, str]) -> bool:
    check = instruction(image, "HEALTHCHECK")
    return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0


@contextmanager
def started(image: str, environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [*instruction(image, "ENTRYPOINT"), *instruction(image, "CMD")]
    child = start_child(command, log=log, environment=environment)
    try:
        yield child
    finally:
        stop_child(child, grace=END_SECONDS)


def wait_until_healthy(
    image: str,
    environment: Mapping[str, str],
    child: "subprocess.Popen[bytes]",
    log: Path,
    begins: Callable[[], bool],
) -> None:
    """Wait for the health check, a process that takes as long as any: asked from when the command ``begins`` on."""

    def is_healthy() -> bool:
        assert child.poll() is None, log.read_text()
        return begins() and healthy(image, environment)

    wait_until(is_healthy, log.read_text, START_SECONDS)


def listening(port: str) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), timeout=3):
        return True
    return False


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(BACKEND), "MODEL_DIR": str(tmp_path / "data")}


@pytest.mark.parametrize(("image", "port"), [("web", "PORT"), ("inference", "AIP_HTTP_PORT")])
def test_a_container_is_healthy_while_its_command_answers(
    image: str, port: str, environment: dict[str, str], tmp_path: Path
) -> None:
    server = RedisServer(tmp_path / "redis")
    environment |= {"WORKERS": "1", "THREADS": "2", port: str(free_port()), "LABELLOOP_REDIS_URL": server.url}
    log = tmp_path / "log"
    server.start()

    assert not healthy(image, environment)
    with started(image, environment, log) as child:
        wait_until_healthy(image, environment, child, log, lambda: listening(environment[port]))
        server.stop()
        # Predictions need no Redis, and what Label Studio asks before them neither.
        wait_until(lambda: healthy(image, environment) == (image == "inference"), log.read_text)
        route = "health" if image == "web" else "ping"
        with urlopen(f"http://127.0.0.1:{environment[port]}/{route}", timeout=SECONDS) as answer:
            assert answer.status == 200
    assert child.returncode == 0, log.read_text()
    assert not healthy(image, environment)


@contextmanager
def guarded_redis(port: int, password: str, log: Path) -> Iterator[None]:
    """Run a Redis at a port of this machine that lets in only who knows the password."""
    only = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", password, "--save", ""]
    child = start_child([str(find_binary()), *only], log=log)
    try:
        yield
    finally:
        stop_child(child, grace=15)


@pytest.mark.train
def test_a_worker_waits_for_its_redis_without_saying_the_password_and_is_healthy_while_that_hears_of_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    environment["LABELLOOP_REDIS_URL"] = f"redis://:hush@127.0.0.1:{port}/0"

    assert not healthy("worker", environment)
    with ExitStack() as running:
        with started("worker", environment, log) as child:
            waits = f"waits for Redis at redis://127.0.0.1:{port}/0"
            wait_until(lambda: waits in log.read_text(), log.read_text, START_SECONDS)
            assert child.poll() is None
            assert not healthy("worker", environment)
            running.enter_context(guarded_redis(port, "hush", tmp_path / "redis.log"))
            begins = "answers: this worker begins"
            wait_until_healthy("worker", environment, child, log, lambda: begins in log.read_text())
        assert not healthy("worker", environment)
    assert "hush" not in log.read_text()
