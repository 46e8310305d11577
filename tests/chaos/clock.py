"""A clock that jumps: libfaketime, which is put between LabelLoop's processes and the C library.

CLOCK_MONOTONIC goes on as it was, as it does where somebody sets the clock of a machine.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.machine import House, Machine

if TYPE_CHECKING:
    from chaos.scene import Scene

_JUMPS = (90.0, 3600.0, 2 * 86400.0, -90.0, -3600.0)
"""Seconds."""


@cache
def _library() -> Path | None:
    """Find a libfaketime that the registry's package ``libfaketime`` or Debian's ``faketime`` has installed.

    With one that this Python cannot sleep under (0.9.10, on Debian 12) nothing would start.
    """
    package = find_spec("libfaketime")
    found = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    if package is not None and package.origin is not None:
        found = [*Path(package.origin).parent.rglob("libfaketime.so.1"), *found]
    return next(filter(_serves, found), None)


def _serves(library: Path) -> bool:
    command = [sys.executable, "-c", "import time; time.sleep(0.01)"]
    environment = {**os.environ, "LD_PRELOAD": str(library), "DONT_FAKE_MONOTONIC": "1"}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def cannot() -> str:
    """Say why no clock can jump here; empty where one can."""
    return "" if _library() else "there is no libfaketime that Python can sleep under (pip install libfaketime)"


def _given(machine: Machine, _: ExitStack) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    machine.clock = machine.folder / "clock"
    _set(machine.clock, 0)
    return {}, {
        "LD_PRELOAD": str(_library()),
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        "FAKETIME_TIMESTAMP_FILE": str(machine.clock),
        "FAKETIME_CACHE_DURATION": "1",
        # File times are the kernel's, as they would be: a jump of its clock changes those of new files alone.
        "NO_FAKE_STAT": "1",
    }


HOUSE = House("clock", given=_given, fresh=True)


def jumps(scene: "Scene") -> None:
    """Set the clock of LabelLoop's processes to another time, and leave it so."""
    seconds = scene.chance.choice(_JUMPS)
    scene.did = f"by {seconds:+g} s"
    _set(scene.machine.clock, seconds)


def _set(file: Path, seconds: float) -> None:
    aside = file.with_suffix(".new")
    aside.write_text(f"{seconds:+f}\n")
    aside.rename(file)
