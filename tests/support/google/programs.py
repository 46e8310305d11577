"""Programs of Vertex AI's jobs, as child processes: a custom job's container, or what stands in for a pipeline.

``python`` is this Python; ``/gcs`` is a folder, whose content is that of the buckets (GCS_MOUNT_DIR names it).
"""

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen, TimeoutExpired

from labelloop.children import start_child, stop_group
from support.google.gcs import Objects
from support.google.mount import Mount
from support.google.wire import Refused
from support.programs import children_environment, this_python

GRACE = 2.0
"""Seconds that a program has to end by itself when its job is stopped."""

_LOOK_SECONDS = 0.1
"""How often what a program has written is taken to its buckets."""


@dataclass
class Program:
    """One attempt of a job's program after the other: a machine taken away is followed by another that holds nothing.

    ``folder`` holds ``log.txt``, and ``gcs`` and ``home`` of the attempt that is running.
    """

    folder: Path
    objects: Objects
    child: "Popen[bytes] | None" = None
    preempted: bool = False
    attempts: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], request: object, limit: float | None = None
    ) -> int:
        """Run it once, on a machine of its own; gives its exit status. Raises Refused when it takes too long."""
        self.attempts += 1
        home, mount = self.folder / "home", Mount(self.folder / "gcs", self.objects)
        for folder in (home, mount.folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        mount.bring(json.dumps(request))
        told = {name: mount.below(value) for name, value in environment.items()}
        with self.lock:
            self.preempted = False
            if self.stopping.is_set():
                return 1
            self.child = start_child(
                this_python([mount.below(word) for word in command]),
                log=self.log,
                environment={
                    **children_environment(),
                    "HOME": str(home),
                    **told,
                    "GCS_MOUNT_DIR": str(mount.folder),
                },
            )
        try:
            return self._wait(mount, limit)
        finally:
            mount.take()

    def _wait(self, mount: Mount, limit: float | None) -> int:
        """Wait for the end of the program, and take meanwhile what it writes."""
        assert self.child is not None
        waited = 0.0
        while True:
            try:
                return self.child.wait(_LOOK_SECONDS)
            except TimeoutExpired:
                waited += _LOOK_SECONDS
                mount.take()
            if limit is not None and waited > limit:
                stop_group(self.child, GRACE)
                raise Refused("DEADLINE_EXCEEDED", f"The job ran for longer than its timeout of {limit:.0f} s.")

    def preempt(self) -> None:
        """Take the machine away: the program is killed as it is."""
        with self.lock:
            self.preempted = True
            child = self.child
        if child is not None:
            stop_group(child, 0)

    def stop(self) -> None:
        """End the program for good; it may end by itself for a moment."""
        with self.lock:
            self.stopping.set()
            child = self.child
        if child is not None:
            stop_group(child, GRACE)


@dataclass
class Runs:
    """What programs are made from: their folders lie below ``folder``, ``environment`` is by what Google is found.

    ``commands`` are what images run where a job names no command (all others: our training image's),
    ``image_environment`` stands in the environment of every image.
    """

    folder: Path
    objects: Objects
    environment: Callable[[], Mapping[str, str]]
    commands: dict[str, Sequence[str]] = field(default_factory=dict)
    image_environment: dict[str, str] = field(default_factory=dict)
    _programs: list[Program] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def program(self, name: str) -> Program:
        """Make the program of a job."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Another test may have had a job of that name.
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        self._programs.append(Program(folder, self.objects))
        return self._programs[-1]

    def begin(self, work: Callable[[], None]) -> None:
        """Let something be done in a thread."""
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def forget(self) -> None:
        """Stop and forget everything."""
        for program in self._programs:
            program.stop()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._programs.clear()
        self.commands.clear()
        self.image_environment.clear()
