"""The interface of every deployer, and what it says of an endpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labelloop.types import ProjectKey


@dataclass(frozen=True, slots=True)
class Deployable:
    """A version as it is deployed: its bundle on this machine, and the name of its model where that lies elsewhere."""

    project: ProjectKey
    version: str
    bundle: Path
    model: str = ""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What an endpoint serves: which version, since when (UTC, ISO 8601); empty where that is none of ours.

    ``between`` are the versions that answer while one replaces the other; there are none of them otherwise. ``reason``
    says why the last deployment failed.
    """

    version: str = ""
    since: str = ""
    between: tuple[str, ...] = ()
    reason: str = ""


class Deployer(Protocol):
    """Brings versions to one endpoint. Every method raises DeployError, or an Outage where it may help to wait.

    ``name`` is short and holds no secret. One that ``tells`` can be asked for its ``state``; of another the loop goes
    by what the last deployment brought.
    """

    name: str
    tells: bool

    def check(self) -> str:
        """Say in words what serves, as far as it tells; raises DeployError where it could bring nothing."""

    def deploy(self, version: Deployable) -> Deployed:
        """Begin to bring a version to the endpoint, unless it is there or on its way, and say how that stands.

        One that ``tells`` may come back before the endpoint answers with it: ``state`` says when. A deployment that
        fails leaves what was there serving. May be repeated.
        """

    def state(self) -> Deployed:
        """Say what the endpoint serves."""

    def rollback(self, version: Deployable) -> Deployed:
        """Bring back a version that was there before: as ``deploy``, by a shorter way where there is one."""
