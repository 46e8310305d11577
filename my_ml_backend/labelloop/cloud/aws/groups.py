"""Model package groups: one for each project, made alike by the registry, the pipeline and the trainer."""

from urllib.parse import urlsplit

from labelloop.cloud.aws.account import Account, ensure
from labelloop.settings import Settings


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
