"""Vertex AI's endpoints: models are deployed to them, share their traffic, and are taken off again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labelloop.types import Json
from support.google.front import Route
from support.google.listing import ORDERED, listed
from support.google.models import Model, Models, Version, etag
from support.google.names import (
    DEPLOYED_ID,
    ENDPOINT_ID,
    check_display_name,
    check_etag,
    check_id,
    check_labels,
    check_machine,
    check_split,
    masked,
    new_id,
    only_query,
)
from support.google.operations import Operations
from support.google.wire import Call, Refused, failed, invalid, missing, now, without_nothing

_CHANGED = (
    "displayName",
    "description",
    "labels",
    "trafficSplit",
    "predictRequestResponseLoggingConfig",
    "clientConnectionConfig",
)
_RESOURCES = {
    "dedicatedResources": "DEDICATED_RESOURCES",
    "automaticResources": "AUTOMATIC_RESOURCES",
    "sharedResources": "SHARED_RESOURCES",
}
_NEW = "0"
"""What a traffic split calls the model that is just being deployed."""


@dataclass
class Endpoint:
    """One endpoint: what was said of it, and what is deployed to it, by id."""

    name: str
    told: Json
    deployed: dict[str, Json] = field(default_factory=dict)
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)

    @property
    def split(self) -> dict[str, int]:
        """The share of the traffic that each deployed model has, which adds up to 100."""
        split: dict[str, int] = self.told.get("trafficSplit", {})
        return split

    def describe(self) -> Json:
        """Give what Vertex AI answers."""
        parts = self.name.split("/")
        dns = f"{parts[5]}.{parts[3]}-1.prediction.vertexai.goog"
        return without_nothing(
            {
                "name": self.name,
                **self.told,
                "deployedModels": list(self.deployed.values()),
                "createTime": self.created,
                "updateTime": self.updated,
                "etag": etag(self.updated),
                "dedicatedEndpointDns": dns if self.told.get("dedicatedEndpointEnabled") else None,
            }.items()
        )

    def change(self, **told: Any) -> None:
        """Say something else of it."""
        self.told = without_nothing({**self.told, **told}.items())
        self.updated = now()


@dataclass
class Endpoints:
    """All endpoints. ``healthy`` looks whether a version of a model could answer; ``quota`` would be exceeded."""

    operations: Operations
    models: Models
    healthy: Callable[[Model, Version], None]
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        verb = "aiplatform:POST endpoints/*:"
        return [
            Route("aiplatform:POST endpoints", "endpoints.create", self._create, "Endpoint", "endpoint", None),
            Route("aiplatform:GET endpoints", "endpoints.list", self._list, query=None),
            Route("aiplatform:GET endpoints/*", "endpoints.get", self._get),
            Route(
                "aiplatform:PATCH endpoints/*",
                "endpoints.update",
                self._patch,
                "EndpointPatch",
                "endpoint",
                ("updateMask",),
            ),
            Route("aiplatform:DELETE endpoints/*", "endpoints.delete", self._delete),
            Route(f"{verb}deployModel", "endpoints.deploy", self._deploy, "DeployModelRequest"),
            Route(f"{verb}undeployModel", "endpoints.undeploy", self._undeploy, "UndeployModelRequest"),
            Route(f"{verb}mutateDeployedModel", "endpoints.deploy", self._mutate, "MutateDeployedModelRequest"),
        ]

    def forget(self) -> None:
        """Forget everything."""
        self.endpoints.clear()

    def find(self, name: str) -> Endpoint:
        """Give an endpoint; raises Refused."""
        found = self.endpoints.get(name)
        if found is None:
            raise missing("Endpoint", name)
        return found

    def where(self, model: str, version: str) -> list[Json]:
        """Name the endpoints that a model is deployed to, as it is told of the model; empty version: any."""
        return [
            {"endpoint": endpoint.name, "deployedModelId": number}
            for endpoint in self.endpoints.values()
            for number, one in endpoint.deployed.items()
            if one["model"].partition("@")[0] == model and version in ("", one["modelVersionId"])
        ]

    # What Vertex AI answers.
    def _create(self, call: Call) -> Json:
        only_query(call, "endpointId")
        told, wanted = dict(call.body), call.query.get("endpointId", "")
        check_display_name(told["displayName"])
        check_labels(told.get("labels", {}))
        if wanted:
            check_id("Endpoint id", wanted, ENDPOINT_ID)
        if told.pop("trafficSplit", {}):
            raise invalid("A new endpoint has no deployed models, and no traffic_split.")
        name = f"{call.parent}/endpoints/{wanted or new_id()}"
        with self.operations.lock:
            self._refuse_taken(name)

            def create() -> Json:
                self._refuse_taken(name, being=False)
                self.endpoints[name] = Endpoint(name, told)
                return self.endpoints[name].describe()

            return self.operations.begin("create", name, create, "CreateEndpointOperationMetadata", "Endpoint")

    def _refuse_taken(self, name: str, *, being: bool = True) -> None:
        if name in self.endpoints or (being and self.operations.pending(name)):
            raise Refused("ALREADY_EXISTS", f"Endpoint {name} already exists.")

    def _list(self, call: Call) -> Json:
        with self.operations.lock:
            found = [one for one in self.endpoints.values() if one.name.startswith(f"{call.parent}/")]
            return listed(
                call, [one.describe() for one in found], "endpoints", ("endpoint", "displayName", "labels"), ORDERED
            )

    def _get(self, call: Call) -> Json:
        with self.operations.lock:
            self.operations.look(call.resource)
            return self.find(call.resource).describe()

    def _patch(self, call: Call) -> Json:
        with self.operations.lock:
            endpoint = self.find(call.resource)
            check_etag(call.body.get("etag"), etag(endpoint.updated))
            changed = masked(call.query.get("updateMask", ""), call.body, _CHANGED)
            check_labels(changed.get("labels") or {})
            check_split(changed.get("trafficSplit") or {}, endpoint.deployed)
            if "displayName" in changed:
                check_display_name(changed["displayName"] or "")
            endpoint.change(**changed)
            return endpoint.describe()

    def _delete(self, call: Call) -> Json:
        with self.operations.lock:
            endpoint = self.find(call.resource)
            self.operations.refuse_while(endpoint.name, "Endpoint")
            if endpoint.deployed:
                there = ", ".join(endpoint.deployed)
                raise failed(f'Endpoint "{endpoint.name}" has deployed or being-deployed DeployedModel(s): {there}.')

            def delete() -> Json:
                self.endpoints.pop(endpoint.name, None)
                return {}

            return self.operations.begin("delete", endpoint.name, delete, "DeleteOperationMetadata")

    def _deploy(self, call: Call) -> Json:
        with self.operations.lock:
            endpoint, told = self.find(call.resource), dict(call.body["deployedModel"])
            self.operations.refuse_while(endpoint.name, "Endpoint")
            model, version = self.models.find(told["model"])
            _check_resources(told, version)
            _check_origin(endpoint, version)
            number = check_id("Deployed model id", told.get("id") or new_id(10), DEPLOYED_ID)
            if number in endpoint.deployed:
                raise Refused("ALREADY_EXISTS", f"The endpoint {endpoint.name} has a deployed model {number} already.")
            split = {number if one == _NEW else one: share for one, share in call.body.get("trafficSplit", {}).items()}
            check_split(split, {*endpoint.deployed, number})
            about = {"displayName": version.told["displayName"], **told, "id": number, "model": model.name}

            def deploy() -> Json:
                self.healthy(model, version)
                if version.number not in model.versions:
                    raise missing("Model", told["model"])
                endpoint.deployed[number] = {**about, "modelVersionId": version.number, "createTime": now()}
                endpoint.change(**({"trafficSplit": split} if split else {}))
                return {"deployedModel": endpoint.deployed[number]}

            kinds = ("DeployModelOperationMetadata", "DeployModelResponse")
            return self.operations.begin("deployModel", endpoint.name, deploy, *kinds)

    def _undeploy(self, call: Call) -> Json:
        with self.operations.lock:
            endpoint, number = self.find(call.resource), call.body["deployedModelId"]
            self.operations.refuse_while(endpoint.name, "Endpoint")
            if number not in endpoint.deployed:
                raise missing("DeployedModel", f"{number} of {endpoint.name}")
            others = {*endpoint.deployed} - {number}
            split = call.body.get("trafficSplit") or endpoint.split
            if others and split.get(number):
                raise failed(f"DeployedModel {number} has traffic: {split[number]} %. Give it to others first.")
            check_split({one: share for one, share in split.items() if share}, others or {number})

            def undeploy() -> Json:
                endpoint.deployed.pop(number, None)
                endpoint.change(trafficSplit={one: share for one, share in split.items() if one in endpoint.deployed})
                return {}

            kinds = ("UndeployModelOperationMetadata", "UndeployModelResponse")
            return self.operations.begin("undeployModel", endpoint.name, undeploy, *kinds)

    def _mutate(self, call: Call) -> Json:
        with self.operations.lock:
            endpoint, told = self.find(call.resource), call.body["deployedModel"]
            self.operations.refuse_while(endpoint.name, "Endpoint")
            if told["id"] not in endpoint.deployed:
                raise missing("DeployedModel", f"{told['id']} of {endpoint.name}")
            changes = _mutations(call.body["updateMask"], told)

            def mutate() -> Json:
                found = endpoint.deployed[told["id"]]
                for (where, name), value in changes.items():
                    if where:
                        found[where] = {**found.get(where, {}), name: value}
                    else:
                        found[name] = value
                endpoint.updated = now()
                return {"deployedModel": found}

            kinds = ("MutateDeployedModelOperationMetadata", "MutateDeployedModelResponse")
            return self.operations.begin("mutateDeployedModel", endpoint.name, mutate, *kinds)


def _check_resources(told: Json, version: Version) -> None:
    """Refuse machines that are none, or that the model does not take."""
    given = [name for name in _RESOURCES if name in told]
    if len(given) != 1:
        raise invalid("Exactly one of dedicated_resources, automatic_resources and shared_resources has to be set.")
    takes = version.told.get("supportedDeploymentResourcesTypes", ["DEDICATED_RESOURCES"])
    if _RESOURCES[given[0]] not in takes:
        raise invalid(f"The model does not support {_RESOURCES[given[0]]}: it supports {', '.join(takes)}.")
    resources = told[given[0]]
    if given == ["dedicatedResources"]:
        check_machine(resources["machineSpec"])
        least = resources["minReplicaCount"]
        if least < 1 or resources.get("maxReplicaCount", least) < least:
            raise invalid("min_replica_count has to be at least 1, and max_replica_count not less.")


def _check_origin(endpoint: Endpoint, version: Version) -> None:
    """Refuse a model of AutoML at a dedicated endpoint (Vertex AI, "Choose an endpoint type")."""
    made_by = version.told.get("modelSourceInfo", {}).get("sourceType")
    if made_by == "AUTOML" and endpoint.told.get("dedicatedEndpointEnabled"):
        raise invalid(f"Models trained by AutoML cannot be deployed to the dedicated endpoint {endpoint.name}.")


_MUTABLE = {
    "dedicatedResources": ("minReplicaCount", "maxReplicaCount", "requiredReplicaCount", "autoscalingMetricSpecs"),
    "automaticResources": ("minReplicaCount", "maxReplicaCount"),
}


def _mutations(mask: str, told: Json) -> dict[tuple[str, str], Any]:
    """Read what a mask names, such as ``dedicatedResources.minReplicaCount``."""
    allowed = {f"{where}.{name}": (where, name) for where, names in _MUTABLE.items() for name in names}
    allowed["disableContainerLogging"] = ("", "disableContainerLogging")
    flat = {path: (told.get(where, {}) if where else told).get(name) for path, (where, name) in allowed.items()}
    return {allowed[path]: value for path, value in masked(mask, flat, allowed).items()}
