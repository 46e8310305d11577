"""Opening an endpoint by its address."""

from collections.abc import Callable

from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.caller import Caller
from labelloop.endpoints.fake import FakeEndpoint
from labelloop.endpoints.spec import EndpointSpec, Plan, address_options
from labelloop.errors import SettingsError
from labelloop.settings import names
from labelloop.types import Choice

_KINDS = (
    "http://host:port (an inference container), http://host/path (any server), sagemaker://NAME, "
    "vertex://PROJECT/LOCATION/ENDPOINT, or fake://?classes=cat,dog"
)


def open_endpoint(spec: EndpointSpec) -> Endpoint:
    """Open an endpoint; nothing is sent yet. Raises SettingsError saying what is wrong and what is possible.

    Opening a SageMaker endpoint takes half a second: botocore is loaded.
    """
    if spec.address.lower().startswith("fake://"):
        return _fake(spec.address)
    return Caller(plan_of(spec), spec)


def plan_of(spec: EndpointSpec) -> Plan:
    """Read an address that something can be sent to; raises SettingsError."""
    scheme = spec.address.partition("://")[0].lower()
    if scheme not in _PLANS or "://" not in spec.address:
        raise SettingsError(f"LABELLOOP_ENDPOINT: the address is of no known kind. Possible are {_KINDS}.")
    return _PLANS[scheme](spec)


def _http(spec: EndpointSpec) -> Plan:
    from labelloop.endpoints.http import http_plan

    return http_plan(spec)


def _sagemaker(spec: EndpointSpec) -> Plan:
    from labelloop.endpoints.sagemaker_plan import sagemaker_plan

    return sagemaker_plan(spec)


def _vertex(spec: EndpointSpec) -> Plan:
    from labelloop.endpoints.vertex import vertex_plan

    return vertex_plan(spec)


# Imported when asked for: botocore and google-auth take most of a second together.
_PLANS: dict[str, Callable[[EndpointSpec], Plan]] = {
    "http": _http,
    "https": _http,
    "sagemaker": _sagemaker,
    "vertex": _vertex,
}


def _fake(address: str) -> FakeEndpoint:
    options = address_options(address, ("classes", "kind", "version", "script"), "fake://?classes=cat,dog")
    choice: Choice = "multiple" if options.get("kind") == "multiple" else "single"
    if options.get("kind", choice) != choice or address.partition("://")[2].partition("?")[0]:
        raise SettingsError(
            "LABELLOOP_ENDPOINT: a fake endpoint is addressed as fake://?classes=cat,dog; it may be followed by "
            "&kind=single or multiple, &version=NAME and &script=STEPS (docs/endpoints.md)"
        )
    version = options.get("version", "fake")
    return FakeEndpoint(
        names(options.get("classes", "")), choice=choice, version=version, script=names(options.get("script", ""))
    )
