"""Several child processes kept running as one: started in order, watched, restarted, ended in reverse order.

The children end with this process however it ends (``labelloop.children``). Call everything here from the main thread:
to the kernel a child's parent is the thread that started it, and a child ends with that.
"""

import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from labelloop.children import on_end_signal, stop_child
from labelloop.errors import LabelLoopError, ServiceError, SettingsError

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_SAME_SIGNAL_SECONDS = 1.0
"""Within which a second signal is taken for the first: a terminal's and a parent's come together."""


@dataclass(frozen=True)
class ChildService:
    """One thing to keep running: ``start`` starts its process, ``ready`` says whether it does its work yet.

    None: it is not waited for, and says itself when it is.
    """

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 60.0
    grace_seconds: float = 15.0


@dataclass
class _Running:
    service: ChildService
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    next_start: float = 0.0
    deaths: list[str] = field(default_factory=list)


class Supervisor:
    """Keeps services running. A service that ends is started again after ``backoff`` seconds, which double each time.

    After ``restarts`` restarts in a row the supervisor gives up; ``calm_seconds`` of running start the count anew. One
    that ends with EX_CONFIG (78) cannot work with these settings, and is not started again: that is a SettingsError.
    It ends as at a signal when ``is_over`` says so.
    """

    def __init__(
        self,
        services: Sequence[ChildService],
        *,
        restarts: int = 4,
        backoff: float = 0.5,
        calm_seconds: float = 60.0,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._running = [_Running(service) for service in services]
        self._restarts = restarts
        self._backoff = backoff
        self._calm_seconds = calm_seconds
        self._asked_to_end = 0.0
        self._is_over = is_over

    def run(self) -> None:
        """Start everything, keep it running until SIGTERM or SIGINT, end it; raises LabelLoopError when that fails."""
        with on_end_signal(self._ask_to_end):
            try:
                self.start()
                while not self._must_end():
                    self.tend()
                    time.sleep(_LOOK_SECONDS)
            finally:
                self.stop()

    def start(self) -> None:
        """Start the services in order, each when the one before it is ready.

        Raises ServiceError, and whatever LabelLoopError a service's own ``start`` raises this first time.
        """
        for running in self._running:
            self._launch(running)
            give_up, ready = time.monotonic() + running.service.ready_seconds, running.service.ready
            while not self._must_end() and ready is not None and not ready():
                if time.monotonic() > give_up:
                    raise ServiceError(
                        f"{running.service.name} was not ready within {running.service.ready_seconds:g} s; "
                        "its messages above say why"
                    )
                self.tend()
                time.sleep(_LOOK_SECONDS)
            if self._must_end():
                return
            _log.info("%s %s", running.service.name, "has started" if ready is None else "is ready")

    def tend(self) -> None:
        """Look at every started service once and restart what has ended; raises LabelLoopError on giving up."""
        for running in self._running:
            if running.process is not None and running.process.poll() is not None:
                self._bury(running, f"exit status {running.process.returncode}")
            elif running.process is None and running.deaths and time.monotonic() >= running.next_start:
                self._launch_again(running)

    def stop(self) -> None:
        """End the services in reverse order, each within its grace period, then by force."""
        for running in reversed(self._running):
            if running.process is not None:
                stop_child(running.process, running.service.grace_seconds)
                _log.info("%s has ended", running.service.name)
                running.process = None

    def _ask_to_end(self) -> None:
        """Hear a signal: the first asks for a calm end, one that comes later for one at once."""
        now = time.monotonic()
        if not self._asked_to_end:
            self._asked_to_end = now
        elif now - self._asked_to_end > _SAME_SIGNAL_SECONDS:
            for running in self._running:
                if running.process is not None and running.process.poll() is None:
                    os.killpg(running.process.pid, signal.SIGKILL)

    def _must_end(self) -> bool:
        return bool(self._asked_to_end) or self._is_over()

    def _launch(self, running: _Running) -> None:
        running.started = time.monotonic()
        running.process = running.service.start()

    def _launch_again(self, running: _Running) -> None:
        try:
            self._launch(running)
        except (LabelLoopError, OSError) as error:
            self._bury(running, str(error))

    def _bury(self, running: _Running, reason: str) -> None:
        name, now = running.service.name, time.monotonic()
        if now - running.started > self._calm_seconds:
            running.deaths.clear()
        running.deaths.append(reason)
        ended = running.process.returncode if running.process is not None else None
        running.process = None
        if ended == os.EX_CONFIG:
            raise SettingsError(f"{name} cannot work with these settings; its message above says why")
        if len(running.deaths) > self._restarts:
            raise ServiceError(
                f"{name} ended {len(running.deaths)} times in a row, last with: {reason}. Its messages above say why; "
                "everything else is ended too"
            )
        wait = self._backoff * 2 ** (len(running.deaths) - 1)
        running.next_start = now + wait
        _log.warning("%s ended (%s); it is started again in %g s", name, reason, wait)


def require_free(host: str, port: int, remedy: str) -> None:
    """Raise ServiceError with the remedy when something already listens at that port: that may pass."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServiceError(f"port {port} of {host} cannot be had ({error.strerror}): {remedy}") from error
