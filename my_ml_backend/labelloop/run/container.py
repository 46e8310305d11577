"""What SageMaker and Vertex AI tell a training container, and where they want its results."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from labelloop.cloud.places import FAILURE, LEFT_FILES, LEFT_FOLDERS, PICTURES, PROGRESS, RUN, TOLD
from labelloop.errors import SettingsError
from labelloop.run.folder import RunFolder

_log = logging.getLogger(__name__)

_FAILURE_CHARACTERS = 1024
"""Of the failure file SageMaker shows this much."""

SAGEMAKER = "/opt/ml"
"""SageMaker's folder, unless SAGEMAKER_BASE_DIR names another one, as for its own toolkits."""

VERTEX_MOUNT = "/gcs"
"""Where Vertex AI mounts Cloud Storage, unless GCS_MOUNT_DIR names another folder: gs://bucket/object is the file
/gcs/bucket/object."""


@dataclass(frozen=True, slots=True)
class Container:
    """A cloud's training container: the parameters it was given, and the folders that outlive it (None: it has none).

    ``checkpoints`` and ``events`` replace those of the run's folder, ``model`` takes the bundle, ``results`` report and
    metrics, ``failure`` the reason when it ends badly. ``work`` is the roomiest place for what may be lost: the run's
    folder and the caches. ``run`` is the folder of a run that was fetched and preprocessed elsewhere, of which only the
    train stage is made here, from the pictures in ``shards``. ``whole`` takes what a loop wants of a run that it has
    handed over; ``told`` is where how far it is can be read meanwhile. ``mount`` is where buckets are folders.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    work: Path | None = None
    model: Path | None = None
    checkpoints: Path | None = None
    events: Path | None = None
    results: Path | None = None
    failure: Path | None = None
    run: Path | None = None
    shards: Path | None = None
    whole: Path | None = None
    told: Path | None = None
    mount: Path | None = None

    def check(self) -> None:
        """Make the folders that outlive the container; raises SettingsError for one that it may not write to."""
        require_writable(self.work, self.model, self.checkpoints, self.events, self.results)

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

    def leave(self, folder: RunFolder) -> None:
        """Copy what a loop takes of a run that it has handed over, the record last; raises SettingsError, OSError."""
        if self.whole is None:
            raise SettingsError("this job was not begun by a loop: there is no folder for the whole of its run")
        for name in LEFT_FOLDERS:
            if (folder.path / name).is_dir():
                shutil.copytree(
                    folder.path / name, self.whole / name, dirs_exist_ok=True, copy_function=shutil.copyfile
                )
        for name in LEFT_FILES:
            if (folder.path / name).is_file():
                shutil.copyfile(folder.path / name, self.whole / name)

    def fail(self, reason: str) -> None:
        """Say why the training failed where the cloud shows it."""
        if self.failure is None:
            return
        try:
            self.failure.parent.mkdir(parents=True, exist_ok=True)
            self.failure.write_text(reason[:_FAILURE_CHARACTERS], errors="backslashreplace")
        except OSError as error:
            _log.error("%s cannot be written: %s", self.failure, error.strerror or error)


def find_container(environment: Mapping[str, str]) -> Container | None:
    """Find out which cloud this is, None for none of them; raises SettingsError when what it says cannot be."""
    root = Path(environment.get("SAGEMAKER_BASE_DIR") or SAGEMAKER)
    if (root / "input" / "config").is_dir():
        return _sagemaker(root)
    if environment.get("AIP_MODEL_DIR"):
        return _vertex(environment, Path(environment.get("GCS_MOUNT_DIR") or VERTEX_MOUNT))
    return None


def require_writable(*folders: Path | None) -> None:
    """Make folders; raises SettingsError for the first that this user may not write to."""
    for folder in folders:
        if folder is not None and not _writable(folder):
            raise SettingsError(
                f"user {os.getuid()} of this container may not write to {folder}: "
                "build the image for the user that the cloud wants, --build-arg RUN_AS=0:0 (docs/docker.md)"
            )


def _one_instance(count: int) -> None:
    """Refuse a job of several instances: raises SettingsError."""
    if count > 1:
        raise SettingsError(f"the job has {count} instances; LabelLoop trains on all GPUs of one: set it to 1")


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


# SageMaker: everything lies below one folder.
_CHANNELS = {
    "train_location": ("train", "training"),
    "validation_location": ("validation",),
    "test_location": ("test",),
}


def _sagemaker(root: Path) -> Container:
    """Read what SageMaker tells below ``root``; raises SettingsError, which is SageMaker's failure file as well."""
    channels = {name: root / "input" / "data" / name for name in (RUN, PICTURES)}
    container = Container(
        run=channels[RUN] if channels[RUN].is_dir() else None,
        shards=channels[PICTURES],
        work=root / "output" / "work",
        model=root / "model",
        checkpoints=root / "checkpoints",
        events=root / "output" / "tensorboard",
        results=root / "output" / "data",
        failure=root / "output" / "failure",
    )
    try:
        return replace(container, parameters={**_channels(root), **_hyperparameters(root)})
    except SettingsError as error:
        container.fail(str(error))
        raise


def _hyperparameters(root: Path) -> dict[str, str]:
    config = root / "input" / "config"
    hosts = _read(config / "resourceconfig.json").get("hosts", [])
    _one_instance(len(hosts) if isinstance(hosts, list) else 1)
    return {
        name.replace("-", "_"): str(value)
        for name, value in _read(config / "hyperparameters.json").items()
        if not name.startswith(("sagemaker_", "_tuning_objective_metric"))
    }


def _channels(root: Path) -> dict[str, str]:
    data = root / "input" / "data"
    return {
        name: str(_listed(data / folder))
        for name, folders in _CHANNELS.items()
        for folder in reversed(folders)
        if (data / folder).is_dir()
    }


def _listed(channel: Path) -> Path:
    """Give what a channel holds: a manifest where that is all there is, else the folder, with a folder per class."""
    inside = list(channel.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_file() else channel


def _read(path: Path) -> Mapping[str, object]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} is no JSON object")
    return found


# Vertex AI: variables name its places, gs:// is mounted.
_DATA = {
    "train_location": "AIP_TRAINING_DATA_URI",
    "validation_location": "AIP_VALIDATION_DATA_URI",
    "test_location": "AIP_TEST_DATA_URI",
}


def _vertex(environment: Mapping[str, str], mount: Path) -> Container:
    """Read Vertex AI's variables; raises SettingsError for a place that there is not, or several instances."""

    def place(name: str) -> Path | None:
        return mounted(name, environment[name], mount) if environment.get(name) else None

    _alone_in(environment)
    data = {name: str(place(variable)) for name, variable in _DATA.items() if environment.get(variable)}
    model = mounted("AIP_MODEL_DIR", environment["AIP_MODEL_DIR"], mount)
    return Container(
        parameters=data,
        model=model,
        checkpoints=place("AIP_CHECKPOINT_DIR"),
        events=place("AIP_TENSORBOARD_LOG_DIR"),
        results=model.parent / "results",
        failure=model.parent / TOLD / FAILURE,
        whole=model.parent / RUN,
        told=model.parent / TOLD / PROGRESS,
        mount=mount,
    )


def _alone_in(environment: Mapping[str, str]) -> None:
    try:
        pools = json.loads(environment.get("CLUSTER_SPEC") or "{}").get("cluster", {}).values()
        _one_instance(sum(len(pool) for pool in pools))
    except (ValueError, AttributeError, TypeError) as error:
        raise SettingsError(f"CLUSTER_SPEC is not as Vertex AI writes it: {error}") from error


def mounted(name: str, address: str, mount: Path) -> Path:
    """Give the file or folder that an address (``gs://bucket/object``, or a path) is there, as ``name`` says it.

    Raises SettingsError.
    """
    if not address.startswith("gs://"):
        return Path(address)
    inside = Path(os.path.normpath(mount / address.removeprefix("gs://")))
    if not inside.is_relative_to(mount):
        raise SettingsError(f"{name}: {address} leads out of its bucket")
    if not mount.is_dir():
        raise SettingsError(f"{name} is {address}, and {mount}, where Vertex AI mounts Cloud Storage, is not there")
    return inside
