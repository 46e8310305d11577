"""The process beside a worker that does what nobody waits for: challengers, features, cleanup.

Forked from the worker once everything is imported, it shares that memory, gives way to the worker, and ends with it.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

_NICENESS = 15
"""What answers annotators on the same machine, and a run, come first."""

_END_SECONDS = 17.0
"""What it has to end in order when it is asked to; a job of its own has a little less (loop/worker.py)."""

_PAUSE_SECONDS = 10.0
"""Between two beginnings: one that cannot live, for whatever reason, is to cost little."""


class Background:
    """The process that does ``work``, which comes back when SIGTERM asks for its end.

    To be used by one thread alone, the worker's main one: the kernel ends the process with the thread that forked it.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._process: multiprocessing.process.BaseProcess | None = None
        self._began = float("-inf")
        self._asked = False

    def tend(self) -> None:
        """Start the process where there is none, or none any more."""
        before = self._process
        if (before is not None and before.is_alive()) or time.monotonic() - self._began < _PAUSE_SECONDS:
            return
        if before is not None:
            _log.warning("the background process ended (exit code %s): it is started again", before.exitcode)
        self._began = time.monotonic()
        self._process = multiprocessing.get_context("fork").Process(target=self._run, name="background")
        self._process.start()

    def ask_to_end(self) -> None:
        """Have it end in order, without waiting for that."""
        if self._process is not None and not self._asked:
            self._asked = True
            self._process.terminate()

    def end(self) -> None:
        """Have it end, in order where it does so in time."""
        if self._process is None:
            return
        self.ask_to_end()
        self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _run(self) -> None:
        # Ctrl-C reaches the worker, which asks it to end; what the worker hears signals by is the worker's.
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.nice(_NICENESS)
        self._work()
