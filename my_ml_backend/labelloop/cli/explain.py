"""From one pre-annotation back to all that it came from: version, run, labels, people, packages."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict

import click

from labelloop.cli.projects import project_option
from labelloop.cli.terminal import Bar, json_option, show
from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.data.split import splits
from labelloop.errors import BundleError, Damaged, LabelConfigError, MediaError, NotFound, TrainingError
from labelloop.kinds.base import Learned, find
from labelloop.kinds.majority import chosen
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import subject_of
from labelloop.loop.project_labels import manifest_file
from labelloop.loop.project_registry import existing_project, site_of
from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord
from labelloop.studio.client import Studio
from labelloop.types import FIRST_LABELS, Item, Json, Progress, ProjectKey, Side

LEARNED: tuple[Side, ...] = ("train", "validation")
"""The sides that a version has learned from, when it is done."""

_SECONDS = 60.0
"""To read the task's file in."""


@click.command()
@project_option
@click.option("--task", type=click.IntRange(1), required=True, help="The task, by its number in Label Studio.")
@click.option("--version", help="Of which version's prediction; default: of the newest.")
@click.option("--top", type=click.IntRange(0, 100), default=5, show_default=True, help="So many nearest items.")
@json_option
@click.pass_obj
def explain(hub: Hub, project_id: int, task: int, version: str | None, top: int, as_json: bool) -> None:
    """Say where a task's pre-annotation comes from: version, run, labels, the nearest items and who labeled them."""
    project = existing_project(hub, project_id)
    with closing(Studio.of(hub.settings)) as studio:
        found = studio.task(project_id, task)
        if found is None:
            raise click.ClickException(f"project {project_id} has no task {task}")
        prediction = _prediction(found, version)
        name = str(prediction["model_version"])
        record = hub.versions(project).find(name)
        if record is None:
            told = f"{name} is no version of this project: an endpoint with a model of its own answered"
            if name == FIRST_LABELS:
                told = "it shows nothing: it only orders tasks before the first version"
            show(as_json, {"task": task, "prediction": prediction}, [_said(task, prediction), told])
            return
        run = hub.runs(project).get(record.run)
        with Bar(sys.stderr.isatty() and not as_json, find(run.kind).item if run else "item") as bar:
            nearest, why = _nearest(hub, project, found, record, run, top, bar)
        people = studio.annotators(project_id, [item.task for item, _ in nearest]) if nearest else {}
    lines = [_said(task, prediction), *_came_about(record, run), *_alike(nearest, why, people)]
    whole = {
        "task": task,
        "prediction": prediction,
        "version": asdict(record),
        "run": asdict(run) if run else None,
        "nearest": [
            {"task": item.task, "labels": item.labels, "similarity": alike, "labeled_by": people.get(item.task, [])}
            for item, alike in nearest
        ],
        "without_nearest": why,
    }
    show(as_json, whole, lines)


def _prediction(task: Json, version: str | None) -> Json:
    """Give the newest prediction of a task, or that of a version. Raises ClickException."""
    made = sorted(task.get("predictions") or [], key=lambda one: int(one["id"]))
    fitting = [one for one in made if version is None or one.get("model_version") == version]
    if fitting:
        found: Json = fitting[-1]
        return {name: found.get(name) for name in ("id", "model_version", "score", "result", "created_at")}
    known = ", ".join(dict.fromkeys(str(one.get("model_version")) for one in made))
    raise click.ClickException(
        f"task {task['id']} has no prediction of {version}: it has those of {known}"
        if known
        else f"task {task['id']} has no prediction yet"
    )


def _nearest(
    hub: Hub,
    project: ProjectKey,
    task: Json,
    record: VersionRecord,
    run: RunRecord | None,
    top: int,
    progress: Progress,
) -> tuple[Sequence[tuple[Item, float]], str]:
    """Find the items that a version has learned from and that are most like the task; or say why there are none."""
    if run is None or not top:
        return (), "" if run else "its run's record is gone, so what it learned from is not known"
    kind = find(run.kind)
    try:
        with manifest_file(hub, project, run.manifest) as file:
            manifest = Manifest.from_file(file)
        sides = splits(manifest)
        learned = [item for side in LEARNED for item in sides[side]]
        bundle = hub.versions(project).fetch_bundle(record.version, hub.settings.directory / "cache" / "bundles")
        known = Learned(learned, bundle, record.trained_with, hub.settings, hub.features(project))
        found = kind.nearest(_asked(hub, project, task), known, progress)
    except ImportError:
        return (), "this machine has no torch, by which items are compared: call it where the worker runs"
    except (MediaError, LabelConfigError, TrainingError, NotFound, Damaged, BundleError) as error:
        return (), str(error)
    there = f"none of the {len(learned)} {kind.item}s it learned from can be compared on this machine"
    return found[:top], "" if found else f"{there}: call it where the worker runs"


def _asked(hub: Hub, project: ProjectKey, task: Json) -> Item:
    """Bring the task's input onto this machine."""
    site = site_of(hub, project.id)
    given = site.interface(subject_of(hub, project)).input_of(task, time.monotonic() + _SECONDS, referable=False)
    if given.text is not None:
        return Item.of_text(int(task["id"]), given.text, ())
    cache = PictureCache(hub.settings.directory / "cache" / "pictures")
    return Item(int(task["id"]), cache.add(given.content), ())


def _said(task: int, prediction: Json) -> str:
    labels = ", ".join(chosen(one.get("value") for one in prediction["result"] or []))
    said = labels or f"{len(prediction['result'] or [])} results"
    return f"task {task}: {prediction['model_version']} says {said} (score {prediction['score'] or 0:.3f})"


def _came_about(record: VersionRecord, run: RunRecord | None) -> Iterator[str]:
    yield f"{record.version}: {record.verdict}"
    yield f"  made {record.created} by recipe {record.recipe}, after {record.parent or 'no other version'}"
    if run is not None:
        yield f"  run {run.key}, because of {run.trigger or 'a command'}, of the labels in manifest {run.manifest}"
    with_these = {name: value for name, value in record.trained_with.items() if value not in ("", (), [])}
    if with_these:
        yield "  with " + ", ".join(f"{name}={value}" for name, value in sorted(with_these.items()))
    if record.trained_by:
        yield "  by " + ", ".join(f"{name} {value}" for name, value in record.trained_by.items())


def _alike(nearest: Sequence[tuple[Item, float]], why: str, people: Mapping[int, Sequence[str]]) -> Iterator[str]:
    if why:
        yield f"nearest items: {why}"
        return
    yield "nearest items that it learned from:"
    for item, alike in nearest:
        by = ", ".join(people.get(item.task, [])) or "nobody any more"
        yield f"  task {item.task}: {', '.join(item.labels) or '(none)'}, similarity {alike:.3f}, labeled by {by}"
