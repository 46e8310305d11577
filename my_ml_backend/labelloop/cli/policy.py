"""When a project is trained: pause and resume."""

import getpass
import time

import click

from labelloop.cli.projects import any_project_option, named_project
from labelloop.cli.terminal import json_option, show
from labelloop.errors import QueueError
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import existing_project
from labelloop.types import ProjectKey


def _user() -> str:
    """Name who gives the command; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "somebody"


@click.command()
@any_project_option
@click.option("--reason", default="", help="Why, for whoever asks how the project stands.")
@click.option("--by", default=None, help="Who pauses it; default: this user.")
@json_option
@click.pass_obj
def pause(hub: Hub, project_id: int, reason: str, by: str | None, as_json: bool) -> None:
    """Begin no more runs for a project until `labelloop resume`; it goes on predicting and noting changed labels."""
    project = existing_project(hub, project_id)
    found = hub.pauses(project).begin(by or _user(), reason)
    told = [f"project {named_project(project)} is {found}"]
    if opened := hub.open_runs(project).read():
        told.append(f"run {opened.key} is open and goes on to its end; `labelloop cancel` ends it")
    value = {"project": named_project(project), "by": found.by, "reason": found.reason, "since": found.since}
    show(as_json, value, told)


@click.command()
@any_project_option
@json_option
@click.pass_obj
def resume(hub: Hub, project_id: int, as_json: bool) -> None:
    """Let a paused project be trained again: what its labels call for by now begins at once."""
    project = existing_project(hub, project_id)
    found = hub.pauses(project).end()
    named = named_project(project)
    told = f"project {named} goes on; it was {found}" if found else f"project {named} is not paused"
    show(as_json, {"project": named, "was_paused": found is not None}, [told, *_look_now(hub, project)])


def _look_now(hub: Hub, project: ProjectKey) -> list[str]:
    """Have a worker look at what is due; without Redis the next sweep does."""
    try:
        hub.queue(project).consider(time.time())
    except QueueError as error:
        return [f"what is due is found by the next sweep: {error}"]
    return []
