"""What a fault is handed: a machine on which a project is being labeled, and chance."""

import os
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
from redis import Redis

from chaos.machine import Machine, kill
from labelloop.types import ProjectKey

_WAIT_SECONDS = 60.0


@dataclass
class Scene:
    """``killed`` are processes that must be gone; ``did`` says what of several things the fault has done.

    ``faults`` does another one, by its name.
    """

    machine: Machine
    project: ProjectKey
    chance: random.Random
    faults: Mapping[str, Callable[["Scene"], None]]
    killed: list[psutil.Process] = field(default_factory=list)
    did: str = ""

    def kill(self, processes: list[psutil.Process]) -> None:
        """End processes by SIGKILL; what they have started has to go with them."""
        for process in processes:
            with suppress(psutil.Error):
                self.killed += [process, *process.children(recursive=True)]
        kill(processes)

    def one(self, name: str) -> psutil.Process:
        """Wait for a process of ours."""
        self.machine.until(lambda: bool(self.machine.running(name)), f"{name} runs", _WAIT_SECONDS)
        return self.chance.choice(self.machine.running(name))

    def job(self) -> tuple[psutil.Process, psutil.Process]:
        """Wait for a job, and give its process and its worker's."""
        found: list[tuple[psutil.Process, psutil.Process]] = []

        def is_at_work() -> bool:
            for worker in self.machine.running("worker"):
                found.extend((child, worker) for child in children(worker) if is_job(child))
            return bool(found)

        self.machine.until(is_at_work, "a job is at work", _WAIT_SECONDS)
        return found[0]

    @property
    def redis(self) -> Redis:
        """Redis, as LabelLoop itself asks it."""
        return self.machine.hub.redis


def children(worker: psutil.Process) -> list[psutil.Process]:
    """Give a worker's children: the process of its job, and whatever else it has forked."""
    with suppress(psutil.Error):
        return worker.children()
    return []


def is_job(child: psutil.Process) -> bool:
    """Whether a worker's child is that of its job, which RQ begins a process group with, as with no other."""
    with suppress(ProcessLookupError):
        return os.getpgid(child.pid) == child.pid
    return False
