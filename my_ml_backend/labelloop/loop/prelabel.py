"""Pre-annotation in bulk: a prediction for every task that waits for an annotator and has none of this version."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace

from labelloop.loop.bulk import predict_stream
from labelloop.loop.hub import Hub
from labelloop.loop.imports import Imports
from labelloop.loop.plan import plan_of
from labelloop.loop.predict import Found, note_versions
from labelloop.types import Progress, ProjectKey

_log = logging.getLogger(__name__)

_NOTED = 256
_REASONS = 3


@dataclass(frozen=True, slots=True)
class Prelabeled:
    """How many tasks have got a prediction, how many could not be given one, and why: the first few reasons."""

    predicted: int
    left_out: int
    reasons: tuple[str, ...] = ()


def prelabel(hub: Hub, project: ProjectKey, version: str, report: Progress, *, dry_run: bool = False) -> Prelabeled:
    """Give every unlabeled task a prediction of ``version``; repeating it adds nothing, annotations are not touched.

    Raises EndpointError when the endpoint fails as a whole, StudioError when Label Studio does; what was predicted
    before that is imported, and the next call goes on from there.
    """
    plan = plan_of(hub, project, hub.studio.project(project.id).label_config, version)
    total = hub.studio.count_unpredicted(project.id, version)
    report("tasks", 0, total)
    predicted = left_out = 0
    reasons: dict[str, None] = {}
    latest: list[Found] = []
    with nullcontext() if dry_run else Imports(hub, project) as imports:
        for task, found in predict_stream(plan, hub.studio.unpredicted_tasks(project.id, version)):
            if isinstance(found, dict):
                predicted += 1
                latest.append(found)
                if imports is not None:
                    imports.add(task["id"], found)
            else:
                left_out += 1
                if len(reasons) < _REASONS:
                    reasons[found.reason] = None
            if len(latest) >= _NOTED:
                plan, latest = replace(plan, version=note_versions(plan, latest)), []
            done = predicted + left_out
            report("tasks", done, total if done <= total else 0)
    note_versions(plan, latest)
    for reason in reasons:
        _log.warning("project %s: of %d tasks without a prediction of %s: %s", project, left_out, version, reason)
    return Prelabeled(predicted, left_out, tuple(reasons))
