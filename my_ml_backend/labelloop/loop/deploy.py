"""What follows when a version becomes champion: deploy, pre-annotate, announce (contract, "Announcing").

The order matters and every step may be repeated: see docs/versions.md. An endpoint that serves the store has a version
as soon as it is champion. To another one a Deployer brings it (docs/deployers.md), which may take long and holds no
worker: it is begun, and looked at again every ``LABELLOOP_POLL_SECONDS``.
"""

import logging
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelloop.bundle_info import ForeignInfo
from labelloop.deployers.base import Deployable, Deployed, Deployer
from labelloop.deployers.opening import open_deployer
from labelloop.endpoint_suite.problems import problems
from labelloop.errors import DeployError, EndpointError, Fenced, LabelLoopError, StudioError
from labelloop.loop import later_predictions
from labelloop.loop.hub import Hub
from labelloop.loop.lease import ProgressReporter
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.project_endpoint import ProjectEndpoint, project_endpoint
from labelloop.loop.project_registry import site_of
from labelloop.loop.serving import Serving, announced_version, note_deployment
from labelloop.loop.waiting_tasks import EarlyLook
from labelloop.models.bundle import read_bundle_info
from labelloop.models.champion import Pointers
from labelloop.models.deployments import Deployment, Deployments, take_place
from labelloop.tracing import note_doing
from labelloop.types import ProjectKey
from labelloop.watch.comparison import WORSE

_log = logging.getLogger(__name__)


def announce(
    hub: Hub,
    project: ProjectKey,
    version: str,
    fence: int,
    reporter: ProgressReporter,
    look: EarlyLook | None = None,
) -> Prelabeled | None:
    """Pre-annotate with the champion what comes next, let ``/setup`` answer it, name the ML backend after it; the rest.

    ``look`` is at what waited for it while it was made.
    None where it has to be brought to its endpoint first, which is a job of its own: see ``deliver``. Raises Fenced,
    EndpointError or StudioError; the version stays champion, and the sweep comes back to announce it.
    """
    if project_endpoint(hub, project).serves == "deployed":
        return None
    return _announce(hub, project, version, fence, reporter, look)


def deliver(hub: Hub, project: ProjectKey, version: str, fence: int, reporter: ProgressReporter) -> Prelabeled | None:
    """The same, and before it the champion is brought to its endpoint; None while it is on its way there.

    While a batch job predicts, nothing is announced, and what is given says so.

    Raises DeployError, too: what was there before serves on, and stays announced.
    """
    note_doing(version=version)
    found = project_endpoint(hub, project)
    if found.serves == "deployed":
        reporter.stage("deploy")
        if not _bring(hub, project, found, version):
            return None
        if hub.pointer(project).read().champion != version:
            raise Fenced(f"{version} of {project} is no longer champion: what is now is brought next")
    return _announce(hub, project, version, fence, reporter)


def _announce(
    hub: Hub,
    project: ProjectKey,
    version: str,
    fence: int,
    reporter: ProgressReporter,
    look: EarlyLook | None = None,
) -> Prelabeled:
    """Pre-annotate and announce; what fails after that is left to the sweep, which completes the predictions."""
    note_doing(version=version)
    state = hub.state(project)
    noted, announced = "unpredicted" in state.notes(), False

    def flip() -> None:
        nonlocal announced
        reporter.stage("flip")
        # Until all is predicted: whoever is killed from here on has announced it, and somebody has to go on.
        state.note("unpredicted", "tasks may be without a prediction")
        later_predictions.begin(hub, project)
        _flip(hub, project, version, fence)
        announced = True
        reporter.stage("prelabel")

    reporter.stage("prelabel")
    try:
        prelabeled = prelabel(hub, project, version, reporter, announce=flip, look=look)
    except (EndpointError, StudioError) as error:
        if not announced:
            raise
        _log.warning("project %s: %s is announced, and tasks are without its prediction: %s", project, version, error)
        return Prelabeled(0, 0, (str(error),))
    # A part of the stage: what it takes of the tool's time decides when it may be done again (loop/retrain_policy.py).
    reporter.seconds["import"] = round(prelabeled.importing, 3)
    later_predictions.put_off(hub, project, prelabeled, announced=True)
    if not prelabeled.job and not prelabeled.more and not noted:
        state.note("unpredicted", "")
    return prelabeled


def _flip(hub: Hub, project: ProjectKey, version: str, fence: int) -> None:
    """Let ``/setup`` answer a version, and the tool order tasks by its scores."""
    state = hub.state(project)
    hub.pointer(project).announce(version, fence)
    state.announce(version)
    state.note("drift", "")
    state.ask_for_housekeeping()
    state.note(WORSE, "")
    site_of(hub, project.id).announce(version)


def is_behind(hub: Hub, project: ProjectKey, pointers: Pointers) -> bool:
    """Whether the champion is to be announced, or brought to the endpoint that the project has now.

    What somebody else has brought there since is left alone.
    """
    if pointers.champion is None or pointers.champion != pointers.announced:
        return pointers.champion is not None
    seen = deployment_of(hub, project)
    return seen is not None and (seen.wanted, seen.stage) != (pointers.champion, "there")


def is_unsettled(hub: Hub, project: ProjectKey, by: Serving) -> bool:
    """Whether what answers is about to change, or is not yet what is announced: bulk waits for that."""
    if by.deployment.between:
        return True
    if not by.deployment.brought or by.deployment.serves(by.version):
        return False
    return is_behind(hub, project, hub.pointer(project).read())


def is_absent(hub: Hub, project: ProjectKey, by: Serving) -> bool:
    """Whether nobody can be asked, for the first version is yet to make its endpoint. Raises DeployError."""
    if by.serves != "deployed" or by.deployment.brought:
        return False
    deployer = _deployer(hub, project, by)
    return deployer.tells and deployer.state().absent


def looked_at_again(hub: Hub, project: ProjectKey, version: str | None) -> float:
    """Say when to look again whether a version has come to its endpoint (Unix seconds); 0 where it is not under way."""
    seen = deployment_of(hub, project)
    if seen is None or not _is_under_way(seen, version):
        return 0.0
    # A moment that is yet to come was noted before the clock was set back.
    return seen.looked + hub.settings.poll_seconds if seen.looked <= time.time() else 0.0


def has_failed(hub: Hub, project: ProjectKey) -> bool:
    """Whether the last deployment has failed: a run that is due does not wait for the next one."""
    seen = deployment_of(hub, project)
    return seen is not None and seen.stage == "failed"


def look(hub: Hub, project: ProjectKey) -> None:
    """See what the endpoint serves, where its deployer tells: somebody may have brought something else there by hand.

    Raises DeployError.
    """
    found, seen = project_endpoint(hub, project), deployment_of(hub, project)
    # Whoever brings a version looks for itself, and before the first one the endpoint is none of the loop's business.
    if seen is None or seen.stage in ("told", "begun") or not seen.brought or hub.state(project).is_held():
        return
    deployer = _deployer(hub, project, found)
    if deployer.tells:
        stands = deployer.state()
        with suppress(Fenced):
            note_deployment(hub, project, seen, _as_told(seen, stands, reason=stands.reason or seen.reason))


def _bring(hub: Hub, project: ProjectKey, found: ProjectEndpoint, version: str) -> bool:
    """Begin to bring a version to its endpoint, or see how that stands; says whether the endpoint answers with it."""
    deployer, seen = _deployer(hub, project, found), _seen(hub, project, found)
    # Before it is asked: another project's v1 would pass for this one's.
    if other := take_place(hub.store, seen.place, project, lambda name: _is_project(hub, name)):
        raise DeployError(
            f"endpoint {found.endpoint.name} takes the versions of project {other}, and {version} of {project} would "
            "replace them: let extra_params name another endpoint and its deployer for one of the two"
        )
    stands = _stands(hub, project, deployer, seen, version)
    # Where another one was begun, the deployer has something to clear away, though this one serves.
    given_up = seen.wanted not in ("", version) and seen.stage != "there"
    if stands.version == version and not stands.between and not given_up:
        note_deployment(hub, project, seen, _as_told(seen, stands, reason="", wanted=version, stage="there"))
        return True
    if not _is_under_way(seen, version):
        return _begin(hub, project, found, deployer, seen, stands, version)
    if reason := _failure(hub, deployer, seen, stands):
        note_deployment(hub, project, seen, _as_told(seen, stands, reason=reason, stage="failed"))
        raise DeployError(f"{version} could not be brought to endpoint {found.endpoint.name}: {reason}")
    note_deployment(hub, project, seen, _as_told(seen, stands, reason="", looked=time.time()))
    return False


def _stands(hub: Hub, project: ProjectKey, deployer: Deployer, seen: Deployment, version: str) -> Deployed:
    """See how the endpoint stands; a deployment that was begun is taken further."""
    if not deployer.tells:
        return Deployed(seen.version, seen.since, seen.between)
    if _is_under_way(seen, version):
        return deployer.go_on(_deployable(hub, project, version))
    return deployer.state()


def _failure(hub: Hub, deployer: Deployer, seen: Deployment, stands: Deployed) -> str:
    """Say why a deployment that was begun has failed; empty while it is on its way."""
    if stands.for_good:
        return stands.reason
    if not stands.between:
        serves = f"{stands.version} serves" if stands.version else "no version of this project serves"
        return stands.reason or f"{deployer.name} says that {serves}, and that nothing is on its way"
    most = hub.settings.deploy_seconds
    return f"{stands.reason or 'it is not over'} after {most:g} s" if time.time() > seen.begun + most else ""


def _begin(
    hub: Hub,
    project: ProjectKey,
    found: ProjectEndpoint,
    deployer: Deployer,
    seen: Deployment,
    stands: Deployed,
    version: str,
) -> bool:
    deployable = _deployable(hub, project, version)
    answering = stands.between or (() if stands.absent else (stands.version or announced_version(hub, project),))
    between = tuple(dict.fromkeys((*answering, version)))
    # From here on either may answer: everybody has to know before that is so.
    begun = note_deployment(
        hub,
        project,
        seen,
        _as_told(seen, stands, between=between, reason="", wanted=version, stage="told", begun=time.time()),
    )
    _log.info("project %s: %s brings %s to endpoint %s", project, deployer.name, version, found.endpoint.name)
    try:
        now = (deployer.rollback if version in seen.brought else deployer.deploy)(deployable)
    except Exception as error:
        told, reason = _after_failure(deployer, stands), str(error) or type(error).__name__
        note_deployment(hub, project, begun, _as_told(begun, told, reason=reason, stage="failed"))
        raise
    if now.version == version and not now.between:
        note_deployment(hub, project, begun, _as_told(begun, now, stage="there"))
        return True
    # Where it does not show yet what it has begun, either may answer all the same.
    now = now if now.between else replace(now, between=between)
    note_deployment(hub, project, begun, _as_told(begun, now, reason="", stage="begun", looked=time.time()))
    return False


def _deployable(hub: Hub, project: ProjectKey, version: str) -> Deployable:
    bundle = hub.versions(project).fetch_bundle(version, hub.settings.directory / "cache" / "bundles")
    info = read_bundle_info(bundle)
    return Deployable(project, version, bundle, info.model if isinstance(info, ForeignInfo) else "")


def _is_project(hub: Hub, name: str) -> bool:
    """Whether that is a project of this Label Studio, as far as the store knows."""
    return name in map(str, hub.projects.here().values())


def _is_under_way(seen: Deployment, version: str | None) -> bool:
    return (seen.wanted, seen.stage) == (version, "begun")


def _after_failure(deployer: Deployer, before: Deployed) -> Deployed:
    """Say what serves after a deployment that failed: what was there before, where the deployer does not tell."""
    if deployer.tells:
        with suppress(LabelLoopError):
            return deployer.state()
    return Deployed(before.version, before.since)


def _as_told(seen: Deployment, stands: Deployed, **more: Any) -> Deployment:
    """Put into what is kept what a deployer says; a version that serves alone was brought."""
    alone = (stands.version,) if stands.version and not stands.between else ()
    brought = (*(one for one in seen.brought if one not in alone), *alone)
    # A deployer need not know what the team's own model is called that answers beside the first version.
    known = stands.between if len(stands.between) != 1 else tuple(dict.fromkeys((*seen.between, *stands.between)))
    told = {"version": stands.version, "since": stands.since, "between": known, "brought": brought}
    return replace(seen, **(told | more))


def deployment_of(hub: Hub, project: ProjectKey) -> Deployment | None:
    """Read what was last seen of the project's endpoint; None where nothing is brought to it. Raises StoreError."""
    found = project_endpoint(hub, project)
    return _seen(hub, project, found) if found.serves == "deployed" else None


def _seen(hub: Hub, project: ProjectKey, found: ProjectEndpoint) -> Deployment:
    return Deployments(hub.store, project).read(found.options.endpoint.place)


def _deployer(hub: Hub, project: ProjectKey, found: ProjectEndpoint) -> Deployer:
    def test(address: str, bundle: Path) -> str:
        return problems(replace(found.options.endpoint, address=address), bundle)

    return open_deployer(found.options.deployer, project, hub.settings, test)
