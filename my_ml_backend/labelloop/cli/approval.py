"""A person's word on a project's versions: approve one that waits, reject one, go back to an earlier one."""

import sys

import click

from labelloop.cli.projects import any_project_option
from labelloop.cli.terminal import follow, json_option, require_worker, show
from labelloop.errors import QueueError
from labelloop.loop import queue
from labelloop.loop.hub import Hub
from labelloop.loop.mirror import reject_by_command
from labelloop.loop.process import named_project
from labelloop.loop.project_endpoint import require_learning
from labelloop.loop.project_registry import existing_project
from labelloop.loop.promotion import champion_before
from labelloop.models.versions import VersionRecord, state_of
from labelloop.run.mlflow import retrack
from labelloop.run.verdict import force_version
from labelloop.types import ProjectKey


@click.command()
@click.argument("version", required=False)
@any_project_option
@click.option("--force", is_flag=True, help="Take one that was rejected or passed over, too; its record says so.")
@json_option
@click.pass_obj
def approve(hub: Hub, version: str | None, project_id: int, force: bool, as_json: bool) -> None:
    """Make VERSION champion (default: the newest that waits for approval), pre-annotate with it and announce it."""
    project = existing_project(hub, project_id)
    version = version or _newest_waiting(hub, project)
    record, pointers = hub.versions(project).get(version), hub.pointer(project).read()
    _require_files(hub, project, record)
    if not force and version != pointers.champion and state_of(version, record, pointers) != "waiting":
        met = f"it met {record.parent or 'no other version'}, and now {pointers.champion} is champion"
        why = met if record.promoted else f"it was rejected ({record.verdict})"
        raise click.ClickException(f"{version} does not wait for approval: {why}. --force makes it champion anyway")
    _make_champion(hub, project, version, "approval of", force=force, as_json=as_json)


@click.command()
@click.argument("version", required=False)
@any_project_option
@click.option("--reason", default="", help="Why, for its verdict.")
@json_option
@click.pass_obj
def reject(hub: Hub, version: str | None, project_id: int, reason: str, as_json: bool) -> None:
    """Reject VERSION (default: the newest that waits for approval); of the champion, go back to the one before."""
    project = existing_project(hub, project_id)
    version = version or _newest_waiting(hub, project)
    versions, pointers = hub.versions(project), hub.pointer(project).read()
    versions.get(version)
    if version == pointers.champion:
        before = champion_before(versions, pointers)
        if not before:
            raise click.ClickException(f"{version} stays champion: there is no version before it to go back to")
        _make_champion(hub, project, before, "rollback to", force=False, as_json=as_json)
        return
    reject_by_command(hub.store, project, version, f"a person rejected it{f': {reason}' if reason else ''}")
    record = versions.get(version)
    if hub.settings.mlflow:
        retrack(hub.settings.mlflow, project, record)
    told = f"{version} is rejected: {record.verdict}"
    show(as_json, {"version": version, "verdict": record.verdict}, [told])


@click.command()
@any_project_option
@click.option("--to", "version", required=True, help="The version to go back to, for example v7.")
@click.option("--force", is_flag=True, help="Take one that was rejected, too; its record says that it was forced.")
@json_option
@click.pass_obj
def rollback(hub: Hub, project_id: int, version: str, force: bool, as_json: bool) -> None:
    """Make an earlier version champion again, pre-annotate with it and announce it."""
    project = existing_project(hub, project_id)
    record = hub.versions(project).get(version)
    _require_files(hub, project, record)
    if not record.promoted and not force:
        raise click.ClickException(
            f"{version} was rejected ({record.verdict}); only versions that passed can serve, "
            "and those that --force lets pass"
        )
    _make_champion(hub, project, version, "rollback to", force=force, as_json=as_json)


def _require_files(hub: Hub, project: ProjectKey, record: VersionRecord) -> None:
    """Refuse a version that was pruned, naming those that can serve."""
    if not record.pruned:
        return
    there = [one.version for one in hub.versions(project).all() if not one.pruned]
    raise click.ClickException(
        f"{record.version} was pruned on {record.pruned[:10]}: its files are gone. {', '.join(there)} are there; a "
        "backup of the store may have it (docs/operations.md)"
    )


def _newest_waiting(hub: Hub, project: ProjectKey) -> str:
    waiting = hub.versions(project).waiting(hub.pointer(project).read())
    if not waiting:
        raise click.ClickException(
            f"no version of project {named_project(project)} waits for approval: `labelloop versions --project "
            f"{named_project(project)}` lists them"
        )
    return waiting[-1].version


def _make_champion(hub: Hub, project: ProjectKey, version: str, what: str, *, force: bool, as_json: bool) -> None:
    """Have a worker make a version champion, and follow that."""
    require_learning(hub, project)
    if force:
        force_version(hub.versions(project), version)
    job = hub.queue(project).deploy(version)
    require_worker(hub, f"job {job}")
    lost = ""
    try:
        ended = follow(hub, project, job, quiet=as_json)
    except QueueError as error:
        ended, lost = "gone", str(error)
    pointers = hub.pointer(project).read()
    announced = pointers.announced
    # What Redis has lost of it the store knows, and the sweep announces what is not announced yet.
    done = ended == "finished" or (ended == "gone" and pointers.champion == version)
    if lost and not done:
        raise QueueError(lost)
    if ended == "gone" and done:
        told = f"{version} is champion{'' if announced == version else ': it is announced by the next sweep'}"
    elif announced == version or ended != "finished":
        told = f"{what} {version}: {ended}"
    else:
        told = f"{version} is champion: {queue.job_result(hub.redis, job) or 'it is announced when the run is over'}"
    show(as_json, {"job": job, "status": ended, "version": version, "announced": announced}, [told])
    if not done:
        sys.exit(1)
