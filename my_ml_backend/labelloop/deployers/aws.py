"""What the deployers on AWS share: what a version is called there, and what has to be so before it can go there."""

import hashlib
import json
import re
from dataclasses import dataclass

from labelloop.bundle_info import ForeignInfo
from labelloop.cloud.aws.objects import location_of
from labelloop.deployers.base import Deployable
from labelloop.errors import DeployError, SettingsError
from labelloop.models.bundle import DESCRIPTION, read_bundle_info
from labelloop.settings import Settings
from labelloop.types import ProjectKey

NOBODY = ProjectKey("nobody", 0)
"""Stands for the project where only the endpoint is looked at."""

KEPT = 3
"""Versions of a project that stay in a cloud, what serves among them, for a way back: the newest ones."""

_INSTANCE_LETTERS = 16
_MARK = 6
_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one project: letters, digits and hyphens, at most 63 of them as long as its number has 10 digits."""

    project: ProjectKey

    @property
    def stem(self) -> str:
        """What all of them begin with: ``labelloop-1795187630-7-``; no two projects have the same."""
        instance = re.sub("[^a-zA-Z0-9]+", "-", self.project.instance).strip("-")
        if instance != self.project.instance or len(instance) > _INSTANCE_LETTERS:
            mark = hashlib.sha256(self.project.instance.encode()).hexdigest()[:_MARK]
            instance = f"{instance[: _INSTANCE_LETTERS - _MARK - 1].strip('-')}-{mark}"
        return f"labelloop-{instance}-{self.project.id}-"

    def of(self, version: str, *facts: object) -> str:
        """Name a version as it is deployed: the same ``facts`` (as JSON writes them) give the same name."""
        told = json.dumps([str(self.project), version, *facts], sort_keys=True)
        return f"{self.stem}{version}-{hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]}"

    def version(self, name: str) -> str:
        """Read the version back; empty for a name that is none of this project's."""
        version, _, mark = name.removeprefix(self.stem).partition("-")
        ours = name.startswith(self.stem) and re.fullmatch(r"v\d+", version) and is_mark(mark)
        return version if ours else ""


def whole_numbers(address: str, given: dict[str, str], limits: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Read those options of an address that are numbers; raises SettingsError for one that is not within its limits."""
    for name, (least, most) in limits.items():
        if name in given and not (given[name].isdecimal() and least <= int(given[name]) <= most):
            raise SettingsError(f"{address}: {name} is a whole number from {least} to {most}")
    return {name: int(given[name]) for name in limits if name in given}


def alarms_of(given: dict[str, str]) -> tuple[str, ...]:
    """Name the alarms among the options of an address."""
    return tuple(filter(None, given.get("alarms", "").split(",")))


def is_mark(text: str) -> bool:
    """Whether a text is what ``Names.of`` writes behind a version."""
    return re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", text) is not None


def bundle_hash(version: Deployable) -> str:
    """Hash a bundle's description, which holds the hashes of its other files: sha256, hex."""
    return hashlib.sha256((version.bundle / DESCRIPTION).read_bytes()).hexdigest()


def require_aws(name: str, settings: Settings, role: str) -> None:
    """Raise DeployError where a setting is missing without which nothing can be deployed."""
    needed = {"LABELLOOP_AWS_ROLE": role, "LABELLOOP_AWS_INFERENCE_IMAGE": settings.aws_inference_image}
    if missing := next((setting for setting, value in needed.items() if not value), ""):
        raise DeployError(f"{name} needs {missing}: set it where workers run (docs/aws.md)")
    try:
        location_of(settings)
    except SettingsError as error:
        raise DeployError(f"{name}: {error}") from None


def require_network(name: str, version: Deployable) -> None:
    """Raise DeployError for a version that our inference image could not serve."""
    if isinstance(read_bundle_info(version.bundle), ForeignInfo):
        raise DeployError(
            f"{version.version} has no network that {name} could serve: its model lies elsewhere, as {version.model}, "
            "and needs a deployer that knows it (command:./deploy.sh)"
        )
