"""The RQ worker: one job at a time, each in a forked child that ends with the worker, and the sweep's timer."""

import importlib
import importlib.util
import logging
import os
import threading

from rq import Queue, Worker
from rq.serializers import JSONSerializer

from labelloop.children import die_with_parent
from labelloop.errors import QueueError
from labelloop.loop.hub import Hub, connect_redis, reach
from labelloop.loop.queue import LONG, SHORT, enqueue_sweep

_log = logging.getLogger(__name__)

_NEEDED = ("labelloop.loop.jobs", "label_studio_sdk.client", "label_studio_sdk.label_interface.interface")
_TRAINING = ("labelloop.train.trainer", "labelloop.train.finetuning.running")

_WORKER_TTL = 60
_MAINTENANCE_SECONDS = 60
"""With RQ's own 420 and 600 seconds a job of a killed worker would count as running for ten minutes."""


def run_worker(hub: Hub) -> None:
    """Work until SIGTERM or SIGINT; raises QueueError when Redis cannot be reached."""
    with reach(hub):
        hub.redis.ping()
    _load()
    # RQ waits for jobs by blocking on Redis for minutes, so this connection knows no timeout.
    connection = connect_redis(hub.settings, timeout=None)
    queues = [Queue(name, connection=connection, serializer=JSONSerializer) for name in (SHORT, LONG)]
    worker = Worker(
        queues,
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=_WORKER_TTL,
        maintenance_interval=_MAINTENANCE_SECONDS,
    )
    parent = os.getpid()
    os.register_at_fork(after_in_child=lambda: die_with_parent(parent) if os.getppid() == parent else None)
    stop = threading.Event()
    timer = threading.Thread(target=_sweep_until_stopped, args=(hub, stop), name="sweep timer", daemon=True)
    timer.start()
    try:
        worker.work(with_scheduler=True, logging_level="WARNING")
    finally:
        stop.set()


def _sweep_until_stopped(hub: Hub, stop: threading.Event) -> None:
    """Ask for sweeps for ever. The timer lives here, not in Redis, so that a wiped Redis cannot stop it."""
    while True:
        try:
            enqueue_sweep(hub, hub.settings.sweep_seconds)
        except QueueError as error:
            _log.warning("no sweep: %s", error)
        if stop.wait(hub.settings.sweep_seconds):
            return


def _load() -> None:
    """Import what jobs need before they fork: torch alone takes seconds, and every sweep asks Label Studio."""
    for name in _NEEDED:
        importlib.import_module(name)
    if importlib.util.find_spec("torch") is None:
        _log.warning("torch is not installed (requirements-train.txt): this worker pre-annotates but cannot train")
        return
    for name in _TRAINING:
        importlib.import_module(name)
