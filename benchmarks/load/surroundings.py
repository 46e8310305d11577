"""What the measurements need beside LabelLoop's web process: an endpoint, a training, and hold of its processes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from benchmarks.web_process import address, free_port, wait_for
from labelloop.children import start_child, stop_child
from labelloop.front.standby import NAME
from labelloop.settings import Settings

ENDPOINT_SECONDS = 0.5
"""What the endpoint takes for an answer; it gives 32 at a time."""

TEXT_CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)
PREDICTED = 900
"""The project whose predictions the endpoint makes; those of all others are constants."""


@contextmanager
def program(module: str, *arguments: str, path: str = "/health") -> Iterator[str]:
    """Run a server of ours, ``python -m MODULE PORT ...``; yields its address when it answers."""
    port = free_port()
    command = [sys.executable, "-m", module, str(port), *arguments]
    child = start_child(command, environment=dict(os.environ))
    try:
        wait_for(f"http://127.0.0.1:{port}{path}", child)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop_child(child, 5)


@contextmanager
def training(folder: Path) -> Iterator[None]:
    """Train beside the block, over and over, at the niceness of a worker's runs."""
    command = [sys.executable, "-m", "benchmarks.endless_training", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            if child.stdout.readline().strip() != b"training":
                raise RuntimeError("the training did not begin; its messages are above")
            yield
        finally:
            child.kill()


def name_endpoint(settings: Settings, endpoint: str) -> None:
    """Have ``PREDICTED`` be predicted by the endpoint, as Label Studio tells a project's ``extra_params``."""
    body = {"project": f"{PREDICTED}.1", "schema": TEXT_CONFIG, "extra_params": {"endpoint": f"{endpoint}/model"}}
    requests.post(f"{address(settings)}/setup", json=body, timeout=10).raise_for_status()


@dataclass(frozen=True)
class WebFamily:
    """The processes of one web process: gunicorn, its worker, and the one that stands by."""

    gunicorn: psutil.Process
    standby: psutil.Process

    @classmethod
    def of(cls, settings: Settings) -> "WebFamily":
        """Find those of this process's child at that port, when all of them are there."""
        bound = f"127.0.0.1:{settings.port}"
        [gunicorn] = [one for one in psutil.Process().children() if bound in one.cmdline()]
        give_up = time.monotonic() + 60
        while NAME not in (one.name() for one in gunicorn.children()):
            if time.monotonic() > give_up:
                raise RuntimeError("nobody stands by")
            time.sleep(0.05)
        [standby] = [one for one in gunicorn.children() if one.name() == NAME]
        return cls(gunicorn, standby)

    @property
    def megabytes(self) -> float:
        """Memory of all of them; what they share counts once."""
        return sum(one.memory_full_info().pss for one in [self.gunicorn, *self.gunicorn.children()]) / 1e6

    @contextmanager
    def frozen(self, *, whole: bool = False) -> Iterator[None]:
        """Stop the workers, or the ``whole`` family, for the time of the block."""
        stopped = self.gunicorn.children()
        stopped = [self.gunicorn, *stopped] if whole else [one for one in stopped if one != self.standby]
        for one in stopped:
            one.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for one in stopped:
                if one.is_running():
                    one.send_signal(signal.SIGCONT)


async def most_memory(family: WebFamily, every: float = 2.0) -> float:
    """Look until this is cancelled; gives the most megabytes that were seen."""
    most = 0.0
    try:
        while True:
            most = max(most, await asyncio.to_thread(lambda: family.megabytes))
            await asyncio.sleep(every)
    except asyncio.CancelledError:
        return most
