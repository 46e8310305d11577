"""The project of the stand-in that gcloud deploys to: what there is in it, and who answers which call.

The services' answers are in gcloud_services.py. A thing is also found by the path it was made at.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labelloop.types import Json
from support.google.worker_pools import WorkerPools

_SERVICES = (
    *("artifactregistry", "cloudbuild", "cloudresourcemanager", "compute", "iam", "logging", "redis", "run"),
    *("secretmanager", "serviceusage"),
)


@dataclass(frozen=True)
class Call:
    """One request: of which service, and all of it."""

    service: str
    method: str
    path: str
    query: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    def __str__(self) -> str:
        return f"{self.service}:{self.method} {self.path}"


class Refused(Exception):
    """An answer that is none."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code, self.status = code, status


def missing(what: str) -> Refused:
    return Refused(404, "NOT_FOUND", f"Resource '{what}' was not found")


Answer = Callable[["GcloudStandIn", Call, re.Match[str]], Any]
Route = tuple[str, str, re.Pattern[str], Answer]
"""Service, method, the paths that are meant, and what answers them."""


@dataclass
class GcloudStandIn:
    """What there is in one project of Google Cloud, by the names that its services give it."""

    folder: Path
    pools: WorkerPools
    routes: Sequence[Route]
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    things: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, Json] = field(default_factory=dict)
    secrets: dict[str, list[str]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    images: dict[str, Json] = field(default_factory=dict)
    """Where the source of each image was uploaded."""
    enabled: set[str] = field(default_factory=set)
    refusals: dict[str, Refused] = field(default_factory=dict)
    operations: dict[str, Json] = field(default_factory=dict)
    proxied: list[str] = field(default_factory=list)
    """Hosts that gcloud wanted to reach elsewhere."""

    @property
    def environment(self) -> dict[str, str]:
        """What gcloud needs to ask the stand-in, as somebody who is logged in, with folders of its own."""
        token = self.folder / "token"
        token.write_text("stand-in")
        where = urlsplit(self.url)
        overrides = {
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name.upper()}": f"http://{name}.stand-in/" for name in _SERVICES
        }
        return {
            **overrides,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": "http://storage.stand-in/storage/v1/",
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(self.pools.certificate),
            "CLOUDSDK_CONFIG": str(self.folder / "config"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "CLOUDSDK_PROXY_TYPE": "http",
            "CLOUDSDK_PROXY_ADDRESS": str(where.hostname),
            "CLOUDSDK_PROXY_PORT": str(where.port),
        }

    def refuse(self, call: str, code: int, status: str, message: str) -> None:
        """Refuse every call whose ``service:METHOD /path`` holds this text."""
        self.refusals[call] = Refused(code, status, message)

    def named(self, ending: str) -> Any:
        """Give the one thing whose name ends so."""
        [found] = [thing for name, thing in self.things.items() if name.endswith(ending)]
        return found

    def answer(self, call: Call) -> Any:
        self.calls.append(call)
        for text, refusal in self.refusals.items():
            if text in str(call):
                raise refusal
        for service, method, path, answer in self.routes:
            match = path.fullmatch(call.path)
            if (service, method) == (call.service, call.method) and match:
                return answer(self, call, match)
        if call.method == "GET" and call.path[4:] in self.operations:
            return self.operations[call.path[4:]]
        if call.method == "GET" and f"{call.service}{call.path}" in self.things:
            return self.things[f"{call.service}{call.path}"]
        raise missing(call.path)

    def done(self, response: Any) -> Json:
        """Give a long-running operation that is over."""
        name = f"projects/proj/locations/us-central1/operations/{len(self.operations) + 1}"
        self.operations[name] = {"name": name, "done": True, "response": response}
        return self.operations[name]

    def add(self, call: Call, name: str, thing: Json) -> Json:
        """Add a thing below the collection that was posted to; raises Refused where there is one."""
        key = f"{call.service}{call.path}/{name}"
        if key in self.things:
            raise Refused(409, "ALREADY_EXISTS", f"Resource '{name}' already exists")
        self.things[key] = thing
        return thing
