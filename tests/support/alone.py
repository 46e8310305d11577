"""A stand-in that runs alone: ``python -m support.aws --port 5000 --folder DIR``, until it is ended.

Its first line on standard output is its address; the next ones are the variables by which programs find it, to be
``export``ed.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class _Found(Protocol):
    @property
    def url(self) -> str: ...

    @property
    def environment(self) -> Mapping[str, str]: ...


def run_alone(name: str, stand_in: Callable[[Path, int], AbstractContextManager[_Found]]) -> None:
    """Run it until SIGTERM or SIGINT; ``name`` is that of its module below ``support``."""
    reading = argparse.ArgumentParser(prog=f"python -m support.{name}", description=f"Run a stand-in of {name}.")
    reading.add_argument("--port", type=int, default=0, help="Port on 127.0.0.1; default: a free one.")
    reading.add_argument("--folder", type=Path, required=True, help="Where jobs, functions and models lie.")
    told = reading.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    with stand_in(told.folder, told.port) as found:
        sys.stdout.writelines([f"{found.url}\n", *(f"{name}={value}\n" for name, value in found.environment.items())])
        sys.stdout.flush()
        ending.wait()
