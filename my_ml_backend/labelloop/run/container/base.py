"""A cloud's training container: the parameters it was given, and where its results go (cloud contracts)."""

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labelloop.errors import SettingsError
from labelloop.run.folder import RunFolder

_log = logging.getLogger(__name__)

_FAILURE_CHARACTERS = 1024
"""Of the failure file SageMaker shows this much."""


@dataclass(frozen=True, slots=True)
class Container:
    """A cloud's training container: the parameters it was given, and the folders that outlive it (None: it has none).

    ``checkpoints`` and ``events`` replace those of the run's folder, ``model`` takes the bundle, ``results`` report and
    metrics, ``failure`` the reason when it ends badly. ``work`` is the roomiest place for what may be lost: the run's
    folder and the caches.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    work: Path | None = None
    model: Path | None = None
    checkpoints: Path | None = None
    events: Path | None = None
    results: Path | None = None
    failure: Path | None = None

    def check(self) -> None:
        """Make the folders that outlive the container; raises SettingsError for one that it may not write to."""
        for folder in (self.work, self.model, self.checkpoints, self.events, self.results):
            if folder is not None and not _writable(folder):
                raise SettingsError(
                    f"user {os.getuid()} of this container may not write to {folder}: "
                    "build the image for the user that the cloud wants, --build-arg RUN_AS=0:0 (docs/docker.md)"
                )

    def deliver(self, folder: RunFolder) -> None:
        """Copy the run's results to where the cloud picks them up."""
        if self.model is not None:
            self.model.mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.bundle.iterdir()):
                shutil.copyfile(file, self.model / file.name)
        if self.results is not None:
            self.results.mkdir(parents=True, exist_ok=True)
            for file in (folder.record, folder.metrics, folder.report, folder.trained, folder.data):
                if file.is_file():
                    shutil.copyfile(file, self.results / file.name)

    def fail(self, reason: str) -> None:
        """Say why the training failed where the cloud shows it."""
        if self.failure is None:
            return
        try:
            self.failure.parent.mkdir(parents=True, exist_ok=True)
            self.failure.write_text(reason[:_FAILURE_CHARACTERS], errors="backslashreplace")
        except OSError as error:
            _log.error("%s cannot be written: %s", self.failure, error.strerror or error)


def one_instance(count: int) -> None:
    """Refuse a job of several instances: raises SettingsError."""
    if count > 1:
        raise SettingsError(f"the job has {count} instances; LabelLoop trains on all GPUs of one: set it to 1")


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
