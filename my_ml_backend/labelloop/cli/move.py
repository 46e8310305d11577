"""``labelloop move``: let a project take over what the store holds of another one."""

import sys
from dataclasses import asdict

import click

from labelloop.cli.terminal import Bar, show
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.registry import existing_project
from labelloop.models.takeover import plan_takeover, take_over
from labelloop.types import ProjectKey


class _Folder(click.ParamType[ProjectKey]):
    """A folder of the store, as ``labelloop status`` names it."""

    name = "folder"

    def convert(self, value: str | ProjectKey, param: click.Parameter | None, ctx: click.Context | None) -> ProjectKey:
        """Read ``instance/id``."""
        try:
            return value if isinstance(value, ProjectKey) else ProjectKey.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--project", "project_id", type=click.IntRange(1), required=True, help="Label Studio's project id.")
@click.option("--from", "source", type=_Folder(), required=True, help="The folder to take over: localhost-8080/7.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken over, and leave all as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def move(hub: Hub, project_id: int, source: ProjectKey, dry_run: bool, as_json: bool) -> None:
    """Let a project without versions take over those of another: of an export, or of an address that is gone."""
    target = existing_project(hub, project_id)
    plan = plan_takeover(hub.store, hub.projects, source, target)
    if not dry_run:
        with (
            Lease(hub, target),
            Lease(hub, source),
            Bar(sys.stderr.isatty() and not as_json, "object") as bar,
        ):
            take_over(hub.store, hub.projects, plan, bar)
    verb = "would take over" if dry_run else "has taken over"
    champion = f"champion {plan.champion}" if plan.champion else "no champion"
    counted = f"{len(plan.versions)} versions of {source}, {champion}: {len(plan.objects)} objects"
    lines = [f"project {project_id} ({target}) {verb} {counted}", f"{source} stays as it is"]
    if plan.champion and not dry_run:
        lines.append(f"{plan.champion} is announced after the next sweep, with predictions of the tasks that wait")
    told = asdict(plan) | {"source": str(source), "target": str(target), "dry_run": dry_run}
    show(as_json, told | {"objects": len(plan.objects)}, lines)
