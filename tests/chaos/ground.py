"""Where a machine keeps its data: two small file systems of its own, which can be full or read-only.

They are mounted in a mount namespace of this program (unshare(1)), so that they go with it however it ends.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_MODEL, _STORE = "768m", "512m"
_INSIDE = "LABELLOOP_TEST_CHAOS_NAMESPACE"
_CHUNK = bytes(1 << 20)
_TRIES = 50


def enter_namespace() -> None:
    """Begin this program anew in a mount namespace of its own, where this machine lets it have one."""
    if os.environ.get(_INSIDE) or sys.platform != "linux":
        return
    os.environ[_INSIDE] = "no"
    command = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        # The user that is root in there is this one outside.
        command += ["--user", "--map-root-user"]
    if (
        shutil.which("unshare")
        and subprocess.run(
            [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True
        ).returncode
        == 0
    ):
        os.environ[_INSIDE] = "yes"
        os.execvp(command[0], [*command, *sys.orig_argv])


def cannot_mount() -> str:
    """Say why no file system can be mounted here; empty where one can."""
    if os.environ.get(_INSIDE) == "yes":
        return ""
    return "no file system can be mounted here (unshare --mount needs root, or user namespaces)"


class Ground:
    """``model`` is for MODEL_DIR and the embedded Redis, ``store`` for the store."""

    def __init__(self, folder: Path) -> None:
        self.model, self.store = folder / "model", folder / "store"
        self._mounted = ExitStack()

    def __enter__(self) -> Self:
        for folder, size in ((self.model, _MODEL), (self.store, _STORE)):
            folder.mkdir()
            if not cannot_mount():
                _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder))
                self._mounted.callback(_run, "umount", "--lazy", str(folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mounted.close()

    def clear(self) -> None:
        """Remove all data."""
        for folder in (self.model, self.store):
            for entry in folder.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()

    @contextmanager
    def full(self, folder: Path) -> Iterator[None]:
        """Fill the file system of a folder to the last byte inside the block."""
        ballast = folder / ".ballast"
        try:
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(_CHUNK)
            yield
        finally:
            ballast.unlink()

    @contextmanager
    def read_only(self, folder: Path) -> Iterator[None]:
        """Let nothing be written to the file system of a folder inside the block."""
        for _ in range(_TRIES):
            # Busy while a file of it is open for writing.
            if _run("mount", "-o", "remount,ro", str(folder), check=False):
                break
            time.sleep(0.02)
        else:
            raise AssertionError(f"{folder} cannot be made read-only: it is written to all the time")
        try:
            yield
        finally:
            _run("mount", "-o", "remount,rw", str(folder))


def _run(*command: str, check: bool = True) -> bool:
    return subprocess.run(command, check=check, capture_output=True).returncode == 0
