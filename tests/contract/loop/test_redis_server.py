"""The embedded Redis: its data outlive it, and it does not outlive its parent."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from labelloop.errors import QueueError
from labelloop.loop.redis_server import RedisServer


def test_data_outlive_the_server(tmp_path: Path) -> None:
    for expected in (None, b"kept"):
        server = RedisServer(tmp_path / "redis")
        server.start()
        client = redis.Redis.from_url(server.url)
        assert client.get("key") == expected
        client.set("key", "kept")
        client.close()
        server.stop()


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        with pytest.raises(QueueError, match="already running"):
            RedisServer(tmp_path / "redis").start()
    finally:
        server.stop()


def test_it_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from labelloop.loop.redis_server import RedisServer\n"
        "server = RedisServer(pathlib.Path(sys.argv[1])); server.start(); print(server.url, flush=True); input()"
    )
    folder = Path(__file__).parents[3] / "my_ml_backend"
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "redis")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(folder)},
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().decode().strip()
    client = redis.Redis.from_url(url)
    assert client.ping()
    parent.kill()
    parent.communicate()
    waiting = threading.Event()
    for _ in range(500):
        try:
            client.ping()
        except redis.ConnectionError:
            break
        waiting.wait(0.01)
    else:
        pytest.fail("Redis outlived its parent by 5 s")
    client.close()
