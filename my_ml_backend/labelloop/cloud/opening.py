"""Opening what the loop asks of a cloud, by its address."""

import re
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from labelloop.cloud.base import Inbox, Meter, Registry
from labelloop.errors import SettingsError
from labelloop.settings import Settings


def open_registry(address: str, settings: Settings) -> Registry:
    """Open ``sagemaker://PREFIX?region=R`` or ``vertex://PROJECT/LOCATION``; nothing is asked of it.

    Raises SettingsError saying what is wrong and what is possible.
    """
    known = () if address.startswith("vertex:") else ("region",)
    kind, name, options = _parts("LABELLOOP_REGISTRY", address, known)
    if kind not in _REGISTRIES:
        raise SettingsError(f"LABELLOOP_REGISTRY: {kind[:40]!r} is no kind of registry. There are sagemaker and vertex")
    return _REGISTRIES[kind](settings, name, options)


def open_inbox(address: str) -> Inbox:
    """Open ``sqs://QUEUE?region=R&account=A&wait=1`` or ``pubsub://PROJECT/SUBSCRIPTION``; nothing is asked of it.

    Raises SettingsError saying what is wrong and what is possible.
    """
    known = ("region", "account", "wait") if address.startswith("sqs:") else ()
    kind, name, options = _parts("LABELLOOP_EVENTS", address, known)
    if kind not in _INBOXES:
        raise SettingsError(f"LABELLOOP_EVENTS: {kind[:40]!r} is no kind of queue. There are {', '.join(_INBOXES)}")
    return _INBOXES[kind](name, options)


def _sqs(name: str, options: dict[str, str]) -> Inbox:
    from labelloop.cloud.aws.account import Account
    from labelloop.cloud.aws.inbox import SqsInbox

    for option, form, what in _SQS_OPTIONS:
        if not re.fullmatch(form, options.get(option, ""), re.ASCII):
            raise SettingsError(f"LABELLOOP_EVENTS: {option} is no {what}")
    wait = int(options.get("wait") or "1")
    return SqsInbox(Account(options.get("region", "")), name, owner=options.get("account", ""), wait=wait)


_SQS_OPTIONS = (
    ("account", r"(\d{12})?", "account number of 12 digits"),
    ("wait", r"(\d|1\d|20)?", "number of seconds from 0 to 20"),
)


def _pubsub(name: str, options: dict[str, str]) -> Inbox:  # noqa: ARG001 - it has none
    from labelloop.cloud.google.client import Google
    from labelloop.cloud.google.inbox import PubSubInbox

    project, _, subscription = name.partition("/")
    if not project or not subscription or "/" in subscription:
        raise SettingsError("LABELLOOP_EVENTS: expected a project and a subscription: pubsub://PROJECT/SUBSCRIPTION")
    return PubSubInbox(Google(project), subscription)


_INBOXES: dict[str, Callable[[str, dict[str, str]], Inbox]] = {"sqs": _sqs, "pubsub": _pubsub}
"""What opens each kind of queue, by the scheme of its address."""


def _sagemaker(settings: Settings, name: str, options: dict[str, str]) -> Registry:
    # Imported where it is used: botocore takes a third of a second.
    from labelloop.cloud.aws.account import Account
    from labelloop.cloud.aws.objects import Folder, location_of
    from labelloop.cloud.aws.registry import SageMakerRegistry

    if not settings.aws_inference_image:
        raise SettingsError(
            "LABELLOOP_REGISTRY: a package names the image that serves it: set LABELLOOP_AWS_INFERENCE_IMAGE"
        )
    account = Account(options.get("region", ""))
    return SageMakerRegistry(account, name, settings.aws_inference_image, Folder(account, location_of(settings)))


def _vertex(settings: Settings, name: str, options: dict[str, str]) -> Registry:  # noqa: ARG001
    from labelloop.cloud.google.client import Google
    from labelloop.cloud.google.models import Models
    from labelloop.cloud.google.objects import Folder, location_of
    from labelloop.cloud.google.registry import VertexRegistry

    project, _, location = name.partition("/")
    if not re.fullmatch(r"[a-z]+-[a-z]+\d+", location):
        raise SettingsError("LABELLOOP_REGISTRY: expected vertex://PROJECT/LOCATION, a region such as europe-west4")
    if not settings.google_inference_image:
        raise SettingsError(
            "LABELLOOP_REGISTRY: a version names the image that serves it: set LABELLOOP_GOOGLE_INFERENCE_IMAGE"
        )
    google = Google(project, location)
    folder = Folder(google, location_of(settings))
    return VertexRegistry(Models(google, folder, settings.google_inference_image, settings.engine))


_REGISTRIES: dict[str, Callable[[Settings, str, dict[str, str]], Registry]] = {
    "sagemaker": _sagemaker,
    "vertex": _vertex,
}
"""What opens each kind of registry, by the scheme of its address."""


def open_meter(address: str) -> Meter:
    """Open ``cloudwatch://NAMESPACE?region=R`` or ``cloud-monitoring://PROJECT``; nothing is asked of it.

    Raises SettingsError as the others.
    """
    kind, name, options = _parts("LABELLOOP_METRICS", address, ("region",) if address.startswith("cloudwatch:") else ())
    if kind not in _METERS:
        raise SettingsError(
            f"LABELLOOP_METRICS: {kind[:40]!r} is no kind of place for figures. There are {', '.join(_METERS)}"
        )
    return _METERS[kind](name, options)


def _cloudwatch(name: str, options: dict[str, str]) -> Meter:
    from labelloop.cloud.aws.account import Account
    from labelloop.cloud.aws.meter import CloudWatchMeter

    return CloudWatchMeter(Account(options.get("region", "")), name)


def _monitoring(name: str, options: dict[str, str]) -> Meter:  # noqa: ARG001 - it has none
    from labelloop.cloud.google.client import Google
    from labelloop.cloud.google.meter import MonitoringMeter

    return MonitoringMeter(Google(name))


_METERS: dict[str, Callable[[str, dict[str, str]], Meter]] = {
    "cloudwatch": _cloudwatch,
    "cloud-monitoring": _monitoring,
}
"""What opens each kind of place for figures."""


def _parts(setting: str, address: str, known: tuple[str, ...]) -> tuple[str, str, dict[str, str]]:
    """Take ``scheme://name?option=value`` apart; raises SettingsError for an option that is not ``known``."""
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := set(options) - set(known):
        raise SettingsError(
            f"{setting}: {min(unknown)[:40]!r} is no option of it: there is {', '.join(known) or 'none'}"
        )
    return parts.scheme, (parts.netloc + parts.path).rstrip("/"), options
