"""``deploy | rollback | status`` of a cloud: a version brought to a project's endpoint, and how all of it stands."""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import click

from labelloop.cli.projects import project_option
from labelloop.cli.terminal import Bar, follow, json_option, require_worker, show
from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.executions import Pipeline
from labelloop.cloud.opening import open_inbox, open_registry
from labelloop.deployers.opening import open_deployer
from labelloop.errors import LabelLoopError
from labelloop.loop.deploy import deployment_of
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import learn_unknown, project_endpoint
from labelloop.loop.project_registry import existing_project
from labelloop.loop.promotion import champion_before
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.loop.training import open_elsewhere, trainer_of
from labelloop.models.deployments import Deployment
from labelloop.run.verdict import force_version
from labelloop.trainers.sagemaker import PipelineAddress
from labelloop.types import Json, ProjectKey

commands = click.Group()
"""They are the same for every cloud: what the settings name is asked, wherever it is."""

_LOOK_SECONDS = 0.2

_waited = click.option("--wait/--no-wait", default=True, help="Follow it until it is announced; default: --wait.")


@commands.command()
@click.argument("version", required=False)
@project_option
@click.option("--force", is_flag=True, help="Take one that was rejected, too; its record says that it was forced.")
@_waited
@json_option
@click.pass_obj
def deploy(hub: Hub, version: str | None, project_id: int, force: bool, wait: bool, as_json: bool) -> None:
    """Make VERSION (default: as it is) champion, bring it to its endpoint and announce it. May be repeated."""
    project = _project(hub, project_id)
    version = version or hub.pointer(project).read().champion
    if version is None:
        raise click.ClickException(f"project {project_id} has no champion yet: name a version, or train one")
    _bring(hub, project, version, force=force, wait=wait, as_json=as_json)


@commands.command()
@project_option
@click.option("--to", "version", help="The version to go back to; default: the champion before this one.")
@click.option("--force", is_flag=True, help="Take one that was rejected, too; its record says that it was forced.")
@_waited
@json_option
@click.pass_obj
def rollback(hub: Hub, project_id: int, version: str | None, force: bool, wait: bool, as_json: bool) -> None:
    """Bring an earlier version back to the endpoint, by its short way. May be repeated where --to names it."""
    project = _project(hub, project_id)
    version = version or champion_before(hub.versions(project), hub.pointer(project).read())
    if not version:
        raise click.ClickException(f"project {project_id} has no champion before this one: name a version with --to")
    _bring(hub, project, version, force=force, wait=wait, as_json=as_json)


@commands.command()
@project_option
@json_option
@click.pass_obj
def status(hub: Hub, project_id: int, as_json: bool) -> None:
    """Say what the endpoint serves, what is on its way, and what waits in the registry, the pipeline and the queue."""
    project = existing_project(hub, project_id)
    learn_unknown(hub, project)
    stands = project_status(hub, project)
    found: Json = {"project": stands.to_json()}
    lines = standing(stands)
    for name, ask in _PARTS.items():
        if told := _asked(ask, hub, project):
            found[name] = told
            lines.append(f"  {name}: {told}")
    if len(found) == 1:
        lines.append("  none of LABELLOOP_DEPLOYER, _REGISTRY, _TRAINER and _EVENTS names a part of a cloud")
    show(as_json, found, lines)


def _project(hub: Hub, project_id: int) -> ProjectKey:
    """Find a project to whose endpoint versions are brought; raises ClickException for any other one."""
    project = existing_project(hub, project_id)
    learn_unknown(hub, project)
    if project_endpoint(hub, project).serves != "deployed":
        raise click.ClickException(
            f"nothing brings versions to the endpoint of project {project_id}: let LABELLOOP_DEPLOYER, or its "
            "extra_params, name what does: sagemaker://ENDPOINT, vertex://PROJECT/LOCATION/ENDPOINT (docs/deployers.md)"
        )
    return project


def _bring(hub: Hub, project: ProjectKey, version: str, *, force: bool, wait: bool, as_json: bool) -> None:
    """Have a worker bring a version to the endpoint, and follow that."""
    record = hub.versions(project).get(version)
    champion = hub.pointer(project).read().champion
    if not record.promoted and not force:
        raise click.ClickException(f"{version} was rejected ({record.verdict}); --force takes it all the same")
    if force:
        force_version(hub.versions(project), version)
    job = hub.queue(project).deploy(None if version == champion else version)
    ended = follow(hub, project, job, quiet=as_json) if wait else "queued"
    if ended == "finished":
        ended = _followed(hub, project, version, quiet=as_json)
    stands = project_status(hub, project)
    value = {"version": version, "status": ended, "project": stands.to_json()}
    show(as_json, value, [f"{version}: {ended}", *standing(stands)])
    if ended not in ("queued", "announced"):
        sys.exit(1)


def _followed(hub: Hub, project: ProjectKey, version: str, *, quiet: bool) -> str:
    """Show how a deployment comes along until the version is announced, and say how it ended."""
    with Bar(not quiet) as bar:
        while True:
            pointers, seen = hub.pointer(project).read(), deployment_of(hub, project) or Deployment()
            if pointers.champion != version:
                return f"{pointers.champion} became champion meanwhile"
            if (seen.wanted, seen.stage) == (version, "failed"):
                return f"failed: {seen.reason}"
            if pointers.announced == version and seen.stage == "there":
                return "announced"
            require_worker(hub, f"{version} of project {project.id}")
            bar(f"{version} is on its way, {seen.answers or 'nothing'} answers", 0, 0)
            time.sleep(_LOOK_SECONDS)


def _asked(ask: "_Ask", hub: Hub, project: ProjectKey) -> str:
    """Ask one part; what cannot be asked says why in its place."""
    try:
        return ask(hub, project)
    except LabelLoopError as error:
        return f"cannot be asked: {error}"


def _endpoint(hub: Hub, project: ProjectKey) -> str:
    address = project_endpoint(hub, project).options.deployer
    return open_deployer(address, project, hub.settings).check() if address else ""


def _execution(hub: Hub, project: ProjectKey) -> str:
    trainer = PipelineAddress.of(replace(hub.settings, trainer=project_endpoint(hub, project).options.trainer))
    if trainer is None:
        return ""
    pipeline = Pipeline(Account(trainer.region), trainer.name)
    newest = next(pipeline.executions(), None)
    if newest is None:
        return f"{pipeline.name} has no execution yet"
    why = f": {newest.reason}" if newest.reason else ""
    return f"{pipeline.name}, last execution {newest.name}: {newest.status}{why}"


def _training(hub: Hub, project: ProjectKey) -> str:
    """Say how the newest run's training elsewhere stands; a pipeline of SageMaker has executions without a run, too."""
    opened = open_elsewhere(hub, project)
    address = opened.trainer if opened else project_endpoint(hub, project).options.trainer
    trainer = trainer_of(hub, address)
    if not trainer.elsewhere or PipelineAddress.of(replace(hub.settings, trainer=address)):
        return ""
    newest = opened or hub.runs(project).latest()
    if newest is None:
        return f"{trainer.name} has trained no run yet"
    handle = (opened.handle if opened else "") or trainer.find(newest.key)
    if not handle:
        return f"{trainer.name} has no job of run {newest.key}"
    stands = trainer.poll(handle)
    far = f", {stands.what}" if stands.state == "running" else ""
    why = f": {stands.reason}" if stands.reason else ""
    return f"run {newest.key}, {handle}: {stands.state}{far}{why}"


def _packages(hub: Hub, project: ProjectKey) -> str:
    if not hub.settings.registry:
        return ""
    packages = open_registry(hub.settings.registry, hub.settings).packages(project)
    told = [f"{re.split('model(?:-package|s)/', one.name)[-1]} {one.status or 'without a word'}" for one in packages]
    return ", ".join(told[-_SHOWN:]) or "none yet"


def _queue(hub: Hub, project: ProjectKey) -> str:  # noqa: ARG001
    return open_inbox(hub.settings.events).check() if hub.settings.events else ""


_Ask = Callable[[Hub, ProjectKey], str]

_SHOWN = 5
"""Packages that are told, the newest ones."""

_PARTS: dict[str, _Ask] = {
    "endpoint": _endpoint,
    "packages": _packages,
    "pipeline": _execution,
    "queue": _queue,
    "training": _training,
}
"""What ``status`` asks, by what it is called; empty where nothing of the kind is configured."""
