"""Vertex AI's training container: variables name its places, gs:// is mounted."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from labelloop.errors import SettingsError
from labelloop.run.container.base import Container, one_instance

_DATA = {
    "train_location": "AIP_TRAINING_DATA_URI",
    "validation_location": "AIP_VALIDATION_DATA_URI",
    "test_location": "AIP_TEST_DATA_URI",
}


def vertex_container(environment: Mapping[str, str], mount: Path) -> Container:
    """Read Vertex AI's variables; raises SettingsError for a place that there is not, or several instances."""

    def place(name: str) -> Path | None:
        return _mounted(name, environment[name], mount) if environment.get(name) else None

    _alone_in(environment)
    data = {name: str(place(variable)) for name, variable in _DATA.items() if environment.get(variable)}
    model = place("AIP_MODEL_DIR")
    return Container(
        parameters=data,
        model=model,
        checkpoints=place("AIP_CHECKPOINT_DIR"),
        events=place("AIP_TENSORBOARD_LOG_DIR"),
        results=None if model is None else model.parent / "results",
    )


def _alone_in(environment: Mapping[str, str]) -> None:
    try:
        pools = json.loads(environment.get("CLUSTER_SPEC") or "{}").get("cluster", {}).values()
        one_instance(sum(len(pool) for pool in pools))
    except (ValueError, AttributeError, TypeError) as error:
        raise SettingsError(f"CLUSTER_SPEC is not as Vertex AI writes it: {error}") from error


def _mounted(name: str, address: str, mount: Path) -> Path:
    if not address.startswith("gs://"):
        return Path(address)
    inside = Path(os.path.normpath(mount / address.removeprefix("gs://")))
    if not inside.is_relative_to(mount):
        raise SettingsError(f"{name}: {address} leads out of its bucket")
    if not mount.is_dir():
        raise SettingsError(f"{name} is {address}, and {mount}, where Vertex AI mounts Cloud Storage, is not there")
    return inside
