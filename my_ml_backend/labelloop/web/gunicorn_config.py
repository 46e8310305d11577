"""gunicorn's configuration for the web process: ``gunicorn --config python:labelloop.web.gunicorn_config``.

The last of at least two workers stands by for the others (``labelloop.front.standby``). What all of them run is
imported here, once, before they are forked: they share its memory, and the one that stands by adds little. They count
in one folder, so that whichever is asked for ``/metrics`` tells of all.
"""

import gc
import logging
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from labelloop.counters import FOLDER, count_together, counting_folder, empty
from labelloop.front.standby import Pulse
from labelloop.logs import start_logging
from labelloop.settings import Settings
from labelloop.web.access import ESSENTIAL

_log = logging.getLogger(__name__)

worker_class = "labelloop.front.worker.Worker"
logger_class = "labelloop.front.logger.FrontLogger"


def on_starting(server: Any) -> None:
    """Make what the workers beat in, and import what they run: collecting garbage would copy all of it."""
    settings, _ = Settings.read()  # what is wrong with them, the workers say
    start_logging(settings.log_level, settings.log_format)
    server.pulse = Pulse()
    import_module("labelloop.web.app")
    gc.collect()
    gc.freeze()
    # A task leaves hundreds of objects behind that no circle holds: to look for circles took 5 % of the processor time.
    gc.set_threshold(20_000, 20, 20)


def when_ready(server: Any) -> None:
    """Make what the workers count in, which is named by the address: nobody else listens there now."""
    named = re.sub(r"\W+", "-", str(server.cfg.address[0]))
    try:
        count_together(counting_folder(f"web{named}".rstrip("-")))
    except OSError as error:
        _log.warning("/metrics tells of one web process at a time: %s", error)


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


def child_exit(_server: Any, worker: Any) -> None:
    """Forget how things stand for a worker that has ended; what it counted stays counted."""
    if os.environ.get(FOLDER):
        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    """Leave nothing behind that was counted in."""
    if os.environ.get(FOLDER):
        empty(Path(os.environ[FOLDER]))
