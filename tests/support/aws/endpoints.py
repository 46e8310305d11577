"""SageMaker's endpoints: created and updated step by step, with canaries, alarms, and the way back.

Time is told by looks: an endpoint stays in a passing status for ``looks`` calls of DescribeEndpoint, so that nothing
in a test sleeps. ``looks`` of None lets it stay until the test says ``finish`` or ``roll_back``.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import FakeEndpoint, sagemaker_backends
from werkzeug import Response

from labelloop.types import Json
from support.aws.front import Handler
from support.aws.wire import Call, invalid, without_nothing

_PASSING = ("Creating", "Updating", "RollingBack")

Told = Callable[[FakeEndpoint], None]
"""Is told that an endpoint's status has changed."""


@dataclass
class _Change:
    """What an endpoint is becoming, and how many looks are left until then; None: until it is said."""

    config: str
    deployment: Json | None
    looks: int | None
    began: float = field(default_factory=time.time)
    reason: str = ""


@dataclass
class Endpoints:
    """All endpoints of all regions; ``looks``: how often one is seen in a passing status before that ends."""

    told: Told
    looks: int | None = 1
    _changes: dict[str, _Change] = field(default_factory=dict)
    _deployments: dict[str, Json] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        return {
            "sagemaker:CreateEndpoint": self._create,
            "sagemaker:UpdateEndpoint": self._update,
            "sagemaker:DescribeEndpoint": self._describe,
            "sagemaker:DeleteEndpoint": self._delete,
            "sagemaker:CreateEndpointConfig": self._create_config,
            "sagemaker:CreateModel": self._create_model,
        }

    def forget(self) -> None:
        """Forget everything."""
        with self._lock:
            self._changes.clear()
            self._deployments.clear()
            self.looks = 1

    def stick(self, name: str) -> None:
        """Let the endpoint stay in its passing status for good."""
        with self._lock:
            self._changing(name).looks = None

    def finish(self, name: str) -> None:
        """Let what the endpoint is doing be done now."""
        with self._lock:
            self._finish(_find(name))

    def roll_back(self, name: str, reason: str) -> None:
        """Let an update fail: the endpoint is RollingBack, and later InService with what it had."""
        with self._lock:
            self._roll_back(_find(name), reason, self.looks or 1)

    def fail(self, name: str, reason: str) -> None:
        """Let a creation end Failed, and anything else UpdateRollbackFailed."""
        with self._lock:
            endpoint = _find(name)
            self._changing(name)
            del self._changes[name]
            endpoint.failure_reason = reason
            self._now(endpoint, "Failed" if endpoint.endpoint_status == "Creating" else "UpdateRollbackFailed")

    def pending(self, name: str) -> tuple[str, float] | None:
        """Give the config that an endpoint is changing to, and its share of the traffic, from 0 to 1; None for none."""
        with self._lock:
            change = self._changes.get(name)
            if change is None or change.reason or _find(name).endpoint_status != "Updating":
                return None
            return change.config, _canary(change.deployment)

    # What AWS answers.
    def _create(self, call: Call) -> Response:
        name = call.parameters["EndpointName"]
        with self._lock:
            if name in _backend(call.region).endpoints:
                raise invalid(f'Cannot create already existing endpoint "{call.arn("endpoint", name)}".')
            config = _config(call)
            endpoint = _backend(call.region).create_endpoint(name, config, call.parameters.get("Tags") or [])
            self._begin(endpoint, "Creating", _Change(config, call.parameters.get("DeploymentConfig"), self.looks))
            return call.answer({"EndpointArn": endpoint.arn})

    def _update(self, call: Call) -> Response:
        with self._lock:
            endpoint = self._settled(call)
            if endpoint.endpoint_status == "Failed":
                raise invalid(f'Cannot update failed endpoint "{endpoint.arn}".')
            change = _Change(_config(call), call.parameters.get("DeploymentConfig"), self.looks)
            self._begin(endpoint, "Updating", change)
            return call.answer({"EndpointArn": endpoint.arn})

    def _delete(self, call: Call) -> Response | None:
        with self._lock:
            self._deployments.pop(self._settled(call).endpoint_name, None)
            return None

    def _describe(self, call: Call) -> Response:
        with self._lock:
            endpoint = _named(call)
            self._look(endpoint)
            return call.answer(self._said(endpoint))

    def _create_config(self, call: Call) -> None:
        name = call.parameters["EndpointConfigName"]
        if name in _backend(call.region).endpoint_configs:
            raise invalid(
                f'Cannot create already existing endpoint configuration "{call.arn("endpoint-config", name)}".'
            )

    def _create_model(self, call: Call) -> None:
        name, backend = call.parameters["ModelName"], _backend(call.region)
        if name in backend._models:
            raise invalid(f'Cannot create already existing model "{call.arn("model", name)}".')
        containers = [call.parameters.get("PrimaryContainer") or {}, *(call.parameters.get("Containers") or [])]
        for package in (one["ModelPackageName"] for one in containers if one.get("ModelPackageName")):
            if backend.model_package_name_mapping.get(package, package) not in backend.model_packages:
                raise invalid(f"Could not find model package {package}.")

    # How an endpoint changes.
    def _settled(self, call: Call) -> Any:
        endpoint = _named(call)
        if endpoint.endpoint_status in _PASSING:
            raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        return endpoint

    def _begin(self, endpoint: Any, status: str, change: _Change) -> None:
        self._changes[endpoint.endpoint_name] = change
        endpoint.failure_reason = None
        self._now(endpoint, status)

    def _now(self, endpoint: FakeEndpoint, status: str) -> None:
        endpoint.endpoint_status = status
        self.told(endpoint)

    def _look(self, endpoint: FakeEndpoint) -> None:
        change = self._changes.get(endpoint.endpoint_name)
        if change is None:
            return
        loud = _alarms(endpoint, change.deployment)
        if loud and endpoint.endpoint_status == "Updating":
            self._roll_back(endpoint, f"One or more configured alarm(s) have entered ALARM state: {loud}", 0)
        elif change.looks == 0:
            self._finish(endpoint)
        elif change.looks is not None:
            change.looks -= 1

    def _finish(self, endpoint: Any) -> None:
        change = self._changes.pop(endpoint.endpoint_name)
        if change.reason:
            endpoint.failure_reason = change.reason
        else:
            _take(endpoint, change.config)
            if change.deployment:
                self._deployments[endpoint.endpoint_name] = change.deployment
        self._now(endpoint, "InService")

    def _roll_back(self, endpoint: FakeEndpoint, reason: str, looks: int) -> None:
        change = self._changing(endpoint.endpoint_name)
        change.reason, change.looks = reason, looks
        self._now(endpoint, "RollingBack")

    def _changing(self, name: str) -> _Change:
        if name not in self._changes:
            raise LookupError(f"endpoint {name} is {_find(name).endpoint_status}: nothing of it changes")
        return self._changes[name]

    def _said(self, endpoint: FakeEndpoint) -> Json:
        change = self._changes.get(endpoint.endpoint_name)
        pending = None
        if change:
            config = _backend(_region(endpoint)).endpoint_configs[change.config]
            pending = {
                "EndpointConfigName": change.config,
                "ProductionVariants": _variants(config.production_variants, _canary(change.deployment)),
                "StartTime": change.began,
            }
        return without_nothing(
            {
                "EndpointName": endpoint.endpoint_name,
                "EndpointArn": endpoint.arn,
                "EndpointConfigName": endpoint.endpoint_config_name,
                "ProductionVariants": endpoint.production_variants,
                "DataCaptureConfig": endpoint.data_capture_config,
                "EndpointStatus": endpoint.endpoint_status,
                "FailureReason": endpoint.failure_reason,
                "CreationTime": endpoint.creation_time.timestamp(),
                "LastModifiedTime": endpoint.last_modified_time.timestamp(),
                "LastDeploymentConfig": self._deployments.get(endpoint.endpoint_name),
                "PendingDeploymentSummary": pending,
            }.items()
        )


def _backend(region: str) -> Any:
    return sagemaker_backends[DEFAULT_ACCOUNT_ID][region]


def _region(endpoint: FakeEndpoint) -> str:
    return str(endpoint.arn.split(":")[3])


def _find(name: str) -> Any:
    """Find an endpoint in whatever region; raises LookupError."""
    for backend in sagemaker_backends[DEFAULT_ACCOUNT_ID].values():
        if name in backend.endpoints:
            return backend.endpoints[name]
    raise LookupError(f"there is no endpoint {name}")


def _named(call: Call) -> Any:
    name = call.parameters["EndpointName"]
    endpoint = _backend(call.region).endpoints.get(name)
    if endpoint is None:
        raise invalid(f'Could not find endpoint "{call.arn("endpoint", name)}".')
    return endpoint


def _config(call: Call) -> str:
    name = str(call.parameters["EndpointConfigName"])
    if name not in _backend(call.region).endpoint_configs:
        raise invalid(f'Could not find endpoint configuration "{call.arn("endpoint-config", name)}".')
    return name


def _take(endpoint: FakeEndpoint, config: str) -> None:
    found = _backend(_region(endpoint)).endpoint_configs[config]
    endpoint.endpoint_config_name = config
    endpoint.data_capture_config = found.data_capture_config
    endpoint.production_variants = _variants(found.production_variants, 1.0)


def _variants(configured: list[Json], share: float) -> list[Json]:
    return [
        without_nothing(
            {
                "VariantName": one["VariantName"],
                "CurrentWeight": one.get("InitialVariantWeight", 1.0) * share,
                "DesiredWeight": one.get("InitialVariantWeight", 1.0),
                "CurrentInstanceCount": one.get("InitialInstanceCount"),
                "DesiredInstanceCount": one.get("InitialInstanceCount"),
                "CurrentServerlessConfig": one.get("ServerlessConfig"),
            }.items()
        )
        for one in configured
    ]


def _canary(deployment: Json | None) -> float:
    """Give the part of the traffic that a new config gets while it is on trial; all of it unless said."""
    routing = ((deployment or {}).get("BlueGreenUpdatePolicy") or {}).get("TrafficRoutingConfiguration") or {}
    size = routing.get("CanarySize") or routing.get("LinearStepSize") or {}
    if not size:
        return 1.0
    return float(size["Value"] / 100 if size["Type"] == "CAPACITY_PERCENT" else 0.5)


def _alarms(endpoint: FakeEndpoint, deployment: Json | None) -> str:
    """Name those of a deployment's alarms that ring."""
    names = [one["AlarmName"] for one in ((deployment or {}).get("AutoRollbackConfiguration") or {}).get("Alarms", [])]
    alarms = cloudwatch_backends[DEFAULT_ACCOUNT_ID][_region(endpoint)].alarms
    return ", ".join(name for name in names if name in alarms and alarms[name].state_value == "ALARM")
