"""``sagemaker://ENDPOINT?region=&instance=&count=&canary=&wait=&alarms=``: what an endpoint runs on, how it moves."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from labelloop.deployers.aws import alarms_of
from labelloop.endpoints.spec import address_options, whole_numbers
from labelloop.errors import SettingsError
from labelloop.types import Json

VARIANT = "primary"
"""What every variant is called: alarms name it, so it may not change from version to version."""

EXAMPLE = "sagemaker://ENDPOINT?region=eu-west-1"

_OPTIONS = (
    "region",
    "instance",
    "count",
    "canary",
    "linear",
    "wait",
    "alarms",
    "serverless",
    "concurrency",
    "async",
    "role",
)
_LONGEST = 46
"""Letters of an endpoint's name: that of its trial endpoint has 17 more, and 63 at most."""

_LIMITS = {
    "count": (1, 1000),
    "canary": (1, 50),
    "linear": (10, 50),
    "wait": (0, 3600),
    "serverless": (1024, 6144),
    "concurrency": (1, 200),
}


@dataclass(frozen=True, slots=True)
class SageMakerTarget:
    """An endpoint to bring versions to.

    ``canary`` and ``linear`` are the percentage of a first, or of every, step of traffic, ``wait`` the seconds between
    two; 0: all moves at once. ``alarms`` (CloudWatch) take it back. ``serverless`` is in MB, 0 for instances, with
    ``concurrency`` calls at a time; ``queue`` the folder in S3 of an asynchronous endpoint. Models run as ``role``,
    and where it is empty as that of the settings.
    """

    endpoint: str
    region: str = ""
    instance: str = "ml.m5.large"
    count: int = 1
    canary: int = 0
    linear: int = 0
    wait: int = 300
    alarms: tuple[str, ...] = ()
    serverless: int = 0
    concurrency: int = 5
    queue: str = ""
    role: str = ""

    @classmethod
    def parse(cls, address: str) -> Self:
        """Read an address; raises SettingsError naming the option that is wrong."""
        parts, given = urlsplit(address), address_options(address, _OPTIONS, EXAMPLE, "a deployer's address")
        if not re.fullmatch(rf"[a-zA-Z0-9](-*[a-zA-Z0-9]){{0,{_LONGEST - 1}}}", parts.netloc) or parts.path.strip("/"):
            raise SettingsError(
                f"a deployer's address names an endpoint of at most {_LONGEST} letters, digits and hyphens: {EXAMPLE}"
            )
        told: Json = dict(whole_numbers(f"sagemaker://{parts.netloc}", given, _LIMITS))
        _check(parts.netloc, given)
        told |= {name: given[name] for name in ("region", "instance", "role") if name in given}
        return cls(parts.netloc, **told, alarms=alarms_of(given), queue=given.get("async", "").rstrip("/"))

    @property
    def capacity(self) -> Json:
        """What a variant runs on, as CreateEndpointConfig takes it."""
        if self.serverless:
            return {"ServerlessConfig": {"MemorySizeInMB": self.serverless, "MaxConcurrency": self.concurrency}}
        return {"InstanceType": self.instance, "InitialInstanceCount": self.count}

    @property
    def more(self) -> Json:
        """What CreateEndpointConfig takes beside the variant."""
        if not self.queue:
            return {}
        output = {"S3OutputPath": f"{self.queue}/output", "S3FailurePath": f"{self.queue}/failure"}
        return {"AsyncInferenceConfig": {"OutputConfig": output}}

    @property
    def guarded(self) -> Json:
        """How traffic moves to a new version: DeploymentConfig of UpdateEndpoint, empty for a serverless endpoint."""
        if self.serverless:
            return {}
        alarms = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in self.alarms]}}
        return {"BlueGreenUpdatePolicy": self._policy(self._routing())} | (alarms if self.alarms else {})

    @property
    def at_once(self) -> Json:
        """How traffic moves back: all of it, and no alarm holds it up."""
        return {} if self.serverless else {"BlueGreenUpdatePolicy": self._policy({"Type": "ALL_AT_ONCE"})}

    def address(self, endpoint: str) -> str:
        """Give the address by which an endpoint like this one is asked."""
        region = f"region={self.region}" if self.region else ""
        queued = f"mode=async&input={self.queue}/input" if self.queue else ""
        options = "&".join(filter(None, (region, queued)))
        return f"sagemaker://{endpoint}" + (f"?{options}" if options else "")

    def _routing(self) -> Json:
        kind, step = ("LINEAR", self.linear) if self.linear else ("CANARY", self.canary)
        if not step:
            return {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": self.wait if self.alarms else 0}
        size = {"Type": "CAPACITY_PERCENT", "Value": step}
        return {"Type": kind, "WaitIntervalInSeconds": self.wait, f"{kind.title()}{_SIZES[kind]}": size}

    def _policy(self, routing: Json) -> Json:
        return {
            "TrafficRoutingConfiguration": {"WaitIntervalInSeconds": 0} | routing,
            "TerminationWaitInSeconds": 0,
        }


_SIZES = {"CANARY": "Size", "LINEAR": "StepSize"}


def _check(endpoint: str, given: dict[str, str]) -> None:
    if "instance" in given and not re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9]+", given["instance"]):
        raise SettingsError(f"sagemaker://{endpoint}: instance is a type such as ml.m5.large")
    if "async" in given and not re.fullmatch(r"s3://[a-z0-9.-]{3,63}(/.*)?", given["async"]):
        raise SettingsError(f"sagemaker://{endpoint}: async is a folder in S3: async=s3://bucket/prefix")
    if len(alarms_of(given)) > 10:
        raise SettingsError(f"sagemaker://{endpoint}: SageMaker takes at most 10 alarms")
    for one, others in _APART.items():
        if one in given and (clash := next((name for name in others if name in given), None)):
            raise SettingsError(f"sagemaker://{endpoint}: {one} does not go together with {clash}: leave one out")
    if "concurrency" in given and "serverless" not in given:
        raise SettingsError(f"sagemaker://{endpoint}: concurrency is for serverless endpoints: serverless=4096")


_APART = {
    # Deployment guardrails are for instances; a serverless endpoint moves at once.
    "serverless": ("instance", "count", "canary", "linear", "alarms", "async"),
    "canary": ("linear",),
}
