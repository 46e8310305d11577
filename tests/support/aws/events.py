"""EventBridge: SageMaker's news is told to its rules, and rules reach functions and pipelines, as moto's do not.

The events' shapes are those of "Amazon SageMaker AI events" in AWS's documentation.
"""

import copy
import itertools
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest.mock import patch

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.events.models import Rule, events_backends
from moto.sagemaker.models import FakeEndpoint, ModelPackage

from labelloop.types import Json

_log = logging.getLogger(__name__)

Target = Callable[[Json, Json], None]
"""Takes a rule's target, and the event."""


@dataclass
class Events:
    """Takes events to the targets of rules; ``targets`` says by the target's service what is ours.

    ``listeners`` are told each event that a rule takes, and the ARN that it goes to.
    """

    targets: dict[str, Target] = field(default_factory=dict)
    listeners: list[Callable[[Json, str], None]] = field(default_factory=list)
    _deliveries: list[threading.Thread] = field(default_factory=list)

    def settle(self, seconds: float = 60) -> None:
        """Wait until all that was to be delivered has been; raises TimeoutError."""
        for thread in list(self._deliveries):
            thread.join(seconds)
            if thread.is_alive():
                raise TimeoutError("an event is still being delivered")
        self._deliveries.clear()

    def _later(self, target: Target, told: Json, event: Json) -> None:
        """Deliver without making the one who put the event wait, as EventBridge does."""

        def deliver() -> None:
            try:
                target(told, event)
            except Exception as error:  # noqa: BLE001 - border: nobody waits for it
                _log.error("%s: %s: %s", told["Arn"], type(error).__name__, error)

        self._deliveries.append(threading.Thread(target=deliver, daemon=True))
        self._deliveries[-1].start()

    @contextmanager
    def delivering(self) -> Iterator[None]:
        """Deliver all events of moto's, too, for a while."""
        by_moto = Rule.send_to_targets

        def send(rule: Rule, event: Any, transform_input: bool = True) -> None:
            if not _correct(event) or rule.state != "ENABLED" or not rule.event_pattern.matches_event(event):
                return
            for target in rule.targets:
                for heard in self.listeners:
                    heard(event, target["Arn"])
                try:
                    ours = self.targets.get(target["Arn"].split(":")[2])
                    if ours is None:
                        by_moto(_with(rule, [target]), event, transform_input)
                    else:
                        self._later(ours, target, _plain(event))
                except Exception as error:  # noqa: BLE001 - a target that fails is no matter of the one who put the event
                    _log.error("rule %s: %s: %s: %s", rule.name, target["Arn"], type(error).__name__, error)

        with patch.object(Rule, "send_to_targets", send):
            yield

    def emit(self, kind: str, region: str, resources: list[str], detail: Json, source: str = "aws.sagemaker") -> None:
        """Tell the rules of a region's default bus."""
        event: Any = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": kind,
            "source": source,
            "account": DEFAULT_ACCOUNT_ID,
            "time": time.time(),
            "ingestion-time": time.time(),
            "region": region,
            "resources": resources,
            "detail": detail,
        }
        bus = events_backends[DEFAULT_ACCOUNT_ID][region].event_buses["default"]
        for rule in list(bus.rules.values()):
            rule.send_to_targets(event, transform_input=True)

    def package_changed(self, package: ModelPackage) -> None:
        """Tell of a package that is new or whose approval changed."""
        names = ("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription")
        more = ("CreationTime", "InferenceSpecification", "ModelPackageStatus", "ModelPackageStatusDetails")
        rest = ("CertifyForMarketplace", "ModelApprovalStatus", "MetadataProperties", "ModelMetrics")
        last = ("LastModifiedTime", "ApprovalDescription", "CustomerMetadataProperties")
        told = package.gen_response_object()
        detail = {name: told[name] for name in (*names, *more, *rest, *last) if told.get(name) is not None}
        region = package.arn.split(":")[3]
        self.emit("SageMaker Model Package State Change", region, [package.arn], _jsonable(detail))

    def endpoint_changed(self, endpoint: FakeEndpoint) -> None:
        """Tell of an endpoint's status."""
        detail = {
            "EndpointName": endpoint.endpoint_name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.endpoint_config_name,
            "EndpointStatus": endpoint.endpoint_status.upper().replace("INSERVICE", "IN_SERVICE"),
        }
        region = endpoint.arn.split(":")[3]
        self.emit("SageMaker Endpoint State Change", region, [endpoint.arn], detail)


def _with(rule: Rule, targets: list[Any]) -> Rule:
    """Give the rule with these targets alone."""
    only = copy.copy(rule)
    only.targets = targets
    return only


_numbers = itertools.count(0x5F1A2B3C00)


def _correct(event: Any) -> bool:
    """Write an event of moto's S3 as S3 does, once for all rules; False for one that S3 does not send."""
    if event.get("source") == "aws.s3" and event["detail-type"] == "Object Tags Added":
        return False  # moto tells so of every object that is put
    if event.get("source") != "aws.s3" or "eTag" not in event["detail"].get("object", {}):
        return True
    found = event["detail"]["object"]
    found["etag"] = found.pop("eTag")
    found["sequencer"] = f"{next(_numbers):018X}"
    event["id"] = str(uuid.uuid4())
    event["detail"]["reason"] = {"ObjectCreated": "PutObject", "ObjectRemoved": "DeleteObject"}.get(
        event["detail"]["reason"], event["detail"]["reason"]
    )
    return True


def _plain(event: Json) -> Json:
    moment = datetime.fromtimestamp(float(event["time"])).astimezone().isoformat()
    return {key: value for key, value in event.items() if key not in ("ingestion-time", "replay-name")} | {
        "time": moment
    }


def _jsonable(detail: Json) -> Json:
    told: Json = json.loads(json.dumps(detail, default=lambda one: f"{one:%Y-%m-%dT%H:%M:%SZ}"))
    return told
