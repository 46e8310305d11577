"""One process at a time in a run's folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from labelloop.errors import SettingsError, StoreError
from labelloop.run.folder import RunFolder


@contextmanager
def alone(folder: RunFolder) -> Iterator[None]:
    """Hold the folder, made where it is not there, against other processes; a process that dies gives it up.

    Raises SettingsError when another process has it, StoreError where there can be no such folder.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = (folder.path / ".lock").open("w")
    except OSError as error:
        raise StoreError(f"{folder.path} cannot be a run's folder: {error.strerror}. Take another one") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another process is at work in {folder.path}: wait for it, or take another folder"
            ) from None
        try:
            yield
        finally:
            # Closing is not enough: a child forked meanwhile holds the same open file, and with it the lock.
            fcntl.flock(lock, fcntl.LOCK_UN)
