"""Empty databases for Label Studio, kept on this machine: migrating one takes 25 s of the 28 s of a first start."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from labelloop.children import start_child, stop_child
from labelloop.errors import ServiceError

DATABASE = "label_studio.sqlite3"
"""The name Label Studio gives its SQLite file."""

_GRACE_SECONDS = 5.0


def put_database(
    command: Path, directory: Path, cache: Path, environment: Mapping[str, str], log: Path, seconds: float
) -> None:
    """Put an empty, migrated database into ``directory`` unless one is there, from ``cache`` or made for it.

    Where the cache cannot be written nothing is done: Label Studio makes its own then. Raises ServiceError.
    """
    target = directory / DATABASE
    if target.exists():
        return
    executable = command.resolve()
    identity = f"{executable} {executable.stat().st_mtime_ns}"
    migrated = cache / f"label-studio-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.sqlite3"
    try:
        if not migrated.exists():
            cache.mkdir(parents=True, exist_ok=True)
            _migrate(command, migrated, environment, log, seconds)
        shutil.copyfile(migrated, target)
    except OSError:
        target.unlink(missing_ok=True)


def _migrate(command: Path, migrated: Path, environment: Mapping[str, str], log: Path, seconds: float) -> None:
    """Have Label Studio migrate an empty database: in memory where there is some, because SQLite syncs every step."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        own = {"HOME": name, "LABEL_STUDIO_BASE_DATA_DIR": name}
        # Printing the version is the least that Label Studio does after migrating.
        child = start_child([str(command), "version"], log=log, environment={**environment, **own})
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            status = 1
        finally:
            stop_child(child, _GRACE_SECONDS)
        if status != 0:
            raise ServiceError(f"Label Studio could not make its database within {seconds:g} s; see {log}.")
        made = Path(name) / DATABASE
        with closing(sqlite3.connect(made)) as database:
            # Remembered in the file. Uploads are three times as fast, and readers do not wait for the writer.
            database.execute("PRAGMA journal_mode=wal")
        part = migrated.with_suffix(f".{os.getpid()}.part")
        shutil.copyfile(made, part)
        part.replace(migrated)
