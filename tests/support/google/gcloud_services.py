"""What services answer that gcloud asks when something is deployed to Cloud Run, in as few fields as it reads."""

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

from labelloop.types import Json
from support.google.gcloud_project import Answer, Call, GcloudStandIn, Route, missing

REDIS_PASSWORD = "of-memorystore"

_BUILDER = "123-compute@developer.gserviceaccount.com"
"""The account that every project has, and builds as."""


ROUTES: list[Route] = []


def route(service: str, method: str, path: str) -> Callable[[Answer], Answer]:
    """Make a function what answers a method of the paths that a pattern describes."""

    def add(answer: Answer) -> Answer:
        ROUTES.append((service, method, re.compile(path), answer))
        return answer

    return add


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
