"""Real processes that do the same thing at the same moment."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.records import update
from labelloop.models.versions import Versions
from labelloop.types import ProjectKey

PROJECT = ProjectKey("localhost-8080", 7)

_CHILD = """
import json, sys
from support import contest
function = getattr(contest, sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(function(*sys.argv[2:])))
"""


def contest(function: Callable[..., Any], *arguments: str, processes: int = 4) -> list[Any]:
    """Call one of this module's functions in several processes, all let go together; gives their answers."""
    children = [_start(function.__name__, *arguments) for _ in range(processes)]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        answers = []
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        for child in children:
            out, _ = child.communicate(timeout=60)
            assert child.returncode == 0
            answers.append(json.loads(out))
        return answers
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _start(*arguments: str) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parents[1]), *sys.path]
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}{_CHILD}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def count_up(root: str, path: str, times: str) -> int:
    """Add one to a number in the store, many times."""
    store = FileStore(Path(root))
    for _ in range(int(times)):
        update(store, path, lambda content: str(int(content or b"0") + 1).encode())
    return int(times)


def claim(root: str, *runs: str) -> dict[str, str]:
    """Claim a version for each run."""
    versions = Versions(FileStore(Path(root)), PROJECT)
    return {run: versions.claim(run) for run in runs}


def take_fences(root: str, times: str) -> list[int]:
    """Take several fences."""
    pointer = ChampionPointer(FileStore(Path(root)), PROJECT)
    return [pointer.take_fence() for _ in range(int(times))]


def fetch(root: str, version: str, cache: str, times: str) -> list[str]:
    """Fetch the same bundle several times, each time whole."""
    versions = Versions(FileStore(Path(root)), PROJECT)
    return [str(versions.fetch_bundle(version, Path(cache))) for _ in range(int(times))]
