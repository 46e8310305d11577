"""The product as it is and as it was: the same measuring script runs with either code, in processes of its own."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labelloop.files import cores

ROOT = Path(__file__).parents[2]
BEGAN = "0ee1cee"
"""The commit before test items were served at random."""


@contextmanager
def before() -> Iterator[Path | None]:
    """Unpack the code of that commit into a temporary folder; None where the clone does not hold it."""
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "before.tar"
        command = ["git", "-C", str(ROOT), "archive", "-o", str(archive), BEGAN, "my_ml_backend"]
        try:
            ended = subprocess.run(command, capture_output=True, check=False).returncode
        except FileNotFoundError:
            ended = 1
        if ended:
            yield None
            return
        with tarfile.open(archive) as held:
            held.extractall(folder, filter="data")
        yield Path(folder) / "my_ml_backend"


def measured(module: str, arguments: Sequence[str], code: Path | None = None) -> Any:
    """Run a module as ``printed`` does; give the JSON of its last line."""
    return json.loads(printed(module, arguments, code)[-1])


def printed(module: str, arguments: Sequence[str], code: Path | None = None) -> list[str]:
    """Run ``benchmarks.learning.MODULE`` with the product's code in ``code`` (None: as it is); give what it prints.

    Raises RuntimeError with the end of what it said where it fails.
    """
    paths = (str(code or ROOT / "my_ml_backend"), str(ROOT))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"benchmarks.learning.{module}", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{module} failed: {ended.stderr[-2000:]}")
    return ended.stdout.splitlines()


def in_parts(module: str, arguments: Sequence[str], count: int, code: Path | None = None, most: int = 25) -> list[Any]:
    """Run ``count`` trials, some at a time on every core, and give what all of them found.

    The module takes ``--first`` and ``--loops``, of which a process has ``most``, and prints a list.
    """
    part = min(most, -(-count // cores()))

    def some(first: int) -> list[Any]:
        number = min(part, count - first)
        found: list[Any] = measured(module, [*arguments, "--first", str(first), "--loops", str(number)], code)
        return found

    with ThreadPoolExecutor(cores()) as pool:
        return [one for found in pool.map(some, range(0, count, part)) for one in found]
