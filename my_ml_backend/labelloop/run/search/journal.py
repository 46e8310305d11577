"""The search's memory: Optuna's journal, one line an event, read and written by all of its processes."""

import logging
from contextlib import ExitStack
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from labelloop.errors import StoreError
from labelloop.files import file_lock
from labelloop.run.search.folder import SearchFolder

_NAME = "search"
_STARTUP = 5
"""Trials that must have ended before any is cut short."""


class _KernelLock(JournalFileOpenLock):
    """A lock that goes with the process that holds it; a lock file would outlive a process that is killed."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path, self._held = path, ExitStack()

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._held.enter_context(file_lock(self._path))
        return True

    def release(self) -> None:
        """Let go."""
        self._held.close()


def mend(folder: SearchFolder) -> None:
    """Cut off a last line that a killed process has left half written; the next one would be spoilt by it."""
    try:
        content = folder.journal.read_bytes()
    except FileNotFoundError:
        return
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with folder.journal.open("r+b") as journal:
            journal.truncate(whole)


def open_study(folder: SearchFolder, warmup: int) -> optuna.Study:
    """Open the search's trials; after ``warmup`` epochs one is cut short that is below the median of those before it.

    Raises StoreError when the journal is damaged.
    """
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(logging.WARNING)
    lock = _KernelLock(folder.journal.with_suffix(".lock"))
    try:
        storage = JournalStorage(JournalFileBackend(str(folder.journal), lock_obj=lock))
        return optuna.create_study(
            study_name=_NAME,
            storage=storage,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=warmup),
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise StoreError(f"{folder.journal} is damaged ({error}): remove {folder.path} and search anew") from error
