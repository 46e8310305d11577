"""A stand-in for what `gcloud` asks for when something is deployed to Cloud Run; the real gcloud is pointed at it.

It holds services, worker pools, secrets, buckets, service accounts, policies and Redis instances, and what was sent to
be built. gcloud puts the region before the host of Cloud Run's address, so the stand-in is its HTTP proxy: whatever the
host is called, it comes here, and no call leaves the machine.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from labelloop.types import Json
from support.google.worker_pools import WorkerPools, tunnel, worker_pools

_SERVICES = (
    *("artifactregistry", "cloudbuild", "cloudresourcemanager", "compute", "iam", "logging", "redis", "run"),
    *("secretmanager", "serviceusage"),
)

REDIS_PASSWORD = "of-memorystore"

_BUILDER = "123-compute@developer.gserviceaccount.com"
"""The account that every project has, and builds as."""


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
_ROUTES: list[tuple[str, str, re.Pattern[str], Answer]] = []


def route(service: str, method: str, path: str) -> Callable[[Answer], Answer]:
    """Make a function what answers a method of the paths that a pattern describes."""

    def add(answer: Answer) -> Answer:
        _ROUTES.append((service, method, re.compile(path), answer))
        return answer

    return add


@dataclass
class GcloudStandIn:
    """What there is in one project of Google Cloud, by the names that its services give it."""

    folder: Path
    pools: WorkerPools
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
        for service, method, path, answer in _ROUTES:
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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: ClassVar[GcloudStandIn]

    def answer(self) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service = (address.hostname or "").removesuffix(".stand-in").rpartition("-")[2]
        call = Call(service, self.command, unquote(address.path).rstrip("/"), dict(parse_qsl(address.query)), body)
        headers: dict[str, str] = {}
        try:
            answered, code = self.cloud.answer(call), 200
        except Refused as error:
            code = error.code
            answered = {"error": {"code": code, "status": error.status, "message": str(error)}}
        if isinstance(answered, tuple):
            headers, answered = answered
        content = answered if isinstance(answered, bytes) else json.dumps(answered).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - names of http.server's

    def do_CONNECT(self) -> None:
        """Lead to the worker pools, and let nothing out: what is not pointed at the stand-in asks for a tunnel, too."""
        self.close_connection = True
        if self.path.endswith("-run.stand-in:443"):
            self.send_response(200)
            self.end_headers()
            tunnel(self.connection, self.cloud.pools.port)
        else:
            self.cloud.proxied.append(self.path)
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def gcloud_stand_in(folder: Path) -> Iterator[GcloudStandIn]:
    """Run a stand-in for as long as the block lasts."""
    with worker_pools(folder) as pools, ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        cloud = GcloudStandIn(folder, pools)
        server.RequestHandlerClass = type("Handler", (_Handler,), {"cloud": cloud})
        cloud.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="gcloud stand-in")
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()


# --- Services, accounts and policies


@route("serviceusage", "GET", r"/v1/projects/[^/]+/services/(.+)")
def _service(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    return {"name": call.path.removeprefix("/v1/"), "state": "ENABLED" if match[1] in cloud.enabled else "DISABLED"}


@route("serviceusage", "POST", r"/v1/projects/[^/]+/services:batchEnable")
def _enable(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    cloud.enabled.update(call.json["serviceIds"])
    return {"name": "operations/noop.DONE_OPERATION", "done": True, "response": {}}


@route("serviceusage", "POST", r"/v1/projects/[^/]+/services/(.+):enable")
def _enable_one(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    cloud.enabled.add(match[1])
    return {"name": "operations/noop.DONE_OPERATION", "done": True, "response": {}}


@route("iam", "POST", r"/v1/projects/([^/]+)/serviceAccounts")
def _account(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    email = f"{call.json['accountId']}@{match[1]}.iam.gserviceaccount.com"
    made = {"name": f"projects/{match[1]}/serviceAccounts/{email}", "email": email, **call.json["serviceAccount"]}
    return cloud.add(call, email, made)


@route("iam", "GET", r"/v1/projects/-/serviceAccounts/([^:]+)")
def _described(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Any:
    if match[1] == _BUILDER:
        return {"name": f"projects/proj/serviceAccounts/{_BUILDER}", "email": _BUILDER}
    if not any(name.endswith(f"/serviceAccounts/{match[1]}") for name in cloud.things):
        raise missing(match[1])
    return cloud.named(f"/serviceAccounts/{match[1]}")


def _policy(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    return cloud.policies.get(f"{call.service}{match[1]}", {"version": 1, "etag": "BwX="})


def _set_policy(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    given = call.json.get("policy", call.json)
    cloud.policies[f"{call.service}{match[1]}"] = {"version": 1, "etag": "BwX=", "bindings": given.get("bindings", [])}
    return cloud.policies[f"{call.service}{match[1]}"]


def _permissions(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    return {"permissions": call.json["permissions"]}


for _of in ("cloudresourcemanager", "iam", "run", "secretmanager", "artifactregistry"):
    for _method in ("GET", "POST"):
        route(_of, _method, r"(/[^:]+):getIamPolicy")(_policy)
    route(_of, "POST", r"(/[^:]+):setIamPolicy")(_set_policy)
    route(_of, "POST", r"(/[^:]+):testIamPermissions")(_permissions)
route("storage", "GET", r"(/storage/v1/b/[^/]+)/iam")(_policy)
route("storage", "PUT", r"(/storage/v1/b/[^/]+)/iam")(_set_policy)


# --- Secrets


@route("secretmanager", "POST", r"/v1/projects/([^/]+)/secrets")
def _secret(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    name = call.query["secretId"]
    return cloud.add(call, name, {"name": f"projects/{match[1]}/secrets/{name}", **call.json})


@route("secretmanager", "POST", r"/v1/(projects/[^/]+/secrets/([^/]+)):addVersion")
def _version(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    if f"secretmanager/v1/{match[1]}" not in cloud.things:
        raise missing(match[1])
    values = cloud.secrets.setdefault(match[2], [])
    values.append(base64.b64decode(call.json["payload"]["data"]).decode())
    name = f"{match[1]}/versions/{len(values)}"
    return {"name": name, "state": "ENABLED", "clientSpecifiedPayloadChecksum": True}


@route("secretmanager", "GET", r"/v1/(projects/[^/]+/secrets/([^/]+))/versions/latest:access")
def _value(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    if not cloud.secrets.get(match[2]):
        raise missing(match[1])
    value = cloud.secrets[match[2]][-1].encode()
    return {"name": f"{match[1]}/versions/1", "payload": {"data": base64.b64encode(value).decode()}}


# --- Redis, buckets and what is sent there


@route("redis", "POST", r"/v1/(projects/[^/]+/locations/([^/]+))/instances")
def _redis(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    name = f"{match[1]}/instances/{call.query['instanceId']}"
    made = {**call.json, "name": name, "host": "10.0.0.3", "port": 6379, "state": "READY"}
    return cloud.done(cloud.add(call, call.query["instanceId"], made))


@route("redis", "GET", r"/v1/projects/[^/]+/locations/[^/]+/instances/[^/]+/authString")
def _password(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    return {"authString": REDIS_PASSWORD}


@route("storage", "POST", r"/storage/v1/b")
def _bucket(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    return cloud.add(call, call.json["name"], {"kind": "storage#bucket", "id": call.json["name"], **call.json})


@route("storage", "GET", r"/storage/v1/b")
def _buckets(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    begins = f"storage/storage/v1/b/{call.query.get('prefix', '')}"
    return {"items": [thing for name, thing in cloud.things.items() if name.startswith(begins)]}


@route("storage", "POST", r"/upload/storage/v1/b/([^/]+)/o")
def _upload(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    """Take an upload of two parts: what the object is, and its content."""
    boundary = call.body.partition(b"\n")[0].rstrip()
    content = call.body.split(boundary, 2)[2].rpartition(boundary + b"--")[0].partition(b"\n\n")[2].removesuffix(b"\n")
    cloud.uploads[f"{match[1]}/{call.query['name']}"] = content
    return {"bucket": match[1], "name": call.query["name"], "generation": "1", "size": str(len(content))}


# --- Builds


@route("cloudbuild", "GET", r"/v1/projects/([^/]+)/locations/([^/]+)/defaultServiceAccount")
def _builder(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    return {"name": call.path[4:], "serviceAccountEmail": f"projects/{match[1]}/serviceAccounts/{_BUILDER}"}


@route("artifactregistry", "POST", r"/v1/(projects/[^/]+/locations/([^/]+))/repositories")
def _repository(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    name = call.query["repositoryId"]
    return cloud.done(cloud.add(call, name, {"name": f"{match[1]}/repositories/{name}", **call.json}))


@route("run", "POST", r"/v2/projects/([^/]+)/locations/([^/]+)/builds:submit")
def _build(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    """Build at once what was uploaded: nothing is built, an image has the digest of its source."""
    return {"buildOperation": _built(cloud, call.json["storageSource"], call.json["imageUri"], *match.groups())}


@route("cloudbuild", "POST", r"/v1/projects/([^/]+)/locations/([^/]+)/builds")
def _submitted(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    """Build by a configuration: what is asked for beside the image is not looked at."""
    image = call.json["images"][0].replace("$_IMAGE", call.json["substitutions"]["_IMAGE"])
    return _built(cloud, call.json["source"]["storageSource"], image, *match.groups())


@route("cloudbuild", "GET", r"/v1/projects/[^/]+/locations/([^/]+)/builds/([^/]+)")
def _build_of(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Any:
    return cloud.operations[f"projects/proj/locations/{match[1]}/operations/{match[2]}"]["response"]


def _built(cloud: GcloudStandIn, source: Json, image: str, project: str, region: str) -> Json:
    digest = "sha256:" + hashlib.sha256(cloud.uploads[f"{source['bucket']}/{source['object']}"]).hexdigest()
    number = f"build-{len(cloud.operations) + 1}"
    build = {
        "id": number,
        "name": f"projects/{project}/locations/{region}/builds/{number}",
        "projectId": project,
        "status": "SUCCESS",
        "logUrl": "https://console.cloud.google.com/cloud-build",
        "results": {"images": [{"name": image, "digest": digest}]},
    }
    cloud.images[image] = source
    name = f"projects/{project}/locations/{region}/operations/{number}"
    cloud.operations[name] = {"name": name, "done": True, "metadata": {"build": build}, "response": build}
    return cloud.operations[name]


# --- Cloud Run


@route("run", "GET", r"/v1/projects/[^/]+/locations")
def _regions(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    return {"locations": [{"locationId": name} for name in ("europe-west4", "us-central1")]}


@route("run", "POST", r"/apis/serving.knative.dev/v1/namespaces/[^/]+/services")
def _run(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    return cloud.add(call, call.json["metadata"]["name"], _ready(call.json, 1))


@route("run", "PUT", r"/apis/serving.knative.dev/v1/namespaces/[^/]+/services/[^/]+")
def _run_again(cloud: GcloudStandIn, call: Call, match: re.Match[str]) -> Json:
    key = f"run{call.path}"
    service = _ready(call.json, cloud.things[key]["metadata"]["generation"] + 1)
    cloud.things[key] = service
    return service


def _ready(service: Json, generation: int) -> Json:
    """Give a service whose newest revision answers."""
    name = service["metadata"]["name"]
    service["metadata"] |= {"generation": generation, "resourceVersion": f"v{generation}", "uid": name}
    conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "ConfigurationsReady", "RoutesReady")]
    revision = f"{name}-{generation:05}-abc"
    service["status"] = {
        "observedGeneration": generation,
        "conditions": conditions,
        "latestCreatedRevisionName": revision,
        "latestReadyRevisionName": revision,
        "traffic": [{"revisionName": revision, "percent": 100, "latestRevision": True}],
        "url": f"https://{name}-abc-uc.a.run.app",
        "address": {"url": f"https://{name}-abc-uc.a.run.app"},
    }
    return service
