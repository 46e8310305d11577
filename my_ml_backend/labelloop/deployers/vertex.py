"""Versions onto a Vertex AI endpoint, tested before any traffic moves: ``vertex://PROJECT/LOCATION/ENDPOINT``.

    files in gs:// > model > a trial endpoint, tested and emptied > the endpoint, without traffic > a share > all of it

Nothing is kept beside what Vertex AI knows: a model on an endpoint is named by its version and has an id that follows
from it, and a label of the endpoint tells the last step. Every step looks first whether it was done.
"""

import re
import time
from dataclasses import replace
from functools import cached_property

from labelloop.cloud.google.batch import BatchPrediction
from labelloop.cloud.google.bulk import PredictionJobs
from labelloop.cloud.google.client import Google
from labelloop.cloud.google.hosting import HostedEndpoint, Hosting
from labelloop.cloud.google.models import VERSION, Models
from labelloop.cloud.google.objects import Folder, location_of
from labelloop.cloud.names import NOBODY, Names
from labelloop.deployers.base import KEPT, Deployable, Deployed, EndpointTest, bundle_hash, refusals, require_network
from labelloop.deployers.vertex_address import VertexTarget
from labelloop.deployers.vertex_state import Ready, identity, idle, in_words, moment, told
from labelloop.deployers.vertex_trials import Trials
from labelloop.errors import CloudAway, CloudError, DeployError, SettingsError
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey

_MODEL = re.compile(r"projects/[\w.:-]+/locations/[\w-]+/models/[\w-]+(@[\w-]+)?")
"""A model that Vertex AI has already, as AutoML names the one that it has trained."""


class VertexDeployer:
    """Brings the versions of one project to one endpoint. Makes no call before it is asked something."""

    tells = True

    def __init__(
        self, target: VertexTarget, settings: Settings, project: ProjectKey | None, test: EndpointTest
    ) -> None:
        self._target, self._settings, self._test = target, settings, test
        self._project = project or NOBODY
        self._names = Names(self._project)
        self._account = target.account or settings.google_service_account
        self.name = target.shown

    @cached_property
    def _hosting(self) -> Hosting:
        return Hosting(Google(self._target.project, self._target.location))

    @cached_property
    def _trials(self) -> Trials:
        return Trials(self._hosting, self._target, self._test)

    @cached_property
    def _models(self) -> Models:
        google = self._hosting.google
        folder = Folder(google, location_of(self._settings))
        return Models(google, folder, self._settings.google_inference_image, self._settings.engine)

    def check(self) -> str:
        """Look whether all is named that a deployment needs, and at the endpoint."""
        self._require()
        with refusals():
            self._models.folder.check()
            found = self._endpoint()
        if found is None:
            return f"{self.name} is not there yet: the first deployment makes it"
        return f"{self.name}: {in_words(found, self._names)}"

    def deploy(self, version: Deployable) -> Deployed:
        """Hand the version over to Vertex AI, and begin to test it on an endpoint of its own."""
        self._require()
        if not _MODEL.fullmatch(version.model):
            require_network(self.name, version)
        with refusals():
            ready, found = self._ready(version), self._endpoint()
            if found is None and self._target.is_number:
                raise DeployError(f"there is no endpoint {self.name}: name it, and it is made, or make one")
            self._trials.clear(but=ready.trial)
            if found is not None and ready.id in found.models:
                if ready.step(found) == "moved" and ready.id not in found.traffic:
                    self._note(found, ready, "begun")  # somebody has taken its traffic back: it is wanted again
            elif not ready.is_begun(found):
                self._begin(version, ready, found)
            return self.go_on(version)

    def go_on(self, version: Deployable) -> Deployed:
        """Test it once its trial endpoint answers, then deploy it to the endpoint, and give it its traffic."""
        with refusals():
            ready, found = self._ready(version), self._endpoint()
            if found is not None and ready.id in found.models:
                return self._led(found, ready)
            if ready.is_begun(found):
                self._trials.clear()
                return self._between(found, ready)
            trial = self._hosting.endpoint(ready.trial)
            if trial is None:
                return self._failed(found, (found.failure if found else "") or "nothing is on its way there")
            reason = self._trials.judge(trial, ready.id, version.bundle)
            if reason:
                return self._failed(found, reason)
            if reason is not None and (found is None or not found.going_on):
                self._bring(version, ready, found, "begun")
                self._trials.drop(trial)
            return self._between(found, ready)

    def state(self) -> Deployed:
        """Say who has the endpoint's traffic."""
        with refusals():
            return told(self._endpoint(), self._names)

    def rollback(self, version: Deployable) -> Deployed:
        """Give all traffic back to a version at once; one that is no longer deployed is, without another test."""
        self._require()
        with refusals():
            ready, found = self._ready(version), self._endpoint()
            known = version.model or self._models.find(
                self._project, self._models.mark(version.version, version.bundle)
            )
            if found is None or not (known or ready.id in found.models):
                return self.deploy(version)
            if found.traffic != {ready.id: 100} and not ready.is_begun(found):
                stays = ready.id in found.traffic or "UndeployModel" not in found.going_on
                if ready.id in found.models and stays:
                    self._move(found, ready, 100)
                else:
                    _require_free(found, ready)
                    self._trials.clear()
                    self._bring(version, ready, found, "back")
            return self.go_on(version)

    def batch(self) -> PredictionJobs:
        """Give what predicts in bulk with the model of the version that serves."""
        resources = self._target.capacity(self._target.least, self._target.most)
        started = {"startingReplicaCount": resources.pop("minReplicaCount")}
        jobs = BatchPrediction(self._hosting.google, self._models.folder.below("batch"))
        dedicated = self._target.dedicated
        return PredictionJobs(jobs, self._served, resources | started, self._account, dedicated=dedicated)

    def _served(self, version: str) -> str:
        """Name the model of a version; raises CloudError where it does not serve, or is not one of ours."""
        found = self._endpoint()
        serving = [found.models[one] for one in found.traffic if one in found.models] if found else []
        for one in serving:
            if self._names.version(one.name) == version and VERSION in self._models.look(one.model).labels:
                return one.model
        raise CloudError(f"{self.name} does not serve {version} by our image: no batch job can ask its model")

    # --- What a version is made into.

    def _require(self) -> None:
        """Raise DeployError where a setting is missing without which nothing can be deployed."""
        if not self._settings.google_inference_image:
            raise DeployError(
                f"{self.name} needs LABELLOOP_GOOGLE_INFERENCE_IMAGE: set it where workers run (docs/deployers.md)"
            )
        try:
            location_of(self._settings)
        except SettingsError as error:
            raise DeployError(f"{self.name}: {error}") from None

    def _ready(self, version: Deployable) -> Ready:
        """Name a version by all that its deployment is made from."""
        served = version.model or [bundle_hash(version), self._settings.google_inference_image, self._settings.engine]
        capacity = self._target.capacity(self._target.least, self._target.most)
        name = self._names.of(version.version, served, capacity, self._account)
        return Ready(version.version, name, identity(name), self._trials.name(name.rpartition("-")[2]))

    def _deployed(self, version: Deployable, ready: Ready, least: int, most: int) -> Json:
        """Say what is deployed (DeployedModel); a model of ours is uploaded, unless it is there."""
        made: Json = {"id": ready.id, "displayName": ready.name}
        if not version.model:
            made["model"] = self._models.ensure(self._project, version.version, version.bundle).name
            made["dedicatedResources"] = self._target.capacity(least, most)
            return made | ({"serviceAccount": self._account} if self._account else {})
        made["model"] = version.model
        if self._models.takes_machines(version.model):
            return made | {"dedicatedResources": self._target.capacity(least, most)}
        return made | {"automaticResources": {"minReplicaCount": least, "maxReplicaCount": most}}

    def _begin(self, version: Deployable, ready: Ready, found: HostedEndpoint | None) -> None:
        """Begin with the trial endpoint; a model that Google has trained is deployed without: nothing can test it."""
        if version.model:
            _require_free(found, ready)
            self._bring(version, ready, found, "begun")
            return
        trial = self._trials.prepare(ready.trial, ready.version)
        if self._trials.needs(trial, ready.id):
            self._trials.deploy(trial, self._deployed(version, ready, 1, 1))

    # --- The endpoint itself.

    def _endpoint(self) -> HostedEndpoint | None:
        return self._hosting.endpoint(self._target.endpoint)

    def _bring(self, version: Deployable, ready: Ready, found: HostedEndpoint | None, step: str) -> None:
        """Begin to deploy a version to the endpoint, which gives it no traffic yet; make the endpoint if need be."""
        model = self._deployed(version, ready, self._target.least, self._target.most)
        shared = bool(version.model) and self._models.is_of_automl(version.model)
        if found is None:
            dedicated = self._target.dedicated and not shared
            found = self._hosting.create(self._target.endpoint, dedicated=dedicated, labels={})
        elif shared and found.dns:
            raise DeployError(
                f"{self.name} is a dedicated endpoint, and Vertex AI deploys what AutoML has trained to shared ones "
                f"alone: name another endpoint for {ready.version}, which is made a shared one"
            )
        # Before it is begun: whoever finds it under way knows whose it is.
        self._note(found, ready, step)
        self._hosting.deploy(found.id, model, {})

    def _led(self, found: HostedEndpoint, ready: Ready) -> Deployed:
        """Give a version that is deployed its share, and all of the traffic when the time of its canary is over."""
        share, step = found.traffic.get(ready.id, 0), ready.step(found)
        if share == 100:
            return self._done(found, ready)
        if not share and step == "moved":
            return self._failed(found, f"{ready.version} had a share of the traffic, and somebody took it back")
        if not share and "UndeployModel" in found.going_on:
            return self._between(found, ready)
        if not share:
            first = self._target.canary if found.traffic and step != "back" else 0
            found = self._move(found, ready, first or 100)
        elif step != "moved":
            found = self._note(found, ready, "moved")
        elif time.time() >= moment(found) + self._target.wait:
            found = self._move(found, ready, 100)
        return self._done(found, ready) if found.traffic.get(ready.id) == 100 else self._between(found, ready)

    def _move(self, found: HostedEndpoint, ready: Ready, share: int) -> HostedEndpoint:
        """Give a version so many percent of the traffic, and the rest to who had most of it."""
        before = [one for one in sorted(found.traffic, key=lambda one: found.traffic[one]) if one != ready.id]
        traffic = {ready.id: share} | ({before[-1]: 100 - share} if share < 100 else {})
        return self._hosting.change(found, traffic=traffic, labels=ready.label("moved"))

    def _note(self, found: HostedEndpoint, ready: Ready, step: str) -> HostedEndpoint:
        return self._hosting.change(found, labels=ready.label(step))

    def _take_idle(self, found: HostedEndpoint, ready: Ready) -> bool:
        """Begin to take our models from the endpoint that have no traffic; False where somebody has to come back.

        An endpoint is changed in one way at a time.
        """
        left = idle(found, self._names, ready.id)
        if left and not found.going_on:
            self._hosting.undeploy(found.id, left[0])
        return not left[1:] and "DeployModel" not in found.going_on

    # --- What is said of it.

    def _between(self, found: HostedEndpoint | None, ready: Ready) -> Deployed:
        stands = told(found, self._names)
        between = tuple(dict.fromkeys(filter(None, (stands.version, *stands.between, ready.version))))
        return Deployed(stands.version, stands.since, between)

    def _failed(self, found: HostedEndpoint | None, reason: str) -> Deployed:
        """Say that what served before serves on, and why."""
        return replace(told(found, self._names), reason=reason)

    def _done(self, found: HostedEndpoint, ready: Ready) -> Deployed:
        """Clear away what the deployment needed, and what older versions left, but for the last ones."""
        cleared = [self._trials.clear(), self._take_idle(found, ready)]
        self._models.clear(self._project, KEPT)
        stands = told(found, self._names)
        # Somebody has to come back for what could not be taken away yet.
        return stands if all(cleared) else replace(stands, between=(stands.version,))


def _require_free(found: HostedEndpoint | None, ready: Ready) -> None:
    if found is not None and found.going_on:
        raise CloudAway(f"endpoint {found.id} is busy ({found.going_on[0]}): {ready.version} is brought after it")
