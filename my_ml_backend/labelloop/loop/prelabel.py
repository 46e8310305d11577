"""Pre-annotation in bulk: predictions of one version for every task that waits for an annotator and has none of it."""

import logging
import time
from dataclasses import dataclass

from labelloop.chunks import chunks
from labelloop.errors import EndpointError, StudioError
from labelloop.loop.hub import Hub
from labelloop.loop.predict import Unpredicted, predict_batch
from labelloop.studio.control import parse_control
from labelloop.types import Json, Progress, ProjectKey

_log = logging.getLogger(__name__)

_AT_ONCE = 256
"""Tasks predicted at a time: what bounds memory for their pictures."""

_SECONDS = 900.0
"""Seconds in which they are to be predicted. Nobody waits for them as for /predict."""

_PER_IMPORT = 5000
"""Predictions in one import: few large calls, for each costs as much as the project is large (contract, section 2)."""


@dataclass(frozen=True, slots=True)
class Prelabeled:
    """How many tasks have got a prediction, and how many could not be given one."""

    predicted: int
    left_out: int


def prelabel(hub: Hub, project: ProjectKey, version: str, report: Progress, *, dry_run: bool = False) -> Prelabeled:
    """Give every unlabeled task a prediction of ``version``; repeating it adds nothing, annotations are not touched.

    Raises EndpointError when the endpoint fails as a whole, StudioError when Label Studio does; what was imported
    before that stays, and the next call goes on from there.
    """
    info = hub.studio.project(project.id)
    control = parse_control(info.label_config)
    predicted = left_out = 0
    ready: list[Json] = []
    for tasks in chunks(hub.studio.unpredicted_tasks(project.id, version), _AT_ONCE):
        found = predict_batch(hub, project, control, tasks, version, time.monotonic() + _SECONDS)
        _raise_if_endpoint_failed(found)
        items = [
            {"task": task["id"], **item} for task, item in zip(tasks, found, strict=True) if isinstance(item, dict)
        ]
        left_out += len(tasks) - len(items)
        ready += items
        predicted += len(items)
        report("predictions", predicted + left_out, 0)
        if len(ready) >= _PER_IMPORT:
            _import(hub, project, version, ready, dry_run)
            ready = []
    _import(hub, project, version, ready, dry_run)
    if left_out:
        _log.warning("project %s: %d tasks could not be given a prediction of %s", project, left_out, version)
    return Prelabeled(predicted, left_out)


def _import(hub: Hub, project: ProjectKey, version: str, items: list[Json], dry_run: bool) -> None:
    """Import predictions; once more, without the tasks that are gone, when those made Label Studio refuse all."""
    if not items or dry_run:
        return
    try:
        hub.studio.import_predictions(project.id, items)
    except StudioError as error:
        given = {item["task"] for item in items}
        waiting = {task["id"] for task in hub.studio.unpredicted_tasks(project.id, version) if task["id"] in given}
        # When all of them still wait, something else is wrong, or Label Studio is still at it.
        if waiting == given:
            raise
        _log.warning("project %s: %d tasks wait no longer: %s", project, len(given - waiting), error)
        hub.studio.import_predictions(project.id, [item for item in items if item["task"] in waiting])


def _raise_if_endpoint_failed(found: list[Json | Unpredicted]) -> None:
    failed = [item for item in found if isinstance(item, Unpredicted) and item.endpoint]
    if failed:
        raise EndpointError(failed[0].reason)
