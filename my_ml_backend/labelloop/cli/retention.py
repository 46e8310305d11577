"""What is kept, and for how long: prune, backup, restore, erase."""

from collections.abc import Callable

import click

from labelloop.cli.projects import AnyProject
from labelloop.cli.terminal import json_option, show
from labelloop.errors import StudioError
from labelloop.loop.caches import Caches, needed_pictures, remove
from labelloop.loop.housekeeping import note_disk, old_predictions, prune_project, remove_predictions
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.process import named_project
from labelloop.loop.project_registry import existing_project
from labelloop.loop.pruning import PrunePlan, plan_prune, project_folders
from labelloop.loop.standing import in_bytes
from labelloop.types import Json, ProjectKey


@click.command()
@click.option("--project", "project_id", type=AnyProject(), help="Only this project, or RUN/TYPE of a model run.")
@click.option(
    "--keep",
    type=click.IntRange(1),
    help="How many of the newest versions are kept beside those in use; default: LABELLOOP_KEEP_VERSIONS.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go and how large it is, and remove nothing.")
@json_option
@click.pass_context
def prune(ctx: click.Context, project_id: int | None, keep: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove old versions, their labels and predictions, and cached files that nobody needs any more."""
    hub: Hub = ctx.obj
    keep = keep or hub.settings.keep_versions
    projects = [existing_project(hub, project_id)] if project_id else list(project_folders(hub.store))
    told, lines = [], list[str]()
    for project in projects:
        found = _planned(hub, project, keep) if dry_run else _pruned(hub, project, keep)
        told.append(found)
        lines += _lines(project, found)
    caches = list(Caches(hub.settings.directory).unneeded(needed_pictures(hub, project_folders(hub.store))))
    unneeded = sum(one.size for one in caches) if dry_run else remove(caches)
    if unneeded:
        lines.append(f"cached files of pictures that no project needs: {in_bytes(unneeded)}")
    if not keep:
        lines.append("all versions are kept: --keep N, or LABELLOOP_KEEP_VERSIONS, says how many are enough")
    heading = ["this would go:"] if dry_run and lines else []
    show(
        as_json,
        {"dry_run": dry_run, "keep": keep, "projects": told, "caches": unneeded},
        heading + (lines or ["there is nothing to prune"]),
    )


def _planned(hub: Hub, project: ProjectKey, keep: int) -> Json:
    plan = plan_prune(hub.store, project, keep)
    gone = {*plan.versions, *hub.pointer(project).read().pruned}
    return _told(plan, _in_studio(lambda: sum(1 for _ in old_predictions(hub, project, gone))))


def _pruned(hub: Hub, project: ProjectKey, keep: int) -> Json:
    with Lease(hub, project) as lease:
        plan = prune_project(hub, project, keep, lease.check)
        predictions = _in_studio(lambda: remove_predictions(hub, project, check=lease.check))
    note_disk(hub, project)
    return _told(plan, predictions)


def _in_studio(ask: Callable[[], int]) -> int | str:
    """Count predictions; the store is pruned all the same where Label Studio is away, and then that is said."""
    try:
        return ask()
    except StudioError as error:
        return f"not looked at: {error}"


def _told(plan: PrunePlan, predictions: int | str) -> Json:
    return {
        "project": str(plan.project),
        "versions": list(plan.versions),
        "bytes": dict(plan.by_kind),
        "objects": len(plan.objects),
        "predictions": predictions,
    }


def _lines(project: ProjectKey, found: Json) -> list[str]:
    """Say what goes of a project: a line for each version, one for the rest."""
    sizes = found["bytes"]
    told = [f"{version}: {in_bytes(sizes.get(version, 0))}" for version in found["versions"]]
    told += [f"{name}: {in_bytes(size)}" for name, size in sizes.items() if name not in found["versions"]]
    if found["predictions"]:
        told.append(f"predictions of old versions for tasks that wait, in Label Studio: {found['predictions']}")
    return [f"{named_project(project)}: {line}" for line in told]
