"""Trial endpoints of Vertex AI: a version is tested on one of its own before it gets any traffic.

A model of an endpoint can be asked only by way of the endpoint's traffic: that is why it needs another one.
"""

from pathlib import Path

from labelloop.cloud.google.hosting import HostedEndpoint, Hosting
from labelloop.cloud.names import is_mark
from labelloop.deployers.base import EndpointTest
from labelloop.deployers.vertex_address import VertexTarget
from labelloop.errors import CloudAway
from labelloop.types import Json

TRIAL_OF, TESTED = "labelloop-trial-of", "labelloop-tested"
"""Labels of a trial endpoint: which endpoint it is for, and that its model was tested."""


class Trials:
    """The trial endpoints beside one endpoint, named by it. Every method raises CloudError or one of its kinds."""

    def __init__(self, hosting: Hosting, target: VertexTarget, test: EndpointTest) -> None:
        self._hosting, self._target, self._test = hosting, target, test

    def name(self, mark: str) -> str:
        """Name one by the mark of what is tested there; the name of an endpoint begins with a letter."""
        return f"{self._beginning}{mark}"

    @property
    def _beginning(self) -> str:
        return f"{'endpoint-' if self._target.is_number else ''}{self._target.endpoint}-check-"

    def prepare(self, name: str, version: str) -> HostedEndpoint:
        """See to it that there is one of this name; raises CloudAway while Google is taking it away."""
        found = self._hosting.endpoint(name)
        if found is None or "CreateEndpoint" in found.going_on:
            labels = {TRIAL_OF: self._target.endpoint}
            return self._hosting.create(name, dedicated=self._target.dedicated, labels=labels)
        if "Delete" in found.going_on:
            raise CloudAway(f"endpoint {name}, on which {version} is to be tested, is made anew")
        return found

    def needs(self, trial: HostedEndpoint, identity: str) -> bool:
        """Whether a model is yet to be deployed there for its test."""
        return TESTED not in trial.labels and identity not in trial.models and not trial.going_on

    def deploy(self, trial: HostedEndpoint, model: Json) -> None:
        """Begin to deploy a model (DeployedModel) for its test."""
        self._hosting.deploy(trial.id, model, {"0": 100})

    def judge(self, trial: HostedEndpoint, identity: str, bundle: Path) -> str | None:
        """Test what is there once it answers; say why no traffic may move to it, None as long as nobody knows.

        Empty: it has passed, and does not run there any more. Where it has not, its endpoint is dropped.
        """
        if trial.going_on:
            return None
        if TESTED in trial.labels:
            if not trial.models:
                return ""
        elif reason := self._hindrance(trial, identity, bundle):
            self.drop(trial)
            return reason
        else:
            self._hosting.change(trial, labels={TESTED: "yes"})
        # Before the endpoint itself gets it: both at a time would need twice the quota.
        self._hosting.undeploy(trial.id, identity)
        return None

    def _hindrance(self, trial: HostedEndpoint, identity: str, bundle: Path) -> str:
        if identity not in trial.models:
            why = trial.failure or "it is not there, and Google says not why"
            return f"it could not be deployed to endpoint {trial.id}, on which it was to be tested: {why}"
        wrong = self._test(self._target.address(trial.id, trial.dns), bundle)
        return f"it was tested on {trial.id} before any traffic moved, and {wrong}" if wrong else ""

    def clear(self, *, but: str = "") -> bool:
        """Take them away; False where one is left from which its model has to go first."""
        found = self._hosting.endpoints(TRIAL_OF, self._target.endpoint)
        left = [one for one in found if one != but and is_mark(one.removeprefix(self._beginning))]
        gone = [self.drop(self._hosting.endpoint(one)) for one in left]
        return all(gone)

    def drop(self, trial: HostedEndpoint | None) -> bool:
        """Take one away; False where its model has to go first."""
        if trial is None or "Delete" in trial.going_on:
            return True
        if trial.going_on:
            return False
        if trial.models:
            self._hosting.undeploy(trial.id, next(iter(trial.models)))
            return False
        self._hosting.delete(trial.id)
        return True
