"""``labelloop report``: fetch a version's report from the store."""

from collections.abc import Sequence
from pathlib import Path

import click

from labelloop.cli.border import STDOUT, write_output
from labelloop.loop.hub import Hub
from labelloop.loop.registry import existing_project, named_version
from labelloop.models.versions import Versions
from labelloop.types import ProjectKey


@click.command()
@click.option("--project", "project_id", type=click.IntRange(1), required=True, help="Label Studio's project id.")
@click.option("--version", help="The version, for example v7; default: the champion.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Where to write it, - for standard output; default: report-VERSION.html here, or else in MODEL_DIR/reports.",
)
@click.pass_obj
def report(hub: Hub, project_id: int, version: str | None, output: Path | None) -> None:
    """Write a version's report: one HTML file that needs no network."""
    project = existing_project(hub, project_id)
    version = named_version(hub, project, version)
    versions = Versions(hub.store, project)
    versions.get(version)  # one that does not exist has not lost its report
    content = versions.read_report(version)
    places = [output] if output else [Path(name := f"report-{version}.html"), _kept(hub, project) / name]
    target = _write(content, places)
    click.echo(f"report of {version}: {target}", err=target == STDOUT)


def _kept(hub: Hub, project: ProjectKey) -> Path:
    """Name the folder for reports where this one cannot be written, as in a container."""
    return hub.settings.directory / "reports" / str(project)


def _write(content: bytes, places: Sequence[Path]) -> Path:
    """Write to the first place that takes it, and give that. Raises ClickException."""
    for target in places:
        try:
            if target not in (STDOUT, places[0]):
                target.parent.mkdir(parents=True, exist_ok=True)
            write_output(target, content)
        except BrokenPipeError:
            raise
        except OSError as error:
            failed = f"{target} cannot be written ({error.strerror or error})"
        else:
            return target
    raise click.ClickException(f"{failed}. Name a file with --output FILE, or print the report with --output -")
