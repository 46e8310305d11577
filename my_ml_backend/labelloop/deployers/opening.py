"""Opening a deployer by its address."""

from functools import lru_cache
from pathlib import Path

from labelloop.cloud.base import Batch
from labelloop.deployers.base import Batching, Deployer, EndpointTest
from labelloop.deployers.command import CommandDeployer
from labelloop.errors import DeployError, SettingsError
from labelloop.settings import Settings
from labelloop.types import ProjectKey


def untested(address: str, bundle: Path) -> str:  # noqa: ARG001
    """Stand for the test of an endpoint where nothing is to be deployed; raises DeployError."""
    raise DeployError(
        f"nothing is here that could test {address}: deploy by the loop, or `labelloop aws | google deploy`"
    )


def open_deployer(
    address: str, project: ProjectKey | None = None, settings: Settings | None = None, test: EndpointTest = untested
) -> Deployer:
    """Open ``command:./deploy.sh``, ``sagemaker://ENDPOINT``, ``lambda://FUNCTION`` or ``vertex://P/L/ENDPOINT``.

    Nothing is run. ``test`` is asked before traffic moves, where a deployer has that in its hands. Raises SettingsError
    saying what is wrong and what is possible.
    """
    settings = settings or Settings()
    kind = address.partition(":")[0]
    if kind == "command":
        return CommandDeployer(address, project, settings.deploy_seconds)
    # Imported when asked for: a worker without a cloud needs none of it.
    if kind == "sagemaker":
        from labelloop.deployers.sagemaker import SageMakerDeployer
        from labelloop.deployers.sagemaker_address import SageMakerTarget

        return SageMakerDeployer(SageMakerTarget.parse(address), settings, project, test)
    if kind == "lambda":
        from labelloop.deployers.function import FunctionDeployer, FunctionTarget

        return FunctionDeployer(FunctionTarget.parse(address), settings, project, test)
    if kind == "vertex":
        from labelloop.deployers.vertex import VertexDeployer
        from labelloop.deployers.vertex_address import VertexTarget

        return VertexDeployer(VertexTarget.parse(address), settings, project, test)
    raise SettingsError(f"{kind[:40]!r} is no kind of deployer. There are command, sagemaker, lambda and vertex")


def open_batch(address: str, project: ProjectKey, settings: Settings) -> Batch | None:
    """Open what predicts in bulk with the versions that a deployer brings; None where its kind has no such thing.

    Nothing is asked. Raises SettingsError as ``open_deployer``.
    """
    deployer = open_deployer(address, project, settings)
    return deployer.batch() if isinstance(deployer, Batching) else None


def has_batch(address: str) -> bool:
    """Whether batch jobs can predict with what a deployer brings."""
    return address.partition(":")[0] in ("sagemaker", "vertex")


@lru_cache(maxsize=64)
def check_deployer(address: str) -> None:
    """Raise SettingsError for an address that names no deployer."""
    open_deployer(address)
