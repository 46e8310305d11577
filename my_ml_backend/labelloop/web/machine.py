"""All that one machine runs: Redis, inference, worker, web."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import requests

from labelloop.children import start_child
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings, unknown_variables
from labelloop.supervise import Service, require_free
from labelloop.web.server import FOLDER, address, grace_seconds, gunicorn_command

_log = logging.getLogger(__name__)

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_SPARE_SECONDS = 5.0
"""What a process has to end after its requests in flight."""
_INFERENCE_GRACE = 30.0
"""Above what the inference server gives its requests in flight (serve.server, whose imports are not for here)."""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - read, not bound


def machine(settings: Settings, environment: Mapping[str, str]) -> list[Service]:
    """What has to run for these settings, in the order of starting; ``environment`` is what the children are given.

    Redis only when it is embedded, inference only when the endpoint's address is this machine's own and nothing answers
    there. Raises SettingsError when a port is taken.
    """
    # What is no setting has been told by now, once for all of them.
    known = {name: value for name, value in environment.items() if name not in unknown_variables(environment)}
    given = {**known, "PYTHONPATH": os.pathsep.join(filter(None, [str(FOLDER), environment.get("PYTHONPATH")]))}
    require_free(settings.host, settings.port, "end what listens there, or choose another port with -p or PORT")
    services = [redis_service(settings)] if settings.redis_url == "embedded" else []
    services += inference_services(settings, given)
    services.append(Service("worker", _child([sys.executable, "-m", "labelloop", "worker"], given)))
    services.append(web_service(settings, given))
    return services


def redis_service(settings: Settings) -> Service:
    """The embedded Redis, with its data in the model folder."""
    server = RedisServer(settings.directory / "redis")

    def start() -> "subprocess.Popen[bytes]":
        server.start()
        assert server.process is not None  # noqa: S101 - start() has just made it
        return server.process

    return Service("redis", start)


def inference_services(settings: Settings, environment: Mapping[str, str]) -> list[Service]:
    """The inference server behind a local endpoint address; nothing for one elsewhere, or one that runs already."""
    where = urlsplit(settings.endpoint)
    if where.scheme != "http" or where.hostname not in _LOOPBACK or where.path.strip("/"):
        _log.info("the endpoint is elsewhere, so no inference server is started")
        return []
    port = where.port or 80
    ready = answers(f"http://{address(where.hostname, port)}/ping")
    if ready():
        _log.info("an endpoint already answers at port %d and is used", port)
        return []
    require_free(where.hostname, port, "end what listens there, or choose another address with LABELLOOP_ENDPOINT")
    command = [sys.executable, "-m", "labelloop", "serve", "--host", where.hostname, "--port", str(port)]
    return [Service("inference", _child(command, environment), ready, grace_seconds=_INFERENCE_GRACE)]


def web_service(settings: Settings, environment: Mapping[str, str]) -> Service:
    """The web process, ready when ``/health`` answers."""
    host = _EVERYWHERE.get(settings.host, settings.host)
    ready = answers(f"http://{address(host, settings.port)}/health")
    grace = grace_seconds(settings) + _SPARE_SECONDS
    return Service("web", _child(gunicorn_command(settings), environment), ready, grace_seconds=grace)


def answers(url: str) -> Callable[[], bool]:
    """Make a check that says whether a URL answers 200 within a second."""

    def check() -> bool:
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy has no business between two processes of one machine
                return session.get(url, timeout=1.0).status_code == 200
        except requests.RequestException:
            return False

    return check


def _child(command: Sequence[str], environment: Mapping[str, str]) -> "Callable[[], subprocess.Popen[bytes]]":
    return lambda: start_child(command, environment=environment)
