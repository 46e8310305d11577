"""A real Redis for the loop's tests, and hubs on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labelloop.loop.hub import Hub
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from labelloop.types import ProjectKey

PROJECT = ProjectKey("localhost-8080", 7)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One embedded Redis for all tests of this folder."""
    server = RedisServer(tmp_path_factory.mktemp("model") / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hub(redis_server: RedisServer, tmp_path: Path) -> Iterator[Hub]:
    """A hub on an empty Redis and an empty store."""
    made = Hub(Settings(redis_url=redis_server.url, model_dir=str(tmp_path), retrain_after=3, quiet_seconds=5))
    made.redis.flushall()
    yield made
    made.redis.close()
