"""Reading ``sagemaker://`` addresses."""

import re
from urllib.parse import urlsplit

from labelloop.endpoints import sagemaker_async
from labelloop.endpoints.aws import Aws
from labelloop.endpoints.base import Service
from labelloop.endpoints.sagemaker import PAYLOAD_BYTES, SageMaker, SageMakerAddress
from labelloop.endpoints.sagemaker_async import SageMakerAsync
from labelloop.endpoints.spec import EndpointSpec, Plan, address_options
from labelloop.errors import SettingsError

_EXAMPLE = "sagemaker://NAME?region=eu-west-1"
_OPTIONS = ("region", "variant", "target_model", "inference_component", "mode", "input")


def sagemaker_plan(spec: EndpointSpec) -> Plan:
    """Read the address and the AWS configuration; raises SettingsError."""
    address = sagemaker_address(spec.address)
    return plan_as(Aws(address.region), address, spec)


def plan_as(aws: Aws, address: SageMakerAddress, spec: EndpointSpec) -> Plan:
    """Plan for an address, as whom ``aws`` says we are, where it says that SageMaker is."""
    slow = address.mode == "async"

    def service(connections: int) -> Service:
        kind = SageMakerAsync if slow else SageMaker
        return kind(address, aws, dict(spec.headers), connections)

    payload = sagemaker_async.PAYLOAD_BYTES if slow else PAYLOAD_BYTES
    return Plan("sagemaker", address.name, address.shown, payload, service)


def sagemaker_address(text: str) -> SageMakerAddress:
    """Take an address apart; raises SettingsError."""
    parts = urlsplit(text)
    options = address_options(text, _OPTIONS, _EXAMPLE)
    if (
        not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,62}", parts.netloc)
        or parts.path not in ("", "/")
        or parts.fragment
    ):
        raise SettingsError(f"LABELLOOP_ENDPOINT: expected an endpoint's name after sagemaker://: {_EXAMPLE}")
    address = SageMakerAddress(parts.netloc, **options)
    _check_mode(address)
    return address


def _check_mode(address: SageMakerAddress) -> None:
    if address.mode not in ("", "async"):
        raise SettingsError(f"LABELLOOP_ENDPOINT: the mode of {address.shown} can only be async, or be left out")
    if address.input and (address.mode != "async" or not re.fullmatch(r"s3://[a-z0-9.-]{3,63}(/.*)?", address.input)):
        raise SettingsError(
            f"LABELLOOP_ENDPOINT: the input of {address.shown} is a folder in S3, and goes with mode=async: "
            "?mode=async&input=s3://bucket/prefix"
        )
    if address.mode == "async" and address.headers:
        raise SettingsError(
            f"LABELLOOP_ENDPOINT: an asynchronous call takes no variant, target_model or inference_component, "
            f"{address.shown} has both"
        )
