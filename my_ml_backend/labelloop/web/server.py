"""How the web process is started: gunicorn with the front's worker, around ``_wsgi:app``."""

import math
import os
import sys
from pathlib import Path
from typing import NoReturn

from labelloop.settings import Settings

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
