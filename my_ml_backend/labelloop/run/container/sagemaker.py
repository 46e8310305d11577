"""SageMaker's training container: everything lies below one folder."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from labelloop.errors import SettingsError
from labelloop.run.container.base import Container, one_instance

_CHANNELS = {
    "train_location": ("train", "training"),
    "validation_location": ("validation",),
    "test_location": ("test",),
}


def sagemaker_container(root: Path) -> Container:
    """Read what SageMaker tells below ``root``; raises SettingsError, which is SageMaker's failure file as well."""
    container = Container(
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
    one_instance(len(hosts) if isinstance(hosts, list) else 1)
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
