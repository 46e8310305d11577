"""How the web process is started: gunicorn with threads, around ``_wsgi:app``."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from labelloop.settings import Settings

FOLDER = Path(__file__).resolve().parents[2]
"""The deployable folder, with ``_wsgi.py`` and ``model.py``."""

_TIMEOUT = 120
"""Seconds; Label Studio itself gives up on a prediction after 100."""


def gunicorn_command(settings: Settings) -> list[str]:
    """The command that serves the web process alone; the settings reach it through its environment."""
    return [
        *(sys.executable, "-m", "gunicorn"),
        *("--pythonpath", str(FOLDER)),
        *("--bind", address(settings.host, settings.port)),
        *("--worker-class", "gthread"),
        *("--workers", str(settings.workers)),
        *("--threads", str(settings.threads)),
        *("--timeout", str(_TIMEOUT)),
        *("--graceful-timeout", "10"),
        *("--log-level", "warning"),
        "--no-control-socket",
        "_wsgi:app",
    ]


def serve_web(settings: Settings) -> NoReturn:
    """Become gunicorn; its signals and its exit status are this process's."""
    command = gunicorn_command(settings)
    os.execv(command[0], command)  # noqa: S606 - a list of arguments, no shell


def address(host: str, port: int) -> str:
    """``host:port``, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
