"""All that one machine runs (Redis, inference, worker, web), and how each is started."""

import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn
from urllib.parse import urlsplit

import httpx

from labelloop.children import launcher_is_gone, start_child
from labelloop.environment import unknown_variables, warn_of_unknown
from labelloop.errors import SettingsError, TrainingError
from labelloop.kinds.base import kinds
from labelloop.logs import start_logging
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.loop.redis_server import RedisServer
from labelloop.loop.startup import check_training, clashes, is_open, keep_private, refuse_impossible, trains_here
from labelloop.serve.engines.base import check_engine
from labelloop.settings import Settings
from labelloop.sources.egress import trusted
from labelloop.supervise import ChildService, Supervisor, require_free
from labelloop.trainers.foreign import learner
from labelloop.web.access import Logins
from labelloop.web.backend import FOLDER, backend_class
from labelloop.web.cloud_run import lacks_by_settings
from labelloop.web.labelbox import is_alone
from labelloop.webhook_secrets import WebhookSecrets

_log = logging.getLogger(__name__)

_TIMEOUT = 30
"""Seconds for which a worker's event loop may stand still."""
_ANSWER_SECONDS = 5
"""What a prediction in flight has after its deadline, to be written and read."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_SPARE_SECONDS = 5.0
"""What a process has to end after its requests in flight."""
_INFERENCE_GRACE = 30.0
"""Above what the inference server gives its requests in flight (serve.server, whose imports are not for here)."""
_WORKER_GRACE = 25.0
"""Above what a worker needs to give its project back (loop.worker, which loads RQ)."""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - read, not bound


def run_machine(environment: Mapping[str, str], *, check: bool = False) -> None:
    """Run all that one machine needs until SIGTERM or SIGINT, or until the ``label-studio-ml start`` above is gone.

    ``check``: what is made for the first request is made before anything is started. Raises LabelLoopError.
    """
    is_over = launcher_is_gone("label-studio-ml", "start")  # which passes no signal on and waits for nothing
    settings = Settings.from_environment(environment)
    start_logging(settings.log_level, settings.log_format)
    _refuse(settings)
    warn_of_unknown(environment)
    _warn_of_doubts(settings)
    keep_private(settings.directory)
    if check:
        _check(settings)
    services = machine_services(settings, environment)
    print(f"LabelLoop is starting at http://{address(settings.host, settings.port)}; Ctrl-C ends it", flush=True)  # noqa: T201
    Supervisor(services, is_over=is_over).run()


def _refuse(settings: Settings) -> None:
    """Raise LabelLoopError for what can never work, as far as it shows without loading torch."""
    Logins.of(settings)
    refuse_impossible(open_hub(settings))
    check_engine(settings.engine)
    if trains_here(settings):
        try:
            for kind in kinds():
                learner(kind, settings).hyperparameters(settings)
        except TrainingError as error:  # a file that the settings name
            raise SettingsError(str(error)) from error


def _check(settings: Settings) -> None:
    """Make the web process's app and one LabelLoop before anything is started, so that what is wrong shows at once."""
    from labelloop.web.app import create_app

    hub, backend = open_hub(settings), backend_class()
    create_app(settings, hub, backend)
    backend(hub=hub)
    if trains_here(settings):
        check_training(settings)
    print("LabelLoop can be made with these settings", flush=True)  # noqa: T201


def machine_services(settings: Settings, environment: Mapping[str, str]) -> list[ChildService]:
    """What has to run for these settings, in the order of starting; ``environment`` is what the children are given.

    Redis only when it is embedded, inference only when the endpoint's address is this machine's own and nothing answers
    there. Raises ServiceError when a port is taken.
    """
    # What is no setting has been told by now, once for all of them.
    known = {name: value for name, value in environment.items() if name not in unknown_variables(environment)}
    given = {**known, "PYTHONPATH": os.pathsep.join(filter(None, [str(FOLDER), environment.get("PYTHONPATH")]))}
    require_free(settings.host, settings.port, "end what listens there, or choose another port with -p or PORT")
    services = [redis_service(settings)] if settings.redis_url == "embedded" else []
    services += inference_services(settings, given)
    worker = [sys.executable, "-m", "labelloop", "worker"]
    services.append(ChildService("worker", _child(worker, given), grace_seconds=_WORKER_GRACE))
    services.append(web_service(settings, given))
    return services


def redis_service(settings: Settings) -> ChildService:
    """The embedded Redis, with its data in the model folder."""
    server = RedisServer(settings.directory / "redis")

    def start() -> "subprocess.Popen[bytes]":
        server.start()
        assert server.process is not None  # noqa: S101 - start() has just made it
        return server.process

    return ChildService("redis", start, ready=lambda: True)  # start() waits for it


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
            # A proxy has no business between two processes of one machine.
            return httpx.get(url, timeout=1.0, trust_env=False, verify=trusted()).status_code == 200
        except httpx.HTTPError:
            return False

    return check


def _child(command: Sequence[str], environment: Mapping[str, str]) -> "Callable[[], subprocess.Popen[bytes]]":
    return lambda: start_child(command, environment=environment)


def gunicorn_command(settings: Settings) -> list[str]:
    """The command that serves the web process alone; the settings reach it through its environment."""
    return [
        *(sys.executable, "-m", "gunicorn"),
        *("--bind", address(settings.host, settings.port)),
        *("--config", "python:labelloop.web.gunicorn_config"),
        *("--workers", str(settings.workers + 1)),  # one of them stands by
        *("--timeout", str(_TIMEOUT)),
        *("--graceful-timeout", str(grace_seconds(settings))),
        # Nobody but Google's front end reaches a container of Cloud Run, and it alone knows that it was asked by https.
        *(("--forwarded-allow-ips", "*") if settings.cloud_run else ()),
        *("--log-level", "warning"),
        "--no-control-socket",
        "labelloop.web.wsgi:app",
    ]


def grace_seconds(settings: Settings) -> int:
    """How long requests in flight may take after SIGTERM: what a prediction may."""
    return math.ceil(max(settings.predict_deadline, settings.interactive_deadline)) + _ANSWER_SECONDS


def serve_web(hub: Hub) -> NoReturn:
    """Become gunicorn; its signals and its exit status are this process's. Raises LabelLoopError before."""
    Logins.of(hub.settings)
    refuse_impossible(hub)
    _warn_of_doubts(hub.settings)
    keep_private(hub.settings.directory)
    command = gunicorn_command(hub.settings)
    os.execv(command[0], command)  # noqa: S606 - a list of arguments, no shell


def address(host: str, port: int) -> str:
    """``host:port``, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def doubts(settings: Settings) -> list[str]:
    """Say what of the web process is possible and yet hardly meant, a sentence each."""
    said = [*clashes(settings), *filter(None, [is_open(settings)])]
    if not WebhookSecrets(settings) and not is_alone(settings):
        said.append(
            "there is no webhook secret, so no webhook is accepted: set LABEL_STUDIO_API_KEY or "
            "LABELLOOP_WEBHOOK_SECRET, the same for all processes"
        )
    said += [f"there is no {lack.name}: {lack.detail}. {lack.remedy}" for lack in lacks_by_settings(settings)]
    return said


def _warn_of_doubts(settings: Settings) -> None:
    """Log what is doubtful, a line each."""
    for sentence in doubts(settings):
        _log.warning("%s", sentence)
