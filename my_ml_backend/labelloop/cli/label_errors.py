"""``labelloop label-errors``: labels that are probably wrong, as a list and as a tab in Label Studio."""

import sys
from contextlib import closing
from pathlib import Path

import click

from labelloop.cli.terminal import Bar, show
from labelloop.data.cache import PictureCache
from labelloop.errors import StoreError
from labelloop.kinds.image_classification.label_errors import examine_manifest, find_label_errors
from labelloop.loop.attempts import project_settings
from labelloop.loop.hub import Hub
from labelloop.loop.site import labeling_of, read_labels
from labelloop.models.bundle import read_bundle_info
from labelloop.models.champion import ChampionPointer
from labelloop.models.versions import Versions
from labelloop.run.context import Context, read_json
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import with_parameters
from labelloop.run.record import RunInfo
from labelloop.run.train_settings import recorded_settings, train_settings
from labelloop.studio.client import Studio
from labelloop.studio.data_manager import put_tab
from labelloop.types import Json, NetworkInfo, Progress, ProjectKey

TAB = "Label errors (LabelLoop)"
_MOST_IN_TAB = 500
"""Tasks of a tab: each is a filter of its own to Label Studio, and two queries on its database."""


@click.command()
@click.option("--project", "project_id", type=click.IntRange(1), help="Examine this project's annotations as they are.")
@click.option("--run", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Examine a run's manifest.")
@click.option("--top", type=click.IntRange(1, _MOST_IN_TAB), default=100, show_default=True, help="At most so many.")
@click.option("--push", is_flag=True, help=f"Show exactly these tasks in the project's tab {TAB!r}.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def label_errors(hub: Hub, project_id: int | None, run: Path | None, top: int, push: bool, as_json: bool) -> None:
    """List labels that a model which has not seen them confidently contradicts, most certain first."""
    if (project_id is None) == (run is None):
        raise click.UsageError("name either --project or --run")
    if push and project_id is None:
        raise click.UsageError("--push makes a tab of a project of Label Studio: name it with --project")
    with Bar(sys.stderr.isatty() and not as_json) as bar:
        found = _of_run(hub, run, bar) if run else _of_project(hub, hub.project(project_id or 0), bar)
    errors = found["errors"][:top]
    lines = [
        f"{len(found['errors'])} of {found['examined']} labels are probably wrong"
        + (f"; the first {top}:" if len(errors) < len(found["errors"]) else ":" if errors else "."),
        *(_line(one) for one in errors),
    ]
    if push:
        with closing(Studio.of(hub.settings)) as studio:
            found["tab"] = put_tab(studio.api, project_id or 0, TAB, [one["task"] for one in errors])
        lines.append(f"tab: {found['tab']}")
    show(as_json, found | {"errors": errors}, lines)


def _line(one: Json) -> str:
    given, suggested = (", ".join(one[key]) or "(none)" for key in ("given", "suggested"))
    return f"  task {one['task']}: {given} ({one['given_score']:.2f}) -> {suggested} ({one['score']:.2f})"


def _of_run(hub: Hub, run: Path, report: Progress) -> Json:
    """Read what the run's evaluation found, or examine its manifest now."""
    folder = RunFolder(run)
    done = folder.evaluation / "label_errors.json"
    if done.is_file():
        return read_json(done, "evaluate")
    info = RunInfo.read(folder)
    if info is None:
        raise StoreError(f"{run} is no run's folder: `labelloop train --run DIR` makes one")
    return find_label_errors(Context(folder, with_parameters(hub.settings, info.parameters), report))


def _of_project(hub: Hub, project: ProjectKey, report: Progress) -> Json:
    """Read the project's annotations as they are now, and examine them as its champion was trained.

    What the command's own environment says counts only before the first champion.
    """
    directory = hub.settings.directory
    pictures = PictureCache(directory / "cache" / "pictures")
    manifest = read_labels(hub, project, labeling_of(hub, project), report).manifest
    champion = ChampionPointer(hub.store, project).read().champion
    bundle, training = None, train_settings(project_settings(hub, project))
    if champion is not None:
        from labelloop.train.parity import WEIGHTS

        versions = Versions(hub.store, project)
        found = versions.fetch_bundle(champion, directory / "cache" / "bundles")
        info = read_bundle_info(found)
        # One that was adopted from an ONNX file has no weights to look through, one of another kind no network.
        if isinstance(info, NetworkInfo) and WEIGHTS in info.files:
            bundle, training = found, recorded_settings(versions.get(champion).trained_with, info)
    return examine_manifest(manifest, training, pictures, directory / "cache" / "train", bundle, report)
