"""Vertex AI's endpoints: what is deployed on one, who gets its traffic, and what goes on there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from labelloop.cloud.google.client import Google, failed
from labelloop.errors import CloudAway, CloudError, CloudMissing
from labelloop.types import Json

_MADE_SECONDS = 300
"""What making an endpoint may take: nothing is deployed on it yet."""


@dataclass(frozen=True, slots=True)
class DeployedModel:
    """A model on an endpoint: its id there, the name that whoever deployed it gave it, and when (as Google tells).

    ``model`` is the resource name of what was deployed, with its version.
    """

    id: str
    name: str
    created: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class HostedEndpoint:
    """An endpoint: its id, the models on it by id, their percent of the ``traffic``, and its labels.

    ``dns`` is the name of a dedicated one. Who has no traffic is not in ``traffic``. What is ``going_on`` there is
    named as in ``DeployModel``, ``UndeployModel``, ``Delete``; ``failure`` says why the last deployment failed.
    ``title`` is the name that people see.
    """

    id: str
    models: Mapping[str, DeployedModel] = field(default_factory=dict)
    traffic: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    dns: str = ""
    going_on: tuple[str, ...] = ()
    failure: str = ""
    title: str = ""


class Hosting:
    """The endpoints of one project and location. Every method raises CloudError or one of its kinds."""

    def __init__(self, google: Google) -> None:
        self.google = google

    def endpoint(self, name: str) -> HostedEndpoint | None:
        """Look at an endpoint; None where there is none."""
        # First: what is over by then shows at the endpoint.
        going_on, failure = self._works(name)
        try:
            found = _endpoint(self.google.ask("GET", self._path(name), what=f"endpoint {name}"))
        except CloudMissing:
            return None
        return replace(found, going_on=going_on, failure=failure)

    def endpoints(self, label: str, value: str) -> list[str]:
        """Name the endpoints that have a label of this value."""
        query, told = {"filter": f"labels.{label}={value}"}, f"the endpoints of {self.google.location}"
        found = self.google.listing(f"{self.google.parent}/endpoints", "endpoints", query=query, what=told)
        return [one.id for one in map(_endpoint, found) if one.labels.get(label) == value]

    def live(self) -> list[HostedEndpoint]:
        """Give the endpoints of which a model gets traffic."""
        what = f"the endpoints of {self.google.location}"
        found = self.google.listing(f"{self.google.parent}/endpoints", "endpoints", what=what)
        return [one for one in map(_endpoint, found) if set(one.traffic) & set(one.models)]

    def create(self, name: str, *, dedicated: bool, labels: Mapping[str, str]) -> HostedEndpoint:
        """Make an endpoint without a model, unless there is one of that name."""
        body = {"displayName": name, "dedicatedEndpointEnabled": dedicated, "labels": dict(labels)}
        query, what = {"endpointId": name}, f"endpoint {name} to be made"
        try:
            begun = self.google.ask("POST", f"{self.google.parent}/endpoints", body, query=query, what=what)
            self.google.wait(begun, _MADE_SECONDS, what)
        except CloudError:
            # Somebody else has begun to make it, or it was made though no answer came.
            if "CreateEndpoint" not in self._works(name)[0] and self.endpoint(name) is None:
                raise
        found = self.endpoint(name)
        if found is None or "CreateEndpoint" in found.going_on:
            raise CloudAway(f"endpoint {name} is being made")
        return found

    def change(
        self, found: HostedEndpoint, *, traffic: Mapping[str, int] | None = None, labels: Mapping[str, str]
    ) -> HostedEndpoint:
        """Give an endpoint labels beside those it has, and in the same moment traffic to other models on it."""
        body: Json = {"labels": {**found.labels, **labels}}
        if traffic is not None:
            body["trafficSplit"] = dict(traffic)
        query = {"updateMask": ",".join(sorted(body))}
        what = f"the traffic of endpoint {found.id}"
        made = _endpoint(self.google.ask("PATCH", self._path(found.id), body, query=query, what=what))
        return replace(made, going_on=found.going_on, failure=found.failure)

    def deploy(self, name: str, model: Json, traffic: Mapping[str, int]) -> None:
        """Begin to deploy a model (DeployedModel); ``traffic`` by id, "0" for this one, is as it is where empty."""
        body = {"deployedModel": model, **({"trafficSplit": dict(traffic)} if traffic else {})}
        what = f"model {model['model']} to be deployed to endpoint {name}"
        self.google.ask("POST", f"{self._path(name)}:deployModel", body, what=what)

    def undeploy(self, name: str, identity: str) -> None:
        """Begin to take a model from an endpoint."""
        what = f"model {identity} to be taken from endpoint {name}"
        self.google.ask("POST", f"{self._path(name)}:undeployModel", {"deployedModelId": identity}, what=what)

    def delete(self, name: str) -> None:
        """Begin to take an endpoint away, if it is there, on which no model is."""
        try:
            self.google.ask("DELETE", self._path(name), what=f"the end of endpoint {name}")
        except CloudMissing:
            return

    def _works(self, name: str) -> tuple[tuple[str, ...], str]:
        """Name what goes on at an endpoint, and say why the last deployment there failed; nothing where there is none.

        A deployment that succeeded failed for no reason: empty.
        """
        path, told = f"{self._path(name)}/operations", f"what goes on at endpoint {name}"
        try:
            found = [*self.google.listing(path, "operations", what=told)]
        except CloudMissing:
            return (), ""
        deployments = [one for one in found if _kind(one) == "DeployModel"]
        last = max(deployments, key=_begun, default={})
        error = last.get("error")
        failure = str(failed(f"endpoint {name}", error)) if error else ""
        return tuple(_kind(one) for one in found if not one.get("done")), failure

    def _path(self, name: str) -> str:
        return f"{self.google.parent}/endpoints/{name}"


def _endpoint(told: Json) -> HostedEndpoint:
    models = {
        str(one["id"]): DeployedModel(
            str(one["id"]), one.get("displayName") or "", one.get("createTime") or "", _versioned(one)
        )
        for one in told.get("deployedModels") or ()
    }
    traffic = {str(one): int(share) for one, share in (told.get("trafficSplit") or {}).items() if int(share)}
    dns = str(told.get("dedicatedEndpointDns") or "").removeprefix("https://")
    name, title = str(told["name"]).rpartition("/")[2], str(told.get("displayName") or "")
    return HostedEndpoint(name, models, traffic, told.get("labels") or {}, dns, title=title)


def _versioned(deployed: Json) -> str:
    model, number = str(deployed.get("model") or ""), deployed.get("modelVersionId")
    return f"{model.partition('@')[0]}@{number}" if model and number else model


def _kind(operation: Json) -> str:
    kind = str((operation.get("metadata") or {}).get("@type") or "")
    return re.sub(r".*\.|OperationMetadata$", "", kind)


def _begun(operation: Json) -> str:
    about: Any = (operation.get("metadata") or {}).get("genericMetadata") or {}
    return str(about.get("createTime") or "")
