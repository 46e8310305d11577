"""``labelloop report``: fetch a version's report from the store."""

from pathlib import Path

import click

from labelloop.loop.hub import Hub
from labelloop.models.champion import ChampionPointer
from labelloop.models.versions import Versions


@click.command()
@click.option("--project", "project_id", type=click.IntRange(1), required=True, help="Label Studio's project id.")
@click.option("--version", help="The version, for example v7; default: the champion.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it; default: report-VERSION.html."
)
@click.pass_obj
def report(hub: Hub, project_id: int, version: str | None, output: Path | None) -> None:
    """Write a version's report: one HTML file that needs no network."""
    project = hub.project(project_id)
    version = version or ChampionPointer(hub.store, project).read().champion
    if version is None:
        raise click.ClickException(f"project {project_id} has no version yet: `labelloop status` says what is missing")
    content = Versions(hub.store, project).read_report(version)
    target = output or Path(f"report-{version}.html")
    target.write_bytes(content)
    click.echo(f"report of {version}: {target}")
