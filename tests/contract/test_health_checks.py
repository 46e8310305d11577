"""The Dockerfile's commands and health checks, taken from it and run against each other, without the containers."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from labelloop.children import start_child, stop_child
from labelloop.loop.redis_server import RedisServer
from support.inference import free_port

pytestmark = pytest.mark.process

BACKEND = Path(__file__).parents[2] / "my_ml_backend"


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
        stop_child(child, grace=15)


def becomes_healthy(image: str, environment: Mapping[str, str], child: "subprocess.Popen[bytes]") -> bool:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and child.poll() is None:
        if healthy(image, environment):
            return True
    return False


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(BACKEND), "MODEL_DIR": str(tmp_path / "data")}


@pytest.mark.parametrize(("image", "port"), [("web", "PORT"), ("inference", "AIP_HTTP_PORT")])
def test_a_container_is_healthy_while_its_command_answers(
    image: str, port: str, environment: dict[str, str], tmp_path: Path
) -> None:
    environment |= {"WORKERS": "1", "THREADS": "2", port: str(free_port())}
    log = tmp_path / "log"

    assert not healthy(image, environment)
    with started(image, environment, log) as child:
        assert becomes_healthy(image, environment, child), log.read_text()
    assert child.returncode == 0, log.read_text()
    assert not healthy(image, environment)


@pytest.mark.train
def test_a_worker_is_healthy_while_redis_hears_of_it(environment: dict[str, str], tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    environment["LABELLOOP_REDIS_URL"] = server.url
    log = tmp_path / "log"

    assert not healthy("worker", environment)
    server.start()
    try:
        assert not healthy("worker", environment)
        with started("worker", environment, log) as child:
            assert becomes_healthy("worker", environment, child), log.read_text()
        assert not healthy("worker", environment)
    finally:
        server.stop()
