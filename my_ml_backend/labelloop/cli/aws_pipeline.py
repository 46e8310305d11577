"""``labelloop aws pipeline``: its definition brought to SageMaker, executions begun, watched and ended."""

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from labelloop.cli.terminal import Bar, json_option, show
from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.applying import CREATED, apply, checked_parameters
from labelloop.cloud.aws.checks import require_valid
from labelloop.cloud.aws.executions import RUNNING, Execution, Pipeline, Step
from labelloop.cloud.aws.groups import registry_prefix, require_group
from labelloop.cloud.aws.hosting import seconds
from labelloop.cloud.aws.objects import location_of
from labelloop.cloud.aws.pipeline import definition, to_text
from labelloop.cloud.aws.pipeline_plan import GROUP, LONGEST, NOBODY, PipelinePlan, parameters_of_run, plan_of
from labelloop.cloud.names import group_of
from labelloop.errors import CloudError, CloudMissing
from labelloop.loop.hub import Hub
from labelloop.models.runs import ProjectDefaults
from labelloop.run.parameters import parameters_of
from labelloop.run.record import commit
from labelloop.run.search.defaults import with_defaults
from labelloop.trainers.sagemaker import PipelineAddress
from labelloop.training_parameters import PARAMETERS
from labelloop.types import Json

_USUAL_NAME = "labelloop"

pipeline = click.Group("pipeline", help="The SageMaker pipeline that fetches, trains, judges and registers.")


def _named(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --name and --region; without them those of LABELLOOP_TRAINER, then the usual ones."""

    @wraps(command)
    def gathered(hub: Hub, name: str | None, region: str | None, **options: Any) -> None:
        usual = PipelineAddress.of(hub.settings) or PipelineAddress(_USUAL_NAME)
        command(hub, name=name or usual.name, region=region or usual.region, **options)

    gathered = click.option("--region", help="Region; default: that of LABELLOOP_TRAINER, else of AWS_DEFAULT_REGION.")(
        gathered
    )
    return click.option("--name", help="The pipeline; default: that of LABELLOOP_TRAINER, else labelloop.")(gathered)


def _pairs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    if wrong := next((one for one, mark, _ in pairs if not (one and mark)), None):
        raise click.BadParameter(f"{wrong!r} is no Name=value, such as BatchSize=64")
    return {name: value for name, _, value in pairs}


_parameters = click.option(
    "--parameter", "parameters", multiple=True, callback=_pairs, help="A parameter, as Name=value; may be repeated."
)
_execution = click.option("--execution", help="The execution's id or display name; default: the newest.")


def _planned(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what a pipeline is made of."""
    options = (
        _parameters,
        click.option("--project", "project_id", type=click.IntRange(1), help="Take what a search found for a project."),
        click.option("--spot/--no-spot", help="Train on spare capacity, which may be taken away; it goes on then."),
        click.option("--disk-gb", default=50, show_default=True, type=click.IntRange(1, 16384), help="Of an instance."),
        click.option(
            "--train-hours", default=24, show_default=True, type=click.IntRange(1, LONGEST // 3600), help="Of training."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@pipeline.command("print")
@_planned
@click.pass_obj
@_named
def show_definition(hub: Hub, name: str, region: str, **choices: Any) -> None:
    """Print the pipeline's definition as JSON; nobody is asked."""
    made = definition(_plan(hub, name, region, **choices))
    _warn(require_valid(made))
    click.echo(to_text(made))


@pipeline.command("apply")
@_planned
@click.pass_obj
@_named
def apply_definition(hub: Hub, name: str, region: str, **choices: Any) -> None:
    """Create the pipeline, or update it, and say what changed. Called again, it changes nothing."""
    trainer = PipelineAddress.of(hub.settings)
    if trainer is not None and trainer.name == name and not trainer.ours:
        raise click.ClickException(
            f"pipeline {name} is somebody else's, as LABELLOOP_TRAINER says (manifest=): it would be replaced by ours. "
            "Give ours another --name"
        )
    account = Account(region)
    plan = _plan(hub, name, account.region, **choices)
    _warn(require_valid(definition(plan)))
    changes = apply(account, plan)
    require_group(account, plan.values.get(GROUP, name))
    what = "as it should be" if not changes else "created" if changes == [CREATED] else "updated"
    click.echo(f"pipeline {name} in {account.region}: {what}")
    for change in changes if what == "updated" else ():
        click.echo(f"  {change}")


@pipeline.command()
@_parameters
@click.option("--key", help="Display name of the execution; one of that name that is running is not started again.")
@click.option("--wait/--no-wait", default=True, help="Follow it to its end; default: --wait.")
@json_option
@click.pass_obj
@_named
def start(
    hub: Hub, name: str, region: str, parameters: Mapping[str, str], key: str | None, wait: bool, as_json: bool
) -> None:
    """Start an execution of the pipeline."""
    chosen = Pipeline(Account(region), name)
    found = chosen.find(key) if key else None
    if found is None or found.status not in RUNNING:
        label = key or f"by-hand-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        values = checked_parameters(chosen, parameters)
        if GROUP in values:
            require_group(chosen.account, values[GROUP])
        found = chosen.start(label, values)
    if not as_json:
        click.echo(f"execution {found.name} ({found.id}) of pipeline {name}")
    if wait:
        found = _followed(chosen, found, hub.settings.poll_seconds, quiet=as_json)
    _show(chosen, found, as_json)
    if wait and found.status != "Succeeded":
        raise CloudError(f"execution {found.name} of pipeline {name} has ended: {found.status}")


@pipeline.command()
@_execution
@json_option
@click.pass_obj
@_named
def status(hub: Hub, name: str, region: str, execution: str | None, as_json: bool) -> None:  # noqa: ARG001
    """Show an execution: its steps, how long they took, why one failed, and where its log is."""
    chosen = Pipeline(Account(region), name)
    _show(chosen, _found(chosen, execution), as_json)


@pipeline.command()
@_execution
@click.pass_obj
@_named
def stop(hub: Hub, name: str, region: str, execution: str | None) -> None:  # noqa: ARG001
    """End an execution, the newest or the one named; one that has ended stays as it is."""
    chosen = Pipeline(Account(region), name)
    found = _found(chosen, execution)
    chosen.stop(found.arn)
    was = "is stopped" if found.status in RUNNING else f"has ended before: {found.status}"
    click.echo(f"execution {found.name} of pipeline {name} {was}")


def _plan(
    hub: Hub,
    name: str,
    region: str,
    *,
    parameters: Mapping[str, str],
    project_id: int | None,
    spot: bool,
    disk_gb: int,
    train_hours: int,
) -> PipelinePlan:
    settings = hub.settings
    project = None if project_id is None else hub.project(project_id)
    searched = {} if project is None else ProjectDefaults(hub.store, project).read().parameters
    training = with_defaults(settings, searched)
    values = parameters_of_run(parameters_of(training, tuple(PARAMETERS.values())))
    values |= {"Location": location_of(settings), "MinimumF1": str(settings.minimum_f1), "CommitId": commit() or NOBODY}
    values["ApprovalStatus"] = "PendingManualApproval" if settings.approval == "manual" else "Approved"
    if project is not None:
        values |= {"ProjectKey": str(project), GROUP: group_of(registry_prefix(settings) or name, project)}
    choices = {"spot": spot, "disk": disk_gb, "seconds": train_hours * 3600}
    return plan_of(settings, name, region, values={**values, **parameters}, **choices)


def _warn(warnings: list[str]) -> None:
    for one in warnings:
        click.echo(f"warning: {one}", err=True)


def _found(chosen: Pipeline, execution: str | None) -> Execution:
    """Find an execution by id or display name, without either the newest; raises CloudMissing."""
    found = next((one for one in chosen.executions() if execution in (None, one.id, one.name)), None)
    if found is None:
        what = f"no execution {execution}" if execution else "no execution yet: labelloop aws pipeline start"
        raise CloudMissing(f"pipeline {chosen.name} has {what}")
    return chosen.look(found.arn)


def _followed(chosen: Pipeline, found: Execution, seconds: float, *, quiet: bool) -> Execution:
    """Show how an execution comes along until it has ended."""
    with Bar(not quiet and sys.stderr.isatty()) as bar:
        while (found := chosen.look(found.arn)).status in RUNNING:
            steps = chosen.steps(found.arn)
            under_way = [one.name for one in steps if one.status in ("Starting", "Executing", "Stopping")]
            bar(", ".join(under_way) or found.status, sum(one.status == "Succeeded" for one in steps), _STEPS)
            time.sleep(seconds)
    return found


_STEPS = 7
"""Steps of an execution that are seen: those of the definition, and one of the two that register."""


def _show(chosen: Pipeline, found: Execution, as_json: bool) -> None:
    steps = [_told(one) for one in chosen.steps(found.arn)]
    value = {
        "pipeline": chosen.name,
        "execution": found.id,
        "name": found.name,
        "status": found.status,
        "reason": found.reason,
        "started": seconds(found.started),
        "steps": steps,
    }
    lines = [f"execution {found.name} ({found.id}): {found.status}{f': {found.reason}' if found.reason else ''}"]
    width = max((len(one["name"]) for one in steps), default=0)
    for one in steps:
        lines.append(f"  {one['name']:<{width}}  {one['status']:<9}  {_lasted(one)}  {one['made']}".rstrip())
        lines += [f"  {'':<{width}}  {text}" for text in (one["reason"], one["log"]) if text]
    show(as_json, value, lines)


def _told(step: Step) -> Json:
    """Say all of a step that a person may want to know; its log where it went wrong or goes on."""
    package = (step.metadata or {}).get("RegisterModel", {}).get("Arn", "")
    return {
        "name": step.name,
        "status": step.status,
        "reason": step.reason,
        "started": seconds(step.started),
        "ended": seconds(step.ended),
        "log": step.log if step.status != "Succeeded" else "",
        "made": package.rpartition("model-package/")[2],
    }


def _lasted(step: Json) -> str:
    if not step["started"]:
        return ""
    until = datetime.fromisoformat(step["ended"]) if step["ended"] else datetime.now(UTC)
    minutes, rest = divmod(int((until - datetime.fromisoformat(step["started"])).total_seconds()), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
