"""What the deployers on AWS share: alarms, and what has to be set before a version can go there."""

from labelloop.cloud.aws.objects import location_of
from labelloop.errors import DeployError, SettingsError
from labelloop.settings import Settings


def alarms_of(given: dict[str, str]) -> tuple[str, ...]:
    """Name the alarms among the options of an address."""
    return tuple(filter(None, given.get("alarms", "").split(",")))


def require_aws(name: str, settings: Settings, role: str) -> None:
    """Raise DeployError where a setting is missing without which nothing can be deployed."""
    needed = {"LABELLOOP_AWS_ROLE": role, "LABELLOOP_AWS_INFERENCE_IMAGE": settings.aws_inference_image}
    if missing := next((setting for setting, value in needed.items() if not value), ""):
        raise DeployError(f"{name} needs {missing}: set it where workers run (docs/aws.md)")
    try:
        location_of(settings)
    except SettingsError as error:
        raise DeployError(f"{name}: {error}") from None
