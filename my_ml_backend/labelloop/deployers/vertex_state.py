"""What an endpoint of Vertex AI says of our versions: who is on it, who has its traffic, which step was the last."""

import hashlib
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from labelloop.cloud.google.hosting import HostedEndpoint
from labelloop.cloud.names import Names
from labelloop.deployers.base import Deployed

STEP = "labelloop-step"
"""Label of an endpoint: the last step, for which model, and when (Unix seconds): ``moved-1234567890-1795187630``.

``begun``: it is being deployed; ``back``: the same, and all traffic goes to it at once; ``moved``: it got traffic.
"""


@dataclass(frozen=True, slots=True)
class Ready:
    """A version as Vertex AI knows it: the name and id of its model on an endpoint, and its trial endpoint."""

    version: str
    name: str
    id: str
    trial: str

    def label(self, step: str) -> dict[str, str]:
        """Write down a step that is taken now, as an endpoint's label."""
        return {STEP: f"{step}-{self.id}-{int(time.time())}"}

    def step(self, found: HostedEndpoint | None) -> str:
        """Name the last step at an endpoint, if it was this version's."""
        step, _, rest = (found.labels.get(STEP, "") if found else "").partition("-")
        return step if rest.startswith(f"{self.id}-") else ""

    def is_begun(self, found: HostedEndpoint | None) -> bool:
        """Whether an endpoint is just getting this version."""
        return found is not None and self.step(found) in ("begun", "back") and "DeployModel" in found.going_on


def identity(name: str) -> str:
    """Give the id that a model of this name has on an endpoint: ten digits."""
    return str(10**9 + int(hashlib.sha256(name.encode()).hexdigest(), 16) % (9 * 10**9))


def moment(found: HostedEndpoint) -> float:
    """Say when the last step was taken at an endpoint (Unix seconds)."""
    at = found.labels.get(STEP, "").rpartition("-")[2]
    return float(at) if at.isdecimal() else 0.0


def told(found: HostedEndpoint | None, names: Names) -> Deployed:
    """Say who has an endpoint's traffic, whoever has given it."""
    if found is None or not found.traffic:
        return Deployed(absent=True)
    sharing = sorted(found.traffic, key=lambda one: -found.traffic[one])
    versions = [names.version(found.models[one].name) if one in found.models else "" for one in sharing]
    between = tuple(dict.fromkeys(filter(None, versions))) if len(sharing) > 1 else ()
    return Deployed(versions[0], _since(found, sharing[0]) if versions[0] else "", between)


def idle(found: HostedEndpoint, names: Names, but: str = "") -> list[str]:
    """Give the ids of the models of ours on an endpoint that have no traffic."""
    ours = [one for one, model in found.models.items() if names.version(model.name) and identity(model.name) == one]
    return [one for one in ours if one not in (*found.traffic, but)]


def in_words(found: HostedEndpoint, names: Names) -> str:
    """Say who serves since when, and what is deployed without traffic, and costs."""
    stands = told(found, names)
    served = " or ".join(stands.between) or stands.version or ("no version of ours" if found.traffic else "nothing")
    named = {one: names.version(model.name) or model.name or one for one, model in found.models.items()}
    rest = ", ".join(sorted(named[one] for one in found.models.keys() - found.traffic.keys()))
    since = f" since {stands.since}" if stands.since else ""
    return f"{served} serves{since}" + (f"; deployed without traffic: {rest}" if rest else "")


def _since(found: HostedEndpoint, one: str) -> str:
    """Say since when a model has its traffic: when it was given, else when it was deployed (UTC, ISO 8601)."""
    if re.fullmatch(rf"moved-{one}-\d+", found.labels.get(STEP, "")):
        return datetime.fromtimestamp(moment(found), UTC).isoformat(timespec="seconds")
    return found.models[one].created
