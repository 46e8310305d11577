"""The interface of every deployer, and what it says of an endpoint."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from labelloop.bundle_info import EndpointHeadInfo, ForeignInfo
from labelloop.cloud.base import Batch
from labelloop.errors import CloudError, DeployError, Outage
from labelloop.models.bundle import DESCRIPTION, read_bundle_info
from labelloop.types import ProjectKey

KEPT = 3
"""Versions of a project that stay in a cloud, what serves among them, for a way back: the newest ones."""


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
    says why the last deployment failed. Where they answer ``for_good``, it will not come to an end by itself. An
    endpoint that is ``absent`` answers nobody: the first deployment makes it.
    """

    version: str = ""
    since: str = ""
    between: tuple[str, ...] = ()
    reason: str = ""
    for_good: bool = False
    absent: bool = False


EndpointTest = Callable[[str, Path], str]
"""Tests the endpoint at an address against a bundle, and says what is wrong; empty where nothing is."""


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

    def go_on(self, version: Deployable) -> Deployed:
        """Take a deployment that was begun as far as it goes now, and say how it stands.

        Where neither the version serves nor anything is ``between``, it has failed. May be repeated.
        """

    def state(self) -> Deployed:
        """Say what the endpoint serves; nothing is changed."""

    def rollback(self, version: Deployable) -> Deployed:
        """Bring back a version that was there before: as ``deploy``, by a shorter way where there is one."""


@runtime_checkable
class Batching(Protocol):
    """A deployer whose models answer batch jobs, too."""

    def batch(self) -> Batch:
        """Give what predicts in bulk with the model of the version that serves; nothing is asked."""


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a cloud refuses inside the block into a DeployError; what may pass stays an Outage."""
    try:
        yield
    except Outage:
        raise
    except CloudError as error:
        raise DeployError(str(error)) from error


def bundle_hash(version: Deployable) -> str:
    """Hash a bundle's description, which holds the hashes of its other files: sha256, hex."""
    return hashlib.sha256((version.bundle / DESCRIPTION).read_bytes()).hexdigest()


def require_network(name: str, version: Deployable) -> None:
    """Raise DeployError for a version that our inference image could not serve."""
    info = read_bundle_info(version.bundle)
    if isinstance(info, EndpointHeadInfo):
        raise DeployError(f"{version.version} is a head on an endpoint's features, and answers beside that alone")
    if isinstance(info, ForeignInfo):
        raise DeployError(
            f"{version.version} has no network that {name} could serve: its model lies elsewhere, as {version.model}, "
            "and needs a deployer that knows it (command:./deploy.sh)"
        )
