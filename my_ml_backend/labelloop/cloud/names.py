"""What projects and their versions are called in a cloud."""

import hashlib
import json
import re
from dataclasses import dataclass

from labelloop.types import ProjectKey

NOBODY = ProjectKey("nobody", 0)
"""Stands for the project where only the endpoint is looked at."""

_LONGEST_NAME = 63
"""By botocore's shape EntityName, and of a Vertex AI model's id."""

_INSTANCE_LETTERS = 16
_MARK = 6
_DIGITS = 10


def group_of(prefix: str, project: ProjectKey) -> str:
    """Name what a registry holds a project's versions in: at most 63 letters, digits and hyphens, no two the same."""
    name = f"{prefix}-{project.instance}-{project.id}"
    clean = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    if clean == name and len(clean) <= _LONGEST_NAME:
        return clean
    mark = hashlib.sha256(str(project).encode()).hexdigest()[:8]
    return f"{clean[: _LONGEST_NAME - 9].rstrip('-')}-{mark}"


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


def is_mark(text: str) -> bool:
    """Whether a text is what ``Names.of`` writes behind a version."""
    return re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", text) is not None
