"""What each annotator of a project did: read from Label Studio when it is asked, and kept nowhere."""

from collections.abc import Mapping
from contextlib import closing

import click

from labelloop.cli.projects import project_option
from labelloop.cli.terminal import json_option, show
from labelloop.data.manifest import truth_by_task
from labelloop.errors import StoreError
from labelloop.loop.hub import Hub
from labelloop.loop.order import control_tasks
from labelloop.loop.project_endpoint import subject_of
from labelloop.loop.project_labels import manifest_file
from labelloop.loop.project_registry import existing_project, site_of
from labelloop.loop.standing import share
from labelloop.models.runs import DUE
from labelloop.studio.client import Studio
from labelloop.types import ProjectKey
from labelloop.watch.agreement import Annotator, by_annotator

_EVER = "1970-01-01T00:00:00.000000Z"


@click.command()
@project_option
@json_option
@click.pass_obj
def annotators(hub: Hub, project_id: int, as_json: bool) -> None:
    """Say for each annotator how often they keep predictions, how long they take, how many labels are suspected."""
    if not hub.settings.annotators:
        raise click.ClickException("LABELLOOP_ANNOTATORS is off: nobody's work is told apart from the others'")
    project = existing_project(hub, project_id)
    examined, suspects, why = _examined(hub, project)
    judged = site_of(hub, project_id).judged(_EVER, subject_of(hub, project))
    found = by_annotator(judged, control_tasks(hub.store, project), examined, suspects)
    with closing(Studio.of(hub.settings)) as studio:
        people = studio.people() if found else {}
    told = [{"annotator": _name(one, people)} | one.to_json() for one in found]
    lines = [line for one in found for line in _lines(one, people)] or ["nobody has annotated anything yet"]
    show(
        as_json, {"annotators": told, "without_suspected": why}, [*lines, f"suspected labels: {why}"] if why else lines
    )


def _examined(hub: Hub, project: ProjectKey) -> tuple[frozenset[int], frozenset[int], str]:
    """Give the tasks whose labels the champion's report examined, the suspects among them, or why there are none."""
    champion = hub.pointer(project).read().champion
    record = hub.versions(project).find(champion) if champion else None
    run = hub.runs(project).get(record.run) if record else None
    if run is None:
        return frozenset(), frozenset(), "not known before there is a champion and its report"
    if (errors := run.metrics.get("label_errors")) is None:
        why = "is being written" if run.report == DUE else "examined none"
        return frozenset(), frozenset(), f"not known: the report of {champion} {why}"
    try:
        with manifest_file(hub, project, run.manifest) as file:
            examined = frozenset(task for task, truth in truth_by_task(file) if truth is not None)
    except StoreError as error:
        return frozenset(), frozenset(), f"not known: {error}"
    return examined, frozenset(errors), ""


def _name(one: Annotator, people: Mapping[int, str]) -> str:
    return "not known" if one.number is None else people.get(one.number, f"user {one.number}")


def _lines(one: Annotator, people: Mapping[int, str]) -> list[str]:
    told = [f"{_name(one, people)}: {one.annotations} annotation{'' if one.annotations == 1 else 's'}"]
    if one.agreed.begun:
        told.append(f"  predictions kept: {share(one.agreed)}")
    if one.seconds is not None:
        told.append(f"  seconds, the median of {one.timed}: {one.seconds:.1f}")
    if one.suspected is not None:
        told.append(f"  labels that are probably wrong: {share(one.suspected)}")
    return told
