"""The RQ worker: one job at a time, each in a forked child that ends with the worker, and the sweep's timer.

Beside it work two more, processes that it has forked, for what nobody waits for (loop/background.py).
"""

import gc
import importlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from resource import struct_rusage
from typing import Any

from prometheus_client import start_http_server
from redis.client import Pipeline
from rq import Queue, Worker, worker_registration
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from labelloop.children import die_with_parent, on_end_signal
from labelloop.counters import FOLDER, OfMachine, count_together, counting_folder, empty
from labelloop.errors import QueueError, ServiceError, StoreError
from labelloop.loop.background import Background, machine_of
from labelloop.loop.clock import note_time
from labelloop.loop.hub import Hub
from labelloop.loop.lease import LEASE_SECONDS, give_back
from labelloop.loop.process import load_tools
from labelloop.loop.queue import (
    BACKGROUND,
    CHALLENGERS,
    LONG,
    NAMES,
    SHORT,
    LoopJob,
    enqueue_sweep,
    machine_queue,
    queue,
)
from labelloop.loop.redis_client import connect_patiently
from labelloop.loop.report_writing import ask_for_reports
from labelloop.loop.startup import (
    ABOUT,
    check_training,
    comparable,
    has_torch,
    keep_private,
    readable,
    refuse_impossible,
    require_safe_store,
    trains_here,
    warn_of_other_releases,
)
from labelloop.loop.state import note_loading, note_start
from labelloop.loop.waker import keep_waking, take_over_scheduled
from labelloop.sources.urls import shown
from labelloop.supervise import require_free
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_NEEDED = ("labelloop.loop.jobs",)
_TRAINING = "labelloop.train.trainer"
_LONG_TRAINING = "labelloop.train.finetuning.running"
"""Takes seconds to import, too: where minutes are trained that is little, and a head does not wait for it."""

_ASKED_SECONDS = 1.0
_TOLD_SECONDS = 300.0
"""How often Redis is asked whether it is there, and how often it is said that it is not."""

_ASKED_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_BACK_SECONDS = 15.0
"""What a job has, when its worker is to end, to reach a place where it can stop; after that it is ended by force."""

_BACKED_OFF = ("retrain", "resume", "deploy", "challenge")
"""The jobs that are started again by themselves."""

_WORKER_TTL = 60
_MAINTENANCE_SECONDS = 60
"""With RQ's own 420 and 600 seconds a job of a killed worker would count as running for ten minutes."""


def run_worker(hub: Hub) -> None:
    """Work until SIGTERM or SIGINT; a Redis that does not answer yet is waited for.

    Raises QueueError for the embedded Redis, which is started before its worker; SettingsError and UnsafeStore for
    settings that no job could work with.
    """
    began = time.monotonic()
    refuse_impossible(hub)
    if hub.settings.redis_url == "embedded":
        hub.redis.ping()  # one that was not started is told of before torch is loaded, which takes seconds
    keep_private(hub.settings.directory)
    note_loading(hub.redis)
    _load(hub)
    if trains_here(hub.settings):
        check_training(hub.settings)
    require_safe_store(hub)
    _wait_for_redis(hub)
    note_start(hub.redis)
    warn_of_other_releases(hub)
    files = CountingFiles()
    tell_metrics(hub, files)
    worker = make_worker(hub)
    _take_along()
    worker.beside = (
        Background("background", lambda: work_in_background(hub, files)),
        Background("challengers", lambda: train_challengers(hub, files)),
    )
    stop = threading.Event()
    # Every job is forked from here: what is loaded is neither looked through for garbage nor copied by that in each.
    gc.collect()
    gc.freeze()
    # Until here there is nothing to be left in order.
    with on_end_signal(worker.note_end):
        try:
            # Before there are threads, and after all that it shares with this process is in memory.
            for process in worker.beside:
                process.tend()
            threading.Thread(target=keep_sweeping, args=(hub, stop), name="sweep timer", daemon=True).start()
            threading.Thread(target=keep_waking, args=(hub.redis, stop), name="waker", daemon=True).start()
            _log.info("worker ready after %.1f s of loading", time.monotonic() - began)
            worker.work(logging_level="WARNING")
        finally:
            stop.set()
            # All at once: they have the same time.
            for process in worker.beside:
                process.ask_to_end()
            for process in worker.beside:
                process.end()
            if hub.settings.metrics_listen and os.environ.get(FOLDER):
                empty(Path(os.environ[FOLDER]))


def _take_along() -> None:
    """Have the processes that this one forks from now on end with it."""
    parent = os.getpid()
    os.register_at_fork(after_in_child=lambda: die_with_parent(parent) if os.getppid() == parent else None)


def work_in_background(hub: Hub, files: "CountingFiles") -> None:
    """Be the process beside a worker that does what nobody waits for, until that asks for its end."""
    _work_beside(hub, files, "background-", (machine_queue(machine_of(hub.settings.directory)), BACKGROUND))


def train_challengers(hub: Hub, files: "CountingFiles") -> None:
    """Be the process beside a worker that trains challengers, until that asks for its end."""
    if trains_here(hub.settings) and hub.settings.trainer == "local" and has_torch():
        importlib.import_module(_LONG_TRAINING)
    _work_beside(hub, files, "challengers-", (CHALLENGERS,))


def _work_beside(hub: Hub, files: "CountingFiles", of: str, names: Sequence[str]) -> None:
    files.worker, files.of = os.getpid(), of
    _take_along()
    worker = make_worker(hub, names)
    with on_end_signal(worker.note_end):
        worker.work(logging_level="WARNING")


def make_worker(hub: Hub, names: Sequence[str] = (SHORT, LONG)) -> "_LoopWorker":
    """Make RQ's worker for these queues, those of a worker by default; it does nothing yet."""
    # RQ waits for jobs by blocking on Redis for minutes, so this connection knows no timeout.
    connection = connect_patiently(hub.settings)
    worker = _LoopWorker(
        [queue(connection, name) for name in names],
        connection=connection,
        serializer=JSONSerializer,
        job_class=LoopJob,
        worker_ttl=_WORKER_TTL,
        maintenance_interval=_MAINTENANCE_SECONDS,
    )
    worker.hub = hub
    return worker


@dataclass
class CountingFiles:
    """How the files are called that a process counts in: its worker's, or those of its worker's jobs.

    Each job has a process of its own. One after the other, they count in the same files, which outlive them. ``of`` is
    what tells the two workers apart, which work at a time.
    """

    worker: int = field(default_factory=os.getpid)
    of: str = ""

    def __call__(self) -> str:
        """Name those of this process."""
        return f"{self.of}{'worker' if os.getpid() == self.worker else 'jobs'}"


def tell_metrics(hub: Hub, files: CountingFiles) -> None:
    """Answer Prometheus at ``LABELLOOP_METRICS_LISTEN``, if that is set; a port that is taken keeps no worker idle."""
    if not hub.settings.metrics_listen:
        return
    host, _, port = hub.settings.metrics_listen.rpartition(":")
    host = host.strip("[]")
    try:
        require_free(host, int(port), "name another one by LABELLOOP_METRICS_LISTEN for each worker of a machine")
        count_together(counting_folder(f"worker-{port}"), files)
        start_http_server(int(port), host, hub.counters.all([OfMachine(hub.settings.directory)]))
    except (OSError, ServiceError) as error:
        _log.warning("this worker tells Prometheus nothing: %s", error)


def keep_sweeping(hub: Hub, stop: threading.Event) -> None:
    """Ask for sweeps for ever. The timer lives here, not in Redis, so that a wiped Redis cannot stop it."""
    while True:
        try:
            note_time(hub.redis, time.time())
            enqueue_sweep(hub.redis, hub.settings.sweep_seconds)
            # Not only at first: after an upgrade, older processes may schedule some more.
            take_over_scheduled(hub.redis)
            # Those of whoever was killed before it asked for them, too.
            ask_for_reports(hub)
        except QueueError as error:
            _log.warning("no sweep: %s", error)
        except StoreError as error:
            _log.warning("reports that are due are asked for later: %s", error)
        except Exception:  # noqa: BLE001 - border: without this timer nothing is found that no webhook told
            _log.exception("no sweep this time; the next one is asked for in %g s", hub.settings.sweep_seconds)
        if stop.wait(hub.settings.sweep_seconds):
            return


def _wait_for_redis(hub: Hub) -> None:
    """Come back when Redis answers, however long that takes; raises QueueError at once for the embedded one."""
    told = float("-inf")
    while True:
        try:
            hub.redis.ping()
        except QueueError as error:
            if hub.settings.redis_url == "embedded":
                raise
            if time.monotonic() - told > _TOLD_SECONDS:
                told = time.monotonic()
                _log.warning("this worker waits for Redis at %s: %s", shown(hub.settings.redis_url), error)
        else:
            if told > 0:
                _log.warning("Redis at %s answers: this worker begins", shown(hub.settings.redis_url))
            return
        time.sleep(_ASKED_SECONDS)


class _LoopWorker(Worker):
    """RQ's worker, which notes when the process of a job ends by itself while this one lives.

    Runs give way to what answers Label Studio on the same machine.
    """

    hub: Hub
    beside: Sequence[Background] = ()
    _asked = False

    def note_end(self) -> None:
        """Note that it is asked to end before RQ hears that: it ends as soon as it would work."""
        self._asked = True

    def work(self, *args: Any, **options: Any) -> bool:
        """Work until asked to end."""
        try:
            return super().work(*args, **options)
        except StopRequested:
            # RQ takes its registration back only once its loop has begun.
            self.register_death()  # type: ignore[no-untyped-call]
            return False

    def _install_signal_handlers(self) -> None:
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        if self._asked:
            raise StopRequested

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Say that this one lives, and see that the processes beside it do: at most a minute apart."""
        if pipeline is None:
            with self.connection.pipeline() as told:
                self._say(timeout, told)
                told.execute()
        else:
            self._say(timeout, pipeline)
        if not self.is_horse and not self._stop_requested:
            for process in self.beside:
                process.tend()

    def _say(self, timeout: int | None, told: Pipeline) -> None:
        """Say all of it: Redis may have been wiped, or have let go of a worker that slept with its machine for minutes.

        RQ would bring back one field of the worker's record, and whoever looks for workers would not find it.
        """
        super().heartbeat(timeout, told)
        worker_registration.register(self, told)
        told.hset(self.key, mapping={**self.serialize(), ABOUT: self._about})

    def register_birth(self) -> None:
        """Tell whoever looks, ``labelloop doctor`` above all, what this worker can do and by which settings."""
        super().register_birth()  # type: ignore[no-untyped-call]
        self.connection.hset(self.key, ABOUT, self._about)

    @cached_property
    def _about(self) -> str:
        settings = self.hub.settings
        return json.dumps({"trains": trains_here(settings), "settings": comparable(settings), "bundles": readable()})

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Do a job in its own process."""
        if queue.name == LONG:
            os.nice(self.hub.settings.run_niceness)
        super().main_work_horse(job, queue)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Have a process do it, and count it here, which outlives that."""
        began = time.monotonic()
        super().execute_job(job, queue)
        try:
            name, status = (job.func_name or "").rpartition(".")[2], job.get_status()
            told = status.value if status else "gone"
            self.hub.counters.worked(name if name in NAMES else "other", told, time.monotonic() - began)
        except Exception:  # noqa: BLE001 - border: RQ would end with it
            _log.exception("job %s is not counted", job.id)

    def handle_warm_shutdown_request(self) -> None:
        """Have the job give its project back, where RQ would wait for its end: that may be hours away."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        for process in self.beside:
            process.ask_to_end()
        if self.horse_pid:
            self._end_job(self.horse_pid, signal.SIGTERM)
            late = threading.Timer(_BACK_SECONDS, self._end_job, [self.horse_pid, signal.SIGKILL])
            late.daemon = True
            late.start()

    def _end_job(self, process: int, number: signal.Signals) -> None:
        if self.horse_pid == process:
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def setup_work_horse_signals(self) -> None:
        """Let SIGTERM end a job in order, whoever sends it."""
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGTERM, lambda *_: give_back())

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: struct_rusage) -> None:
        """Note it for the job's project; RQ marks the job as failed afterwards."""
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # type: ignore[no-untyped-call]
        try:
            code = os.waitstatus_to_exitcode(ret_val)
            name = (job.func_name or "").rpartition(".")[2]
            # Who ends a process by such a signal means it, and a worker that is to end takes its job along.
            if -code not in _ASKED_TO_END and not self._stop_requested and name in _BACKED_OFF:
                how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
                _note_death(self.hub, ProjectKey.parse(str(job.args[0])), name, how)
        except Exception:  # noqa: BLE001 - border: RQ would end with it
            _log.exception("what became of job %s is not noted", job.id)


def _note_death(hub: Hub, project: ProjectKey, job: str, how: str) -> None:
    _log.warning("project %s: the process of its %s ended by %s", project, job, how)
    state, challenger = hub.state(project), job == "challenge"
    told = f"the process of the last {job} ended by {how}; was there too little memory?"
    state.note("challenger" if challenger else "trouble", told)
    # After the sentence: who finds the death finds what is said of it.
    if job != "deploy":
        state.progress(challenger=challenger).note_death(how)
    # A moment later the lease of the dead one has run out. Nothing else waits for what befell a challenger.
    again = time.time() + LEASE_SECONDS + 1
    hub.queue(project).consider(again if challenger else max(state.backoff.note(), again))


def _load(hub: Hub) -> None:
    """Import what jobs need before they fork: torch alone takes seconds, and every sweep asks the tool."""
    for name in _NEEDED:
        importlib.import_module(name)
    load_tools(hub)
    if not trains_here(hub.settings):
        _log.warning("torch is not installed (requirements-train.txt): this worker pre-annotates but cannot train")
    elif hub.settings.trainer == "local" and has_torch():
        importlib.import_module(_TRAINING)
