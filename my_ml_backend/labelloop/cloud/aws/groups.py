"""Model package groups: one for each project, named alike by the registry, the pipeline and the trainer."""

import hashlib
import re
from urllib.parse import urlsplit

from labelloop.cloud.aws.account import Account, ensure
from labelloop.settings import Settings
from labelloop.types import ProjectKey

_LONGEST_NAME = 63
"""By botocore's shape EntityName."""


def group_of(prefix: str, project: ProjectKey) -> str:
    """Name a project's model package group: letters, digits and hyphens, at most 63, no two projects the same."""
    name = f"{prefix}-{project.instance}-{project.id}"
    clean = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    if clean == name and len(clean) <= _LONGEST_NAME:
        return clean
    mark = hashlib.sha256(str(project).encode()).hexdigest()[:8]
    return f"{clean[: _LONGEST_NAME - 9].rstrip('-')}-{mark}"


def registry_prefix(settings: Settings) -> str:
    """Give the prefix of the groups in which the settings' registry mirrors versions; empty where there is none."""
    parts = urlsplit(settings.registry)
    return parts.netloc if parts.scheme == "sagemaker" else ""


def require_group(account: Account, group: str) -> None:
    """See to it that there is a group of this name: a pipeline registers, and makes none. Raises CloudError."""
    client = account.client("sagemaker")
    ensure(
        f"model package group {group}",
        lambda: client.describe_model_package_group(ModelPackageGroupName=group),
        lambda: client.create_model_package_group(
            ModelPackageGroupName=group,
            ModelPackageGroupDescription="Versions made by LabelLoop; the champion is Approved.",
        ),
    )
