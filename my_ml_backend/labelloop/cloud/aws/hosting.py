"""SageMaker's hosting: models, endpoint configs and endpoints, each made once however often it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from labelloop.cloud.aws.account import Account, asking, ensure, if_there
from labelloop.types import Json

MOVING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
"""Statuses of an endpoint that takes no new config just now."""


@dataclass(frozen=True, slots=True)
class HostedEndpoint:
    """An endpoint, as DescribeEndpoint tells: its status, the config it serves by, and the one that is ``pending``.

    ``pending`` is empty where none is on its way. ``changed`` is UTC, ISO 8601, to the second.
    """

    name: str
    status: str
    config: str
    pending: str = ""
    changed: str = ""
    reason: str = ""


class Hosting:
    """The hosting of one account. Every method raises CloudError or one of its kinds."""

    def __init__(self, account: Account) -> None:
        self.account = account

    @property
    def _client(self) -> Any:
        return self.account.client("sagemaker")

    def ensure_model(self, name: str, container: Mapping[str, object], role: str) -> None:
        """Make a model of one container (Image, ModelDataUrl, Environment), unless it is there."""
        ensure(
            f"model {name}",
            lambda: self._client.describe_model(ModelName=name),
            lambda: self._client.create_model(ModelName=name, PrimaryContainer=dict(container), ExecutionRoleArn=role),
        )

    def ensure_config(self, name: str, variant: Mapping[str, object], more: Mapping[str, object]) -> None:
        """Make an endpoint config of one variant, unless it is there; ``more`` is what else the call takes."""
        ensure(
            f"endpoint config {name}",
            lambda: self._client.describe_endpoint_config(EndpointConfigName=name),
            lambda: self._client.create_endpoint_config(
                EndpointConfigName=name, ProductionVariants=[dict(variant)], **more
            ),
        )

    def has_config(self, name: str) -> bool:
        """Whether an endpoint config is there."""
        told = f"endpoint config {name}"
        return if_there(told, lambda: self._client.describe_endpoint_config(EndpointConfigName=name)) is not None

    def endpoint(self, name: str) -> HostedEndpoint | None:
        """Look at an endpoint; None where there is none."""
        told = f"endpoint {name} in {self.account.region}"
        found = if_there(told, lambda: self._client.describe_endpoint(EndpointName=name))
        return None if found is None else _endpoint(found)

    def create_endpoint(self, name: str, config: str) -> None:
        """Begin to make an endpoint, unless there is one of that name."""
        ensure(
            f"endpoint {name}",
            lambda: self._client.describe_endpoint(EndpointName=name),
            lambda: self._client.create_endpoint(EndpointName=name, EndpointConfigName=config),
        )

    def update_endpoint(self, name: str, config: str, deployment: Json) -> None:
        """Begin to bring an endpoint to another config, as a DeploymentConfig says; empty: as SageMaker likes."""
        more = {"DeploymentConfig": deployment} if deployment else {}
        with asking(f"endpoint {name} with config {config}"):
            self._client.update_endpoint(EndpointName=name, EndpointConfigName=config, **more)

    def delete_endpoint(self, name: str) -> None:
        """Begin to take an endpoint away, if it is there."""
        if_there(f"the end of endpoint {name}", lambda: self._client.delete_endpoint(EndpointName=name))

    def endpoints(self, beginning: str) -> list[str]:
        """Name the endpoints whose names begin so."""
        return self._names("list_endpoints", "Endpoints", "EndpointName", beginning)

    def configs(self, beginning: str) -> list[str]:
        """Name the endpoint configs whose names begin so, the newest first."""
        return self._names("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", beginning)

    def delete_config(self, name: str) -> None:
        """Take an endpoint config away, if it is there."""
        told = f"the end of endpoint config {name}"
        if_there(told, lambda: self._client.delete_endpoint_config(EndpointConfigName=name))

    def delete_model(self, name: str) -> None:
        """Take a model away, if it is there; its files stay."""
        if_there(f"the end of model {name}", lambda: self._client.delete_model(ModelName=name))

    def _names(self, operation: str, listed: str, key: str, beginning: str) -> list[str]:
        with asking(f"the list of {beginning}*"):
            pages = self._client.get_paginator(operation).paginate(
                NameContains=beginning, SortBy="CreationTime", SortOrder="Descending"
            )
            return [one[key] for page in pages for one in page[listed] if one[key].startswith(beginning)]


def ringing(account: Account, names: tuple[str, ...]) -> list[str]:
    """Name those of these CloudWatch alarms that are in ALARM; raises CloudError."""
    return sorted(name for name, state in _alarms(account, names).items() if state == "ALARM")


def without_alarm(account: Account, names: tuple[str, ...]) -> str:
    """Say which of these alarms there are not, as the end of a sentence; empty for none. Raises CloudError."""
    missing = sorted({*names} - {*_alarms(account, names)})
    told = f"; CloudWatch in {account.region} has no alarm {', '.join(missing)}: make it, or correct alarms="
    return told if missing else ""


def _alarms(account: Account, names: tuple[str, ...]) -> dict[str, str]:
    """Give the states of those alarms that there are."""
    if not names:
        return {}
    with asking(f"the alarms {', '.join(names)}"):
        found = account.client("cloudwatch").describe_alarms(
            AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
    alarms = [*found.get("MetricAlarms", ()), *found.get("CompositeAlarms", ())]
    return {one["AlarmName"]: one.get("StateValue", "") for one in alarms}


def seconds(moment: object) -> str:
    """Write a moment of AWS, which comes in this machine's zone, as UTC, ISO 8601, to the second; empty for none."""
    return moment.astimezone(UTC).isoformat(timespec="seconds") if isinstance(moment, datetime) else ""


def _endpoint(found: Json) -> HostedEndpoint:
    status = found["EndpointStatus"]
    pending = (found.get("PendingDeploymentSummary") or {}).get("EndpointConfigName", "")
    return HostedEndpoint(
        found["EndpointName"],
        status,
        found.get("EndpointConfigName", ""),
        pending if status in MOVING else "",
        seconds(found.get("LastModifiedTime")),
        found.get("FailureReason") or "",
    )
