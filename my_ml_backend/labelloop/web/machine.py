"""All that one machine runs: Redis, inference, worker, web."""

import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import requests

from labelloop.children import start_child
from labelloop.loop.redis_server import RedisServer
from labelloop.loop.startup import clashes, is_open
from labelloop.settings import Settings, unknown_variables
from labelloop.studio.backends import webhook_secret
from labelloop.supervise import ChildService, require_free

_log = logging.getLogger(__name__)

FOLDER = Path(__file__).resolve().parents[2]
"""The deployable folder, with ``_wsgi.py`` and ``model.py``."""

_TIMEOUT = 120
"""Seconds for which a worker's event loop may stand still."""
_ANSWER_SECONDS = 5
"""What a prediction in flight has after its deadline, to be written and read."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_SPARE_SECONDS = 5.0
"""What a process has to end after its requests in flight."""
_INFERENCE_GRACE = 30.0
"""Above what the inference server gives its requests in flight (serve.server, whose imports are not for here)."""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - read, not bound


def machine_services(settings: Settings, environment: Mapping[str, str]) -> list[ChildService]:
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
    services.append(ChildService("worker", _child([sys.executable, "-m", "labelloop", "worker"], given)))
    services.append(web_service(settings, given))
    return services


def redis_service(settings: Settings) -> ChildService:
    """The embedded Redis, with its data in the model folder."""
    server = RedisServer(settings.directory / "redis")

    def start() -> "subprocess.Popen[bytes]":
        server.start()
        assert server.process is not None  # noqa: S101 - start() has just made it
        return server.process

    return ChildService("redis", start)


def inference_services(settings: Settings, environment: Mapping[str, str]) -> list[ChildService]:
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
    return [ChildService("inference", _child(command, environment), ready, grace_seconds=_INFERENCE_GRACE)]


def web_service(settings: Settings, environment: Mapping[str, str]) -> ChildService:
    """The web process, ready when ``/health`` answers."""
    host = _EVERYWHERE.get(settings.host, settings.host)
    ready = answers(f"http://{address(host, settings.port)}/health")
    grace = grace_seconds(settings) + _SPARE_SECONDS
    return ChildService("web", _child(gunicorn_command(settings), environment), ready, grace_seconds=grace)


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


def gunicorn_command(settings: Settings) -> list[str]:
    """The command that serves the web process alone; the settings reach it through its environment."""
    return [
        *(sys.executable, "-m", "gunicorn"),
        *("--pythonpath", str(FOLDER)),
        *("--bind", address(settings.host, settings.port)),
        *("--worker-class", "labelloop.front.worker.Worker"),
        *("--workers", str(settings.workers)),
        *("--timeout", str(_TIMEOUT)),
        *("--graceful-timeout", str(grace_seconds(settings))),
        *("--log-level", "warning"),
        "--no-control-socket",
        "_wsgi:app",
    ]


def grace_seconds(settings: Settings) -> int:
    """How long requests in flight may take after SIGTERM: what a prediction may."""
    return math.ceil(max(settings.predict_deadline, settings.interactive_deadline)) + _ANSWER_SECONDS


def serve_web(settings: Settings) -> NoReturn:
    """Become gunicorn; its signals and its exit status are this process's."""
    command = gunicorn_command(settings)
    os.execv(command[0], command)  # noqa: S606 - a list of arguments, no shell


def address(host: str, port: int) -> str:
    """``host:port``, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def doubts(settings: Settings) -> list[str]:
    """Say what of the web process is possible and yet hardly meant, a sentence each."""
    said = [*clashes(settings), *filter(None, [is_open(settings)])]
    if not webhook_secret(settings):
        said.append(
            "there is no webhook secret, so no webhook is accepted: set LABEL_STUDIO_API_KEY or "
            "LABELLOOP_WEBHOOK_SECRET, the same for all processes"
        )
    return said


def warn_of_doubts(settings: Settings) -> None:
    """Log what is doubtful, a line each."""
    for sentence in doubts(settings):
        _log.warning("%s", sentence)
