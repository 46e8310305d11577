"""The processes beside a worker that do what nobody waits for: one trains challengers, one does all else.

Forked from the worker once everything is imported, they share that memory, give way to the worker, and end with it.
What is made of files of one machine, such as reports, has a queue there (``machine_of``).
"""

import logging
import math
import multiprocessing
import os
import re
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from labelloop.children import on_end_signal
from labelloop.files import file_lock, whole_file

_log = logging.getLogger(__name__)

_NICENESS = 15
"""What answers annotators on the same machine, and a run, come first."""

_END_SECONDS = 17.0
"""What each has to end in order from when it is asked to; a job of its own has a little less (loop/worker.py)."""

_PAUSE_SECONDS = 10.0
"""Between two beginnings: one that cannot live, for whatever reason, is to cost little."""


class Background:
    """The process ``name`` that does ``work``, which comes back when SIGTERM asks for its end.

    To be used by one thread alone, the worker's main one: the kernel ends the process with the thread that forked it.
    """

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self._name, self._work = name, work
        self._process: multiprocessing.process.BaseProcess | None = None
        self._began = float("-inf")
        self._late = math.inf

    def tend(self) -> None:
        """Start the process where there is none, or none any more."""
        before = self._process
        if (before is not None and before.is_alive()) or time.monotonic() - self._began < _PAUSE_SECONDS:
            return
        if before is not None:
            _log.warning("the %s process ended (exit code %s): it is started again", self._name, before.exitcode)
        self._began = time.monotonic()
        self._process = multiprocessing.get_context("fork").Process(target=self._run, name=self._name)
        heard = False

        def hear() -> None:
            nonlocal heard
            heard = True

        # What a handler raises in the middle of a fork is lost, and the lock of logging with it.
        with on_end_signal(hear):
            self._process.start()
        if heard:
            signal.raise_signal(signal.SIGTERM)

    def ask_to_end(self) -> None:
        """Have it end in order, without waiting for that."""
        if self._process is not None and self._late == math.inf:
            self._late = time.monotonic() + _END_SECONDS
            self._process.terminate()

    def end(self) -> None:
        """Have it end, in order where it does so in time."""
        if self._process is None:
            return
        self.ask_to_end()
        self._process.join(max(0.0, self._late - time.monotonic()))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _run(self) -> None:
        # Ctrl-C reaches the worker, which asks it to end; what the worker hears signals by is the worker's.
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.nice(_NICENESS)
        self._work()


def machine_of(directory: Path) -> str:
    """Name this machine, or those that share a MODEL_DIR (``directory``), by an id that is kept there with its runs."""
    path = directory / "runs" / "machine"
    if (known := _id_in(path)) is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of several workers that start at a time, the first one's stands.
        with file_lock(path.with_name(".machine.lock")):
            if (known := _id_in(path)) is None:
                known = uuid.uuid4().hex[:16]
                with whole_file(path) as aside:
                    aside.write_text(known)
    return known


def _id_in(path: Path) -> str | None:
    """Read an id; None where there is none, or something else: it names a queue."""
    try:
        found = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, ValueError):
        return None
    return found if re.fullmatch("[0-9a-f]{16}", found) else None
