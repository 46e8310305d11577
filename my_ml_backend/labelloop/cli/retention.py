"""What is kept, and for how long: prune, backup, restore, erase."""

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import click

from labelloop.cli.projects import AnyProject, any_project_option
from labelloop.cli.terminal import Bar, json_option, show
from labelloop.errors import QueueError, SettingsError, StudioError
from labelloop.files import is_sha256
from labelloop.loop.caches import Caches, needed_pictures, remove
from labelloop.loop.erasure import ErasePlan, plan_erasure
from labelloop.loop.erasure import erase as erase_plan
from labelloop.loop.housekeeping import held, note_disk, prune_project
from labelloop.loop.hub import Hub
from labelloop.loop.old_predictions import old_predictions, outdated_versions, remove_predictions
from labelloop.loop.process import named_project
from labelloop.loop.project_registry import existing_project
from labelloop.loop.pruning import PrunePlan, plan_prune
from labelloop.loop.reports import REPORT_SECONDS, without_reports
from labelloop.loop.standing import in_bytes
from labelloop.models.backup import Copied, back_up, is_half_restored, stored_projects
from labelloop.models.backup import restore as restore_store
from labelloop.models.opening import open_store
from labelloop.models.store import Store
from labelloop.models.versions import number_of
from labelloop.studio.client import Studio
from labelloop.types import Json, ProjectKey

_NAMED = 20
"""Of many, so many are named for people; JSON has all."""


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
    projects = [existing_project(hub, project_id)] if project_id else list(stored_projects(hub.store))
    told, lines = [], list[str]()
    for project in projects:
        found = _planned(hub, project, keep) if dry_run else _pruned(hub, project, keep)
        told.append(found)
        lines += _lines(project, found)
    caches = list(Caches(hub.settings.directory).unneeded(needed_pictures(hub, stored_projects(hub.store))))
    unneeded = sum(one.size for one in caches) if dry_run else remove(caches)
    if unneeded:
        lines.append(f"cached files of pictures that no project needs: {in_bytes(unneeded)}")
    lines = ["this would go:"] * (dry_run and bool(lines)) + (lines or ["there is nothing to prune"])
    if not keep:
        lines.append("all versions are kept: --keep N, or LABELLOOP_KEEP_VERSIONS, says how many are enough")
    show(as_json, {"dry_run": dry_run, "keep": keep, "projects": told, "caches": unneeded}, lines)


def _opened(place: str) -> tuple[Store, str]:
    """Open a store by its address, or a folder; gives it and how it is called."""
    address = place if "://" in place else Path(place).absolute().as_uri()
    return open_store(address), address


@click.command()
@click.argument("target")
@json_option
@click.pass_obj
def backup(hub: Hub, target: str, as_json: bool) -> None:
    """Copy the store to TARGET, a folder or an address (s3://bucket/prefix, gs://...), while the loop goes on."""
    store, address = _opened(target)
    if address == hub.settings.store_address:
        raise click.ClickException(f"{address} is the store itself: name another place")
    if is_half_restored(hub.store):
        raise click.ClickException("the store is half restored: end that first, `labelloop restore` says how")
    with Bar(not as_json, "object") as bar:
        done = back_up(hub.store, store, bar)
    told = f"{address}: {done.objects} objects, {in_bytes(done.size)}; {done.skipped} were there already"
    show(as_json, _copied(done) | {"target": address}, [told])


@click.command()
@click.argument("source")
@json_option
@click.pass_obj
def restore(hub: Hub, source: str, as_json: bool) -> None:
    """Copy a backup from SOURCE, a folder or an address, into LABELLOOP_STORE, which is empty; end all processes first.

    What Redis knows of the projects is forgotten, and names of versions that were made after the backup are not given
    again, where Label Studio and Redis can be asked.
    """
    found, address = _opened(source)
    with Bar(not as_json, "object") as bar:
        done = restore_store(found, hub.store, address, bar)
    told = [f"{hub.settings.store_address}: {done.objects} objects, {in_bytes(done.size)}"]
    for project in done.projects:
        told += [f"{named_project(project)}: {line}" for line in _settled(hub, project)]
    show(as_json, _copied(done) | {"source": address, "told": told[1:]}, told)


def _copied(done: Copied) -> Json:
    return {
        "objects": done.objects,
        "bytes": done.size,
        "skipped": done.skipped,
        "projects": [str(project) for project in done.projects],
    }


def _settled(hub: Hub, project: ProjectKey) -> list[str]:
    """Let nothing of the store that was be mistaken for the restored one's; says what could not be seen to."""
    told = [f"champion {hub.pointer(project).read().champion or 'none'}"]
    try:
        hub.state(project).forget()
    except QueueError as error:
        told.append(f"begin with an empty Redis, for what it may know is younger ({error})")
    if project.model_run or hub.project(project.id) != project:
        return told
    try:
        with closing(Studio.of(hub.settings)) as studio:
            named = [name for name in studio.model_versions(project.id) if re.fullmatch(r"v[1-9]\d{0,8}", name)]
    except (StudioError, SettingsError) as error:
        told.append(
            f"Label Studio may have predictions of versions that were made after the backup ({error}): remove them "
            "before the next run, which gives their names again"
        )
    else:
        if named:
            hub.versions(project).skip(max(map(number_of, named)))
    return told


_UNREACHED = (
    "Label Studio itself: tasks, annotations, predictions and users are deleted there",
    "MODEL_DIR of other workers, web and inference processes: give this command there, or delete their cache",
    "memory: web processes keep predictions for LABELLOOP_CACHE_SECONDS",
    "backups, older versions of objects in a bucket that keeps them",
    "what was handed to a cloud (LABELLOOP_AWS_LOCATION, LABELLOOP_GOOGLE_FOLDER), a registry, MLflow, or Labelbox",
    "logs of endpoints, and of these processes",
)
"""What this command does not reach."""


@click.command()
@any_project_option
@click.option("--task", "tasks", type=click.IntRange(1), multiple=True, help="A task, by its number; may be repeated.")
@click.option("--annotator", help="All tasks that a user of Label Studio has annotated: e-mail address or number.")
@click.option(
    "--content", "contents", multiple=True, metavar="SHA256", help="A picture or text by its sha256; may be repeated."
)
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and which versions learned from it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def erase(
    ctx: click.Context,
    project_id: int,
    tasks: tuple[int, ...],
    annotator: str | None,
    contents: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase a person's data: tasks, pictures and texts, from store, Redis and this machine."""
    hub: Hub = ctx.obj
    if wrong := [one for one in contents if not is_sha256(one)]:
        raise click.UsageError(f"{wrong[0]!r} is no sha256: `sha256sum FILE` prints that of a picture")
    project = existing_project(hub, project_id)
    asked = {*tasks, *(_annotated_by(hub, project, annotator) if annotator else ())}
    if not asked and not contents:
        raise click.UsageError("name what is to be erased: --task, --annotator or --content")
    plan = plan_erasure(hub, project, asked, contents)
    lines = _erased(plan)
    if not dry_run:
        if not yes:
            click.echo("\n".join(lines), err=True)
            click.confirm("Erase this for good?", abort=True, err=True)
        with held(hub, project, "erase"):
            erase_plan(hub, plan)
    heading = "this would be erased:" if dry_run else "erased:"
    left = ["not reached by this command:", *(f"  {one}" for one in _UNREACHED)]
    show(
        as_json,
        plan.to_json() | {"dry_run": dry_run, "not_reached": list(_UNREACHED)},
        [heading, *lines, *_to_do(plan), *left],
    )


def _annotated_by(hub: Hub, project: ProjectKey, annotator: str) -> list[int]:
    if project.model_run:
        raise click.UsageError("a model run of Labelbox names no annotators: name its rows by --task")
    with closing(Studio.of(hub.settings)) as studio:
        people = studio.people()
        known = [number for number, mail in people.items() if annotator in (str(number), mail)]
        # Somebody whose account is gone is still the author of annotations.
        number = known[0] if known else int(annotator) if annotator.isdecimal() else 0
        if not number:
            raise click.ClickException(f"no user of Label Studio is called {annotator}: give the number, or --task")
        return list(studio.annotated_by(project.id, number))


def _erased(plan: ErasePlan) -> list[str]:
    told = [
        f"tasks: {shortened(sorted(plan.tasks))}" if plan.tasks else "",
        f"tasks that show the same: {shortened(plan.others)}" if plan.others else "",
        f"pictures and texts (sha256): {shortened(sorted(plan.contents))}" if plan.contents else "",
        f"lines of manifests: {sum(plan.manifests.values())} in {len(plan.manifests)}" if plan.manifests else "",
        f"reports and events of versions: {len(plan.objects)} objects" if plan.objects else "",
        f"features of what they show: {plan.features} rows" if plan.features else "",
        f"files of this machine: {plan.cached_files}, {in_bytes(sum(one.size for one in plan.cached))}"
        if plan.cached_files
        else "",
        "their places in the order of tasks, in samples for drift, and in counts of agreement",
    ]
    return [f"  {line}" for line in told if line]


def _to_do(plan: ErasePlan) -> list[str]:
    """Say what remains to be done by a person."""
    told = []
    if plan.versions:
        told.append(
            f"versions that learned from it, or were measured on it: {', '.join(plan.versions)}. Train without it "
            f"(`labelloop retrain --project {named_project(plan.project)} --force`), then `labelloop prune --keep 1`"
        )
    if plan.present:
        told.append(
            f"still in Label Studio: {shortened(plan.present)}. Delete them or their annotations there, and erase "
            "again: the next run reads them anew"
        )
    return told


def shortened(found: Sequence[object]) -> str:
    """Name the first of many."""
    named = ", ".join(map(str, found[:_NAMED]))
    return f"{named}, and {len(found) - _NAMED} more" if len(found) > _NAMED else named


def _planned(hub: Hub, project: ProjectKey, keep: int) -> Json:
    plan = plan_prune(hub.store, project, keep)
    gone = outdated_versions(hub, project, plan.versions)
    return _told(plan, _in_studio(lambda: sum(1 for _ in old_predictions(hub, project, gone))))


def _pruned(hub: Hub, project: ProjectKey, keep: int) -> Json:
    with held(hub, project, "prune") as lease, without_reports(hub, project, REPORT_SECONDS):
        plan = prune_project(hub, project, keep, lease.check)
    predictions = _in_studio(lambda: remove_predictions(hub, project)[0])
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
