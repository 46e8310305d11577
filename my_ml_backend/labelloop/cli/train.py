"""``labelloop train`` and ``labelloop stage``: one run from a manifest, here or as a job in a cloud's container."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from labelloop.cli.terminal import Bar
from labelloop.errors import LabelLoopError
from labelloop.loop.hub import Hub
from labelloop.run.container import find_container
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import LOCATIONS, PARAMETERS
from labelloop.run.stages import STAGES
from labelloop.settings import Settings

_log = logging.getLogger(__name__)

LOCATION_HELP = {
    "train_location": "Labeled pictures: a folder per class, a manifest, an export; a file, s3:// or gs://.",
    "validation_location": "Pictures to validate on; default: some of the training pictures.",
    "test_location": "Pictures to test on; default: some of the training pictures.",
    "format": "How the locations are read: auto, or a format of `labelloop manifest`.",
    "label_attribute": "The label's name in a manifest that has several.",
    "project_key": "Whose version it becomes, as instance/id; default: local/1.",
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
    settings = hub.settings if container.work is None else replace(hub.settings, model_dir=str(container.work))
    folder = RunFolder(run or settings.directory / "run", container.checkpoints, container.events)
    try:
        container.check()
        _carry_out(hub, settings, folder, {**container.parameters, **parameters}, _stages(bool(registers)), force)
        container.deliver(folder)
    except LabelLoopError as error:
        container.fail(str(error))
        raise
    except Exception as error:
        container.fail(f"{type(error).__name__}: {error}")
        raise


@click.command()
@click.argument("name", type=click.Choice(STAGES))
@_run
@_parameters
@_force
@click.pass_obj
def stage(hub: Hub, name: str, run: Path | None, parameters: dict[str, str], force: bool) -> None:
    """Make one stage of a run; done before with the same inputs, it is not made again.

    Parameters are given to the first stage and kept with the run. After evaluate and register the report is written.
    """
    if run is None:
        raise click.UsageError("name the run's folder: --run DIR")
    stages = (name, "report") if name in ("evaluate", "register") else (name,)
    _carry_out(hub, hub.settings, RunFolder(run), parameters, stages, force)


def _stages(registers: bool) -> tuple[str, ...]:
    return tuple(name for name in STAGES if registers or name != "register")


def _carry_out(
    hub: Hub, settings: Settings, folder: RunFolder, given: dict[str, str], stages: tuple[str, ...], force: bool
) -> None:
    # Here, for what it needs takes a while to import.
    from labelloop.run.driver import Run

    with Bar(sys.stderr.isatty()) as bar:
        run = Run(folder, settings, given, bar, opens=hub.reader)
        if set(stages) & {"fetch", "preprocess", "train"}:
            run.check()
        with run.alone():
            for name in stages:
                told = run.make(name, force=force)
                bar.clear()
                click.echo(f"{name}: {told}")
    if "report" not in stages:
        click.echo(f"run: {folder.path}")
