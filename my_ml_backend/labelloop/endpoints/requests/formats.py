"""The request formats by name."""

from typing import Literal

from labelloop.endpoints.requests.auto import Auto
from labelloop.endpoints.requests.automl import AutoMl
from labelloop.endpoints.requests.body import Body, Parameters, RequestFormat, Unwritable
from labelloop.endpoints.requests.inputs import Inputs
from labelloop.endpoints.requests.instances import Instances, Reference
from labelloop.endpoints.requests.raw import Raw
from labelloop.errors import SettingsError

__all__ = ["REQUESTS", "Body", "EndpointKind", "Parameters", "RequestFormat", "Unwritable", "request_format"]

EndpointKind = Literal["http", "sagemaker", "vertex", "loop"]

REQUESTS = ("auto", "raw", "instances", "automl", "inputs", "reference")


def request_format(name: str, *, kind: EndpointKind) -> RequestFormat:
    """Find a format by its name; ``auto`` writes what an endpoint of that kind usually reads.

    Raises SettingsError, listing the names, for any other name.
    """
    match name:
        case "auto":
            return Auto(kind)
        case "raw":
            return Raw()
        case "instances":
            return Instances()
        case "automl":
            return AutoMl()
        case "inputs":
            return Inputs()
        case "reference":
            return Reference()
    raise SettingsError(f"the request format {name[:50]!r} is not known. Possible are {', '.join(REQUESTS)}.")
