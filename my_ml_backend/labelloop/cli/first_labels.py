"""Which tasks to label before a project's first version."""

import sys
from dataclasses import asdict

import click

from labelloop.cli.terminal import Bar, json_option, project_option, show
from labelloop.loop.first_labels import first_tasks
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import existing_project, site_of
from labelloop.studio.data_manager import MOST_IN_TAB

TAB = "First labels (LabelLoop)"


@click.command()
@project_option
@click.option("--top", type=click.IntRange(1, MOST_IN_TAB), default=100, show_default=True, help="At most so many.")
@click.option("--push", is_flag=True, help=f"Show exactly these tasks in the project's tab {TAB!r}.")
@json_option
@click.pass_obj
def first_labels(hub: Hub, project_id: int, top: int, push: bool, as_json: bool) -> None:
    """List the tasks to label before the first version: typical ones that differ, and some at random for the test."""
    project = existing_project(hub, project_id)
    try:
        with Bar(sys.stderr.isatty() and not as_json, "picture") as bar:
            found = first_tasks(hub, project, top, bar)
    except ImportError as error:
        raise click.ClickException(
            f"this machine has no {error.name}, by which tasks are compared: call it where the worker runs"
        ) from error
    told = asdict(found)
    chosen = f"{len(found.tasks)} of {found.compared} waiting tasks to label first"
    lines = [f"{chosen}, {found.held_out} of them at random: they are of the sides that are measured on"]
    lines += [f"{found.labeled} are labeled already; what is like them comes late"] if found.labeled else []
    lines += [f"{found.left_out} tasks could not be compared, or show what others do"] if found.left_out else []
    if push and found.tasks:
        told["tab"] = site_of(hub, project.id).show(TAB, found.tasks)
        lines.append(f"tab: {told['tab']}")
    else:
        lines.append(f"tasks: {', '.join(map(str, found.tasks)) or 'none'}")
    show(as_json, told, lines)
