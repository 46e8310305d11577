"""Opening an endpoint by its address."""

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qs, urlsplit

from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.fake import FakeEndpoint
from labelloop.endpoints.http import HttpEndpoint
from labelloop.errors import SettingsError
from labelloop.settings import Settings
from labelloop.types import Kind

_KINDS = "http://host:port, https://host, or fake://?classes=cat,dog"


def open_endpoint(address: str, settings: Settings) -> Endpoint:
    """Open ``http(s)://host:port`` or ``fake://?classes=cat,dog``; raises SettingsError saying what is possible."""
    scheme = address.partition("://")[0].lower()
    match scheme:
        case "http" | "https":
            return HttpEndpoint(address, timeout=settings.endpoint_timeout)
        case "fake":
            return _fake(urlsplit(address))
        case "sagemaker" | "vertex":
            raise SettingsError(f"LABELLOOP_ENDPOINT: {scheme}:// is not there yet. Possible are {_KINDS}.")
    raise SettingsError(f"LABELLOOP_ENDPOINT: the address is of no known kind. Possible are {_KINDS}.")


def _fake(parts: SplitResult) -> FakeEndpoint:
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    kind: Kind = "multiple" if options.get("kind") == "multiple" else "single"
    wrong = set(options) - {"classes", "kind", "version", "script"} or options.get("kind", kind) != kind
    if wrong or parts.netloc or parts.path:
        raise SettingsError(
            "LABELLOOP_ENDPOINT: a fake endpoint is addressed as fake://?classes=cat,dog; it may be followed by "
            "&kind=single or multiple, &version=NAME and &script=STEPS (docs/endpoints.md)"
        )
    version = options.get("version", "fake")
    return FakeEndpoint(_names(options, "classes"), kind=kind, version=version, script=_names(options, "script"))


def _names(options: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in options.get(name, "").split(",") if part.strip()]
