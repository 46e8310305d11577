"""Opening a deployer by its address."""

from functools import lru_cache

from labelloop.deployers.base import Deployer
from labelloop.deployers.command import CommandDeployer
from labelloop.errors import SettingsError
from labelloop.types import ProjectKey


def open_deployer(address: str, project: ProjectKey | None = None, seconds: float = 3600.0) -> Deployer:
    """Open ``command:./deploy.sh`` for a project, a deployment of which may take so many seconds; nothing is run.

    Raises SettingsError saying what is wrong and what is possible.
    """
    if address.startswith("command:"):
        return CommandDeployer(address, project, seconds)
    raise SettingsError(f"{address.partition(':')[0][:40]!r} is no kind of deployer. There is command")


@lru_cache(maxsize=64)
def check_deployer(address: str) -> None:
    """Raise SettingsError for an address that names no deployer."""
    open_deployer(address)
