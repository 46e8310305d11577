"""What SageMaker and Vertex AI tell a training container, and where they want its results (cloud contracts)."""

from collections.abc import Mapping
from pathlib import Path

from labelloop.run.container.base import Container
from labelloop.run.container.sagemaker import sagemaker_container
from labelloop.run.container.vertex import vertex_container

__all__ = ["Container", "find_container"]

SAGEMAKER = "/opt/ml"
"""SageMaker's folder, unless SAGEMAKER_BASE_DIR names another one, as for its own toolkits."""

VERTEX_MOUNT = Path("/gcs")
"""Where Vertex AI mounts Cloud Storage: gs://bucket/object is the file /gcs/bucket/object."""


def find_container(environment: Mapping[str, str], mount: Path = VERTEX_MOUNT) -> Container | None:
    """Find out which cloud this is, None for none of them; raises SettingsError when what it says cannot be."""
    sagemaker = Path(environment.get("SAGEMAKER_BASE_DIR") or SAGEMAKER)
    if (sagemaker / "input" / "config").is_dir():
        return sagemaker_container(sagemaker)
    if environment.get("AIP_MODEL_DIR"):
        return vertex_container(environment, mount)
    return None
