"""LabelLoop's web process with a Redis of its own, as the benchmarks start it."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from labelloop.children import start_child, stop_child
from labelloop.environment import environment_of
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from labelloop.web.machine import gunicorn_command


@contextmanager
def web_process(folder: Path, environment: Mapping[str, str] | None = None, **changed: Any) -> Iterator[Settings]:
    """Run it in ``folder``; ``changed`` are settings, ``environment`` is added to its environment."""
    redis = RedisServer(folder / "redis")
    redis.start()
    settings = replace(
        Settings(),
        port=free_port(),
        host="127.0.0.1",
        model_dir=str(folder),
        redis_url=redis.url,
        log_level="WARNING",
        **changed,
    )
    given = {**os.environ, **environment_of(settings), **(environment or {})}
    web = start_child(gunicorn_command(settings), environment=given)
    try:
        wait_for(f"{address(settings)}/health", web)
        yield settings
    finally:
        stop_child(web, 10)
        redis.stop()


def address(settings: Settings) -> str:
    """Where it answers."""
    return f"http://127.0.0.1:{settings.port}"


def wait_for(url: str, child: "subprocess.Popen[bytes]") -> None:
    """Wait until something answers 200 there."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and child.poll() is None:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.05)
    raise RuntimeError(f"{url} does not answer")


def free_port() -> int:
    """A port that is free now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
