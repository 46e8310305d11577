"""gunicorn's configuration for the web process: ``gunicorn --config python:labelloop.web.gunicorn_config``.

The last of at least two workers stands by for the others (``labelloop.front.standby``). What all of them run is
imported here, once, before they are forked: they share its memory, and the one that stands by adds little.
"""

import gc
from importlib import import_module
from typing import Any

from labelloop.front.standby import Pulse
from labelloop.web.access import ESSENTIAL

worker_class = "labelloop.front.worker.Worker"


def on_starting(server: Any) -> None:
    """Make what the workers beat in, and import what they run: collecting garbage would copy all of it."""
    server.pulse = Pulse()
    import_module("labelloop.web.app")
    gc.collect()
    gc.freeze()


def on_reload(server: Any) -> None:
    """Know the workers that are about to be replaced."""
    for worker in server.WORKERS.values():
        worker.replaced = True


def pre_fork(server: Any, worker: Any) -> None:
    """Say what a new worker is for: the last one that is missing stands by, unless another does."""
    worker.pulse = server.pulse
    others = [one for one in server.WORKERS.values() if not getattr(one, "replaced", False)]
    if 0 < server.num_workers - 1 <= len(others) and not any(one.essential for one in others):
        worker.essential = ESSENTIAL
