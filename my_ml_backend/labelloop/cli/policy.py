"""When a project is trained: its policy, what another one would have done, pause and resume."""

import getpass
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime

import click

from labelloop.cli.projects import any_project_option, project_option
from labelloop.cli.terminal import json_option, show
from labelloop.errors import QueueError
from labelloop.loop.hub import Hub
from labelloop.loop.outlook import decide, situation
from labelloop.loop.process import named_project
from labelloop.loop.project_registry import existing_project, site_of
from labelloop.loop.replay import Began, Happened, Replay, changes_of, seconds_of
from labelloop.loop.retrain_policy import RetrainPolicy, duration
from labelloop.types import Json, ProjectKey

_RUN_SECONDS = 60.0
"""How long a replayed run takes where none of the project's has come to a verdict yet."""

_SECONDS, _COUNT = click.FloatRange(0), click.IntRange(0)


@click.command()
@project_option
@click.option("--replay", is_flag=True, help="Say when it would have trained, by the project's own history.")
@click.option("--retrain-after", type=click.IntRange(1), help="Changed labels that call for a run.")
@click.option("--quiet", type=_SECONDS, help="Seconds without a change before a run begins.")
@click.option("--max-wait", type=click.FloatRange(1), help="Seconds after which any change calls for a run.")
@click.option("--min-labels", type=_COUNT, help="Labels that the first version needs.")
@click.option("--cool-down", type=_SECONDS, help="Seconds after a run in which none begins.")
@click.option("--runs-a-day", type=_COUNT, help="Runs in 24 hours; 0: any.")
@click.option("--training-seconds-a-day", type=_SECONDS, help="Seconds of training in 24 hours; 0: any.")
@click.option("--run-seconds", type=_SECONDS, help="How long a run takes; default: the median of the project's.")
@json_option
@click.pass_obj
def policy(
    hub: Hub, /, project_id: int, replay: bool, run_seconds: float | None, as_json: bool, **other: float | None
) -> None:
    """Show the policy of a project's worker; with --replay, when it, or another one, would have trained."""
    given = {name: value for name, value in other.items() if value is not None}
    if not replay and (given or run_seconds is not None):
        raise click.UsageError("other settings are tried on the project's history: add --replay")
    project = existing_project(hub, project_id)
    rule = replace(_noted(hub, project), **given)  # type: ignore[arg-type]
    if not replay:
        _show_policy(hub, project, rule, as_json=as_json)
        return
    records = hub.runs(project).all()
    usual, imports = seconds_of(records, _RUN_SECONDS)
    going = Replay(rule, usual if run_seconds is None else run_seconds, imports)
    found = going.runs(changes_of(site_of(hub, project.id).history()), records, time.time())
    value = _told(going, rule, found, quiet=as_json)
    show(as_json, value, _summed_up(going, value))


def _noted(hub: Hub, project: ProjectKey) -> RetrainPolicy:
    """Read the worker's policy; without Redis that of the settings."""
    try:
        return hub.state(project).policy()
    except QueueError:
        return RetrainPolicy.of(hub.settings)


def _show_policy(hub: Hub, project: ProjectKey, rule: RetrainPolicy, *, as_json: bool) -> None:
    now = time.time()
    try:
        found = decide(rule, situation(hub, project, rule, now))
    except QueueError as error:
        show(as_json, {"policy": asdict(rule), "outlook": None}, [*_rules(rule), str(error)])
        return
    show(as_json, {"policy": asdict(rule), "outlook": asdict(found)}, [*_rules(rule), f"next: {found.told(now)}"])


def _rules(rule: RetrainPolicy) -> list[str]:
    """Say a policy, a line for each of its rules."""
    told = [
        f"a run after {rule.retrain_after} changed labels and {duration(rule.quiet)} without another",
        f"or {duration(rule.max_wait)} after the first change; the first version needs {rule.min_labels} labels",
        f"none within {duration(rule.cool_down)} after the last one" if rule.cool_down else "",
        f"{rule.runs_a_day} in 24 hours at most" if rule.runs_a_day else "",
        f"{duration(rule.training_seconds_a_day)} of training in 24 hours" if rule.training_seconds_a_day else "",
    ]
    return [line for line in told if line]


def _told(going: Replay, rule: RetrainPolicy, found: Iterator[Began | Happened], *, quiet: bool) -> Json:
    """Tell what would have happened, and what did, line by line as it is found; gives both."""
    would: list[Json] = []
    did: list[Json] = []
    if not quiet:
        click.echo("\n".join(_rules(rule)))
    for one in found:
        moment = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        (would if isinstance(one, Began) else did).append({"moment": moment, **asdict(one)})
        if not quiet:
            click.echo(f"{moment}  {_line(one)}")
    return {
        "policy": asdict(rule),
        "run_seconds": going.run_seconds,
        "changes": going.changes,
        "labeled": going.labeled,
        "would_have_begun": would,
        "began": did,
        "longest_wait": max((one["waited"] for one in would), default=0.0),
    }


def _line(one: Began | Happened) -> str:
    if isinstance(one, Began):
        return f"would train  {one.changed} changed labels, {one.labeled} labeled tasks; {one.why}"
    version = f" {one.version}" if one.version else ""
    return f"trained      run {one.key} {one.state}{version}, {one.labeled} labeled tasks; {one.trigger}"


def _summed_up(going: Replay, value: Json) -> list[str]:
    would, did = value["would_have_begun"], value["began"]
    wait = f"; a label waited for {duration(value['longest_wait'])} at most" if would else ""
    gone_through = f"{going.changes} changes of {going.labeled} tasks, runs of {duration(going.run_seconds)}"
    return [f"{gone_through}; runs by this policy: {len(would)}, real ones: {len(did)}{wait}"]


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
