"""``labelloop train`` and ``labelloop stage``: one run from a manifest, here or as a job in a cloud's container."""

import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labelloop.cli.terminal import Bar, json_option, show
from labelloop.errors import StudioAway
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import confirmed_project
from labelloop.models.headline import headline_told
from labelloop.run.container import find_container
from labelloop.run.folder import JUDGE, STAGES, RunFolder
from labelloop.settings import Settings
from labelloop.train.intervals import FEW, TOO_FEW
from labelloop.training_parameters import LOCATIONS, PARAMETERS, SEARCHED
from labelloop.types import Json

if TYPE_CHECKING:
    from labelloop.run.search.journal import Tried
    from labelloop.run.source import Source

_log = logging.getLogger(__name__)


LOCATION_HELP = {
    "train_location": "Labeled pictures or texts: a folder per class, a manifest, an export; a file, s3:// or gs://.",
    "validation_location": "What to validate on; default: some of what is trained with.",
    "test_location": "What to test on; default: some of what is trained with.",
    "format": "How the locations are read: auto, or a format of `labelloop manifest`.",
    "label_attribute": "The attribute, control tag or column of the labels.",
    "project_key": "Whose version it becomes, as instance/id; default: local/1.",
    "picture_field": "The field or the column of addresses or texts.",
    "separator": "What stands between labels in one cell of a table.",
    "classes": "The classes in their order, separated by commas; default: those of the labels.",
}


def _parameters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every parameter of a run; the command gets those given, as ``parameters``."""

    @wraps(command)
    def gathered(*args: Any, **options: Any) -> None:
        given = {name: options.pop(name) for name in (*LOCATIONS, *PARAMETERS)}
        command(*args, parameters={name: value for name, value in given.items() if value is not None}, **options)

    helps = {name: Settings.help_of(field) for name, field in PARAMETERS.items()}
    for name, text in reversed((LOCATION_HELP | helps).items()):
        gathered = click.option(f"--{name.replace('_', '-')}", name, help=text)(gathered)
    return gathered


_run = click.option(
    "--run",
    "run",
    type=click.Path(path_type=Path, file_okay=False),
    help="The run's folder; made where it is not there.",
)
_force = click.option("--force", is_flag=True, help="Promote the version whatever the gate says; recorded as forced.")


@click.command()
@_run
@_parameters
@click.option("--register/--no-register", "registers", default=None, help="Publish the version in the store.")
@_force
@click.pass_obj
def train(hub: Hub, run: Path | None, parameters: dict[str, str], registers: bool | None, force: bool) -> None:
    """Make one run: fetch, preprocess, train, evaluate, register, report.

    Called again, it goes on where it was interrupted. In a training container of SageMaker or Vertex AI, parameters,
    data and folders come from the cloud.
    """
    container = find_container(os.environ)
    if container is None:
        if run is None:
            raise click.UsageError("name the run's folder: --run DIR")
        _carry_out(hub, hub.settings, RunFolder(run), parameters, _stages(registers is not False), force)
        return
    from labelloop.run.context import picture_cache
    from labelloop.run.handed_over import mounted_source
    from labelloop.run.steps import telling, unpack_shards

    settings = hub.settings if container.work is None else replace(hub.settings, model_dir=str(container.work))
    folder = RunFolder(run or settings.directory / "run", container.checkpoints, container.events)
    given, stages = {**container.parameters, **parameters}, _stages(bool(registers))
    with telling(container.fail):
        container.check()
        location = given.get("train_location", "")
        if source := mounted_source(container, folder, location, picture_cache(settings)):
            _carry_out(hub, settings, folder, given, stages, force, source, archive=False, progress=container.told)
            container.leave(folder)
            return
        if container.run is not None and container.shards is not None:
            shutil.copytree(container.run, folder.path, dirs_exist_ok=True)
            unpack_shards(container.shards, picture_cache(settings))
            stages = ("train",)
        _carry_out(hub, settings, folder, given, stages, force, archive=container.run is None)
        container.deliver(folder)


@click.command()
@click.argument("name", type=click.Choice((*STAGES, JUDGE)))
@_run
@_parameters
@_force
@click.pass_obj
def stage(hub: Hub, name: str, run: Path | None, parameters: dict[str, str], force: bool) -> None:
    """Make one stage of a run; done before with the same inputs, it is not made again.

    Parameters are given to the first stage and kept with the run. After evaluate, judge and register the report is
    written. Judge says what register would decide, and publishes nothing. In a processing container of SageMaker the
    run's folder and its pictures are where the pipeline puts them.
    """
    from labelloop.run.context import picture_cache
    from labelloop.run.steps import find_step, telling

    stages = (name, "report") if name in ("evaluate", "judge", "register") else (name,)
    step = find_step(os.environ)
    if step is None:
        if run is None:
            raise click.UsageError("name the run's folder: --run DIR")
        _carry_out(hub, hub.settings, RunFolder(run), parameters, stages, force)
        return
    settings, folder = replace(hub.settings, model_dir=str(step.work)), RunFolder(run or step.run)
    with telling(step.tell):
        step.take(folder, picture_cache(settings))
        source = step.source(folder, parameters.get("train_location", "")) if name == "fetch" else None
        _carry_out(hub, settings, folder, parameters, stages, force, source, archive=False)
        step.leave(name, folder, picture_cache(settings))


def _stages(registers: bool) -> tuple[str, ...]:
    return tuple(name for name in STAGES if registers or name != "register")


def _carry_out(
    hub: Hub,
    settings: Settings,
    folder: RunFolder,
    given: dict[str, str],
    stages: tuple[str, ...],
    force: bool,
    source: "Source | None" = None,
    *,
    archive: bool = True,
    progress: Path | None = None,
) -> None:
    # Here, for what it needs takes a while to import.
    from labelloop.run.driver import Run
    from labelloop.run.handed_over import Progress

    with Bar(sys.stderr.isatty()) as bar:
        reporter = bar if progress is None else Progress(bar, progress)
        run = Run(folder, settings, given, reporter, source, archive=archive, opens=hub.reader)
        if set(stages) & {"fetch", "preprocess", "train"}:
            run.check()
        with run.alone():
            for name in stages:
                told = run.make(name, force=force)
                bar.clear()
                click.echo(f"{name}: {told}")
    if "report" not in stages:
        click.echo(f"run: {folder.path}")


_COMMON = tuple(name for name in PARAMETERS if name not in SEARCHED)
"""The parameters that all trials have in common; the others are searched."""

_LISTS = {how.option: how.help for how in SEARCHED.values()}
"""What may be searched otherwise than usual, each a list of values separated by commas."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command its lists, the data's locations, and the parameters that all trials share."""

    @wraps(command)
    def gathered(*args: Any, **options: Any) -> None:
        lists = {name: value for name in _LISTS if (value := options.pop(name)) is not None}
        given = {name: value for name in (*LOCATIONS, *_COMMON) if (value := options.pop(name)) is not None}
        command(*args, lists=lists, parameters=given, **options)

    helps = {name: Settings.help_of(PARAMETERS[name]) for name in _COMMON}
    for name, text in reversed((_LISTS | LOCATION_HELP | helps).items()):
        gathered = click.option(f"--{name.replace('_', '-')}", name, help=text)(gathered)
    return gathered


@click.command()
@click.option("--run", "run", type=click.Path(path_type=Path, file_okay=False), required=True, help="The run's folder.")
@_options
@click.option("--trials", default=20, show_default=True, type=click.IntRange(1), help="How many trials, in all.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Most minutes of this start.")
@click.option("--jobs", type=click.IntRange(1), help="Trials at a time; default: one for each GPU, else for each core.")
@click.option("--project", "project_id", type=click.IntRange(1), help="Keep the best values for this project's runs.")
@click.option("--test/--no-test", "tests", default=True, help="Train the winner and measure it on the test side.")
@json_option
@click.pass_obj
def search(
    hub: Hub,
    /,
    run: Path,
    trials: int,
    minutes: float | None,
    jobs: int | None,
    project_id: int | None,
    tests: bool,
    as_json: bool,
    **asked: Mapping[str, str],
) -> None:
    """Search for the best settings of a kind, such as model or learning rate, on the validation side.

    Called again, it goes on where it was interrupted, or makes more trials.
    """
    from labelloop.run.search.defaults import keep_defaults, kept
    from labelloop.run.search.leader import SearchBudget
    from labelloop.run.search.study import Search

    if project_id is not None:
        _require_project(hub, project_id)
    with Bar(not as_json and sys.stderr.isatty(), "trial") as bar:
        wanted = Search(
            folder=RunFolder(run),
            # What is tried are settings of our own training, whoever trains the project.
            settings=replace(hub.settings, trainer="local"),
            budget=SearchBudget(trials, None if minutes is None else minutes * 60),
            jobs=jobs,
            reporter=bar,
            opens=hub.reader,
            **asked,
        )
        found = wanted.search(lambda ended: bar(*_progress(ended, trials)))
        winner = wanted.winner(found)
        told = _told(found, winner)
        if project_id is not None:
            defaults = keep_defaults(hub.store, hub.project(project_id), found)
            told += _kept(kept(hub.settings, defaults.parameters), project_id)
        if tests and found["ended"] != "interrupted":
            found["test"] = wanted.test(winner)
            told.append(_measured(found["test"], found["item"]))
        bar.clear()
    show(as_json, {**found, "winner": str(winner.path)}, told)


def _progress(trials: "Sequence[Tried]", most: int) -> tuple[str, int, int]:
    """Say how far a search has come: the best figure, trials that have ended, trials in all."""
    ended = [one for one in trials if one.state in ("finished", "pruned", "failed")]
    best = max((one.accuracy for one in ended if one.state == "finished" and one.accuracy is not None), default=None)
    return "trials" if best is None else f"best {best:.3f}", len(ended), most


def _told(found: Json, winner: RunFolder) -> list[str]:
    best, judged = found["best"], f"{found['pictures']} validation {found['item']}s"
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count)
    return [
        f"{counts}; {found['ended']} after {found['seconds']:g} s, {found['trials_per_minute']:g} trials a minute",
        f"best: trial {best['number']}, {found['figure']} {best['accuracy']:.3f} on {judged}",
        *(f"  {name} {value}" for name, value in best["parameters"].items()),
        f"report: {winner.path.parent / 'search' / 'search.html'}",
        f"the winner's run: labelloop train --run {winner.path}",
    ]


def _require_project(hub: Hub, project: int) -> None:
    """Raise NoSuchProject before hours of work; a machine that cannot ask Label Studio believes what it is told."""
    if hub.settings.label_studio_api_key:
        with suppress(StudioAway):
            confirmed_project(hub, project)


def _kept(held: Mapping[str, str], project: int) -> list[str]:
    """Say that a project has new defaults, and which of them a setting goes before."""
    lines = [f"project {project} begins its next runs with these values"]
    return lines + [f"  but not its {name}: {variable} is set" for name, variable in held.items()]


def _measured(metrics: Json, item: str) -> str:
    few = f"; {TOO_FEW}" if metrics["items"] < FEW else ""
    return f"on the {metrics['items']} test {item}s: {headline_told(metrics)}{few}"
