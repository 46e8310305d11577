"""Versions onto a SageMaker endpoint, tested before any traffic moves: ``sagemaker://ENDPOINT`` (docs/deployers.md).

    archive in S3 > model > endpoint config > an endpoint of the same config for the test > the endpoint itself

Nothing is kept beside what AWS knows: names say which version is meant, and every step looks first whether it was done.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeGuard

from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.archives import put_archive
from labelloop.cloud.aws.batch import TransformJobs
from labelloop.cloud.aws.hosting import MOVING, HostedEndpoint, Hosting, ringing, without_alarm
from labelloop.cloud.aws.objects import Folder, location_of
from labelloop.cloud.names import NOBODY, Names, is_mark
from labelloop.deployers.aws import require_aws
from labelloop.deployers.base import (
    KEPT,
    Deployable,
    Deployed,
    EndpointTest,
    bundle_hash,
    refusals,
    require_network,
)
from labelloop.deployers.sagemaker_address import VARIANT, SageMakerTarget
from labelloop.errors import CloudAway, CloudError
from labelloop.models.bundle import served_by
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey


@dataclass(frozen=True, slots=True)
class _Ready:
    """A version as AWS knows it: the name of its model and config, and of the endpoint on which it is tested."""

    version: str
    config: str
    trial: str


class SageMakerDeployer:
    """Brings the versions of one project to one endpoint. Makes no call before it is asked something."""

    tells = True

    def __init__(
        self, target: SageMakerTarget, settings: Settings, project: ProjectKey | None, test: EndpointTest
    ) -> None:
        self._target, self._settings, self._test = target, settings, test
        self._names = Names(project or NOBODY)
        self._role = target.role or settings.aws_role
        self.name = f"sagemaker://{target.endpoint}"

    @cached_property
    def _hosting(self) -> Hosting:
        return Hosting(Account(self._target.region))

    def check(self) -> str:
        """Look whether all is named that a deployment needs, and at the endpoint."""
        require_aws(self.name, self._settings, self._role)
        with refusals():
            self._folder().check()
            found = self._hosting.endpoint(self._target.endpoint)
            lacks = without_alarm(self._hosting.account, self._target.alarms)
        if found is None:
            return f"{self.name} is not there yet: the first deployment makes it{lacks}"
        served = self._names.version(found.config) or f"config {found.config}"
        since = f" since {found.changed}" if found.changed else ""
        return f"{self.name} is {found.status} with {served}{since}{lacks}"

    def deploy(self, version: Deployable) -> Deployed:
        """Hand the version over to SageMaker, and begin to test it on an endpoint of its own."""
        require_aws(self.name, self._settings, self._role)
        with refusals():
            ready = self._ready(version)
            self._clear_trials(but=ready.trial)
            found = self._hosting.endpoint(self._target.endpoint)
            if not _serves(found, ready):
                self._hand_over(version, ready)
                if found is None or found.pending != ready.config:
                    self._begin_trial(ready)
            return self.go_on(version)

    def go_on(self, version: Deployable) -> Deployed:
        """Test it once its trial endpoint answers, then let the endpoint move to it."""
        with refusals():
            ready = self._ready(version)
            found, trial = (self._hosting.endpoint(name) for name in (self._target.endpoint, ready.trial))
            if _serves(found, ready):
                return self._done(found)
            if trial is None or trial.status == "Deleting":
                return self._moved(found, ready)
            return self._tried(found, trial, version, ready)

    def state(self) -> Deployed:
        """Say what the endpoint serves, by the name of its config."""
        with refusals():
            return self._told(self._hosting.endpoint(self._target.endpoint))

    def rollback(self, version: Deployable) -> Deployed:
        """Update the endpoint back to a version's config, which was tested when it came, all at once.

        No alarm is named: one that rings because of what serves now would stop the way back.
        """
        require_aws(self.name, self._settings, self._role)
        with refusals():
            ready = self._ready(version)
            found = self._hosting.endpoint(self._target.endpoint)
            if found is None or found.status == "Failed" or not self._hosting.has_config(ready.config):
                return self.deploy(version)
            self._clear_trials()
            if not _serves(found, ready) and found.pending != ready.config:
                self._require_free(found, version.version)
                self._hosting.update_endpoint(found.name, ready.config, self._target.at_once)
            return self.go_on(version)

    def batch(self) -> TransformJobs:
        """Give what predicts in bulk with the model of the version that serves."""
        return TransformJobs(
            self._hosting.account, self._folder().below("batch"), self._model, self._target.instance, self._target.count
        )

    def _model(self, version: str) -> str:
        """Name the model of a version, which is called as its config; raises CloudError where another one serves."""
        found = self._hosting.endpoint(self._target.endpoint)
        if found is None or self._names.version(found.config) != version:
            raise CloudError(f"{self.name} does not serve {version}: no batch job can ask its model")
        return found.config

    # --- What a version is made into.

    def _folder(self) -> Folder:
        return Folder(self._hosting.account, f"{location_of(self._settings)}/deployed")

    def _ready(self, version: Deployable) -> _Ready:
        """Name a version by all that its model and config are made from."""
        facts = (bundle_hash(version), self._container(""), self._role, self._variant(""))
        config = self._names.of(version.version, *facts, self._target.more)
        return _Ready(version.version, config, f"{self._trials}{config.rpartition('-')[2]}")

    @property
    def _trials(self) -> str:
        return f"{self._target.endpoint}-check-"

    def _container(self, archive: str) -> Json:
        environment = {"ENGINE": self._settings.engine}
        return {"Image": self._settings.aws_inference_image, "ModelDataUrl": archive, "Environment": environment}

    def _variant(self, model: str) -> Json:
        return {"VariantName": VARIANT, "ModelName": model, "InitialVariantWeight": 1.0, **self._target.capacity}

    def _hand_over(self, version: Deployable, ready: _Ready) -> None:
        """Make archive, model and config, each unless it is there."""
        require_network(self.name, version)
        served = served_by(self._settings.engine)
        archive = put_archive(self._folder().below(ready.config), version.bundle, version.version, served)
        container = self._container(archive)
        self._hosting.ensure_model(ready.config, container, self._role)
        self._hosting.ensure_config(ready.config, self._variant(ready.config), self._target.more)

    # --- The trial endpoint, which takes no traffic but the test's.

    def _begin_trial(self, ready: _Ready) -> None:
        trial = self._hosting.endpoint(ready.trial)
        if trial is not None and trial.status in ("Failed", "Deleting"):
            self._drop(ready.trial)
            raise CloudAway(f"endpoint {ready.trial}, on which {ready.version} is to be tested, is made anew")
        self._hosting.create_endpoint(ready.trial, ready.config)

    def _clear_trials(self, *, but: str = "") -> bool:
        """Take trial endpoints away; False where one is left that SageMaker lets not be deleted yet."""
        found = self._hosting.endpoints(self._trials)
        left = [name for name in found if name != but and is_mark(name.removeprefix(self._trials))]
        gone = [self._drop(name) for name in left]
        return all(gone)

    def _drop(self, trial: str) -> bool:
        found = self._hosting.endpoint(trial)
        if found is None or found.status == "Deleting":
            return True
        if found.status in MOVING:
            return False
        self._hosting.delete_endpoint(trial)
        return True

    def _tried(
        self, found: HostedEndpoint | None, trial: HostedEndpoint, version: Deployable, ready: _Ready
    ) -> Deployed:
        """Go on by how the trial endpoint stands: wait for it, give up, or test and let traffic move."""
        if found is not None and found.pending == ready.config:
            self._drop(trial.name)
            return self._moved(found, ready)
        waits = trial.status != "InService" or (found is not None and found.status in MOVING)
        if waits and trial.status != "Failed":
            return self._between(found, ready)
        if reason := self._hindrance(trial, version):
            self._drop(trial.name)
            return self._failed(found, reason)
        if self._move(found, ready):
            self._drop(trial.name)
        return self._between(found, ready)

    def _hindrance(self, trial: HostedEndpoint, version: Deployable) -> str:
        """Say why no traffic may move to a version; empty where it may."""
        if trial.status == "Failed":
            return f"endpoint {trial.name}, on which it was to be tested, failed: {trial.reason or 'AWS says not why'}"
        if wrong := self._test(self._target.address(trial.name), version.bundle):
            return f"it was tested on {trial.name} before any traffic moved, and {wrong}"
        rings = self._ringing()
        return f"no traffic has moved, for {rings}: look what serves now" if rings else ""

    def _ringing(self) -> str:
        alarms = ringing(self._hosting.account, self._target.alarms)
        return f"in CloudWatch {', '.join(alarms)} is in ALARM" if alarms else ""

    # --- The endpoint itself.

    def _move(self, found: HostedEndpoint | None, ready: _Ready) -> bool:
        """Let traffic move; False where a failed endpoint has to go first, which SageMaker lets only be deleted."""
        if found is None:
            self._hosting.create_endpoint(self._target.endpoint, ready.config)
        elif found.status == "Failed":
            self._hosting.delete_endpoint(found.name)
            return False
        else:
            self._hosting.update_endpoint(found.name, ready.config, self._target.guarded)
        return True

    def _moved(self, found: HostedEndpoint | None, ready: _Ready) -> Deployed:
        """Say how a move stands that was begun."""
        if found is not None and found.status in MOVING and found.pending in ("", ready.config):
            return self._between(found, ready)
        if found is not None and found.status != "InService":
            return self._told(found)
        back = f"endpoint {self._target.endpoint} has gone back to what it served" if found else "the endpoint is gone"
        why = (back, found.reason if found else "", self._ringing())
        return self._failed(found, "; ".join(filter(None, why)))

    def _require_free(self, found: HostedEndpoint, version: str) -> None:
        if found.status in MOVING:
            raise CloudAway(
                f"endpoint {found.name} is {found.status}, and SageMaker lets nobody end that: {version} is brought "
                "back when it is over"
            )

    def _between(self, found: HostedEndpoint | None, ready: _Ready) -> Deployed:
        before = self._names.version(found.config) if found else ""
        between = tuple(dict.fromkeys(filter(None, (before, ready.version))))
        reason = found.reason if found is not None and found.status == "RollingBack" else ""
        return Deployed(before, found.changed if found else "", between, reason)

    def _failed(self, found: HostedEndpoint | None, reason: str) -> Deployed:
        """Say that what served before serves on, and why."""
        return replace(self._told(found), reason=reason)

    def _told(self, found: HostedEndpoint | None) -> Deployed:
        """Say what an endpoint serves, whoever has brought it there."""
        if found is None:
            return Deployed(absent=True)
        if found.status in ("Failed", "OutOfService", "Deleting"):
            return Deployed(reason=f"endpoint {found.name} is {found.status}: {found.reason or 'AWS says not why'}")
        version, pending = (self._names.version(name) for name in (found.config, found.pending))
        if found.status == "UpdateRollbackFailed":
            return Deployed(version, found.changed, (version,) if version else (), _MIXED.format(found.name), True)
        between = tuple(dict.fromkeys(filter(None, (version, pending)))) if found.pending else ()
        serves = "" if found.status == "Creating" else version
        return Deployed(serves, found.changed, between, found.reason if found.status == "RollingBack" else "")

    def _done(self, found: HostedEndpoint) -> Deployed:
        """Clear away what the deployment needed, and what older versions left, but for the last ones."""
        cleared = self._clear_trials()
        names = [name for name in self._hosting.configs(self._names.stem) if self._names.version(name)]
        for name in [one for one in names if one not in (found.config, found.pending)][KEPT - 1 :]:
            # The config last: it is by this that the others are found.
            self._folder().below(name).remove()
            self._hosting.delete_model(name)
            self._hosting.delete_config(name)
        stands = self._told(found)
        # Somebody has to come back for a trial endpoint of an earlier version that is still being made.
        return stands if cleared else replace(stands, between=(stands.version,))


def _serves(found: HostedEndpoint | None, ready: _Ready) -> TypeGuard[HostedEndpoint]:
    return found is not None and (found.status, found.config) == ("InService", ready.config)


_MIXED = (
    "endpoint {} is UpdateRollbackFailed: the update failed and so did the way back, and some of its instances serve "
    "each version. `labelloop aws deploy VERSION` updates it anew; if AWS refuses that, delete the endpoint, and it is "
    "made again"
)
