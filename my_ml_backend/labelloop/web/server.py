"""How the web process is started: gunicorn with the front's worker, around ``_wsgi:app``."""

import logging
import math
import os
import sys
from pathlib import Path
from typing import NoReturn

from labelloop.loop.startup import clashes, is_open
from labelloop.settings import Settings
from labelloop.studio.backends import webhook_secret

_log = logging.getLogger(__name__)

FOLDER = Path(__file__).resolve().parents[2]
"""The deployable folder, with ``_wsgi.py`` and ``model.py``."""

_TIMEOUT = 120
"""Seconds for which a worker's event loop may stand still."""
_SPARE_SECONDS = 5
"""What a prediction in flight has after its deadline, to be written and read."""


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
    return math.ceil(max(settings.predict_deadline, settings.interactive_deadline)) + _SPARE_SECONDS


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
