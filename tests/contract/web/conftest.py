"""The web app over a real Redis, a store in a folder, the fake endpoint, and pictures served over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from support.web import SECRET, MakeHub, client_of, serving_pictures


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("model") / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def pictures() -> Iterator[str]:
    """The address below which every ``.png`` is a picture and everything else is missing."""
    with serving_pictures() as url:
        yield url


@pytest.fixture
def make_hub(redis_server: RedisServer, tmp_path: Path) -> Iterator[MakeHub]:
    """Make hubs with other settings, on an empty Redis and an empty store."""
    made: list[Hub] = []

    def make(**given: object) -> Hub:
        usual: dict[str, object] = {
            "redis_url": redis_server.url,
            "model_dir": str(tmp_path),
            "endpoint": "fake://?classes=cat,dog",
            "allow_private_addresses": True,
            "webhook_secret": SECRET,
        }
        made.append(open_hub(Settings(**{**usual, **given})))  # type: ignore[arg-type]
        if not given.get("redis_url"):
            made[-1].redis.flushall()
        return made[-1]

    yield make
    for hub in made:
        hub.redis.close()


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub()


@pytest.fixture
def client(hub: Hub) -> FlaskClient:
    return client_of(hub)
