"""Pre-annotation in bulk: a prediction for every task that waits for an annotator and has none of this version."""

import logging
from collections import Counter
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

from labelloop.errors import DeployError
from labelloop.loop.bulk import predict_stream
from labelloop.loop.hub import Hub
from labelloop.loop.imports import Imports
from labelloop.loop.predict import note_versions
from labelloop.loop.registry import site_of
from labelloop.loop.serving import plan_of, serving
from labelloop.types import Progress, ProjectKey

_log = logging.getLogger(__name__)

_NOTED = 256
"""Predictions after which an endpoint's version is noted: ``/setup`` is to report it before the last task is done."""

_REASONS = 3


@dataclass(frozen=True, slots=True)
class Prelabeled:
    """How many tasks have got a prediction, how many could not be given one, and why: the first few reasons."""

    predicted: int
    left_out: int
    reasons: tuple[str, ...] = ()


def prelabel(
    hub: Hub, project: ProjectKey, version: str | None, report: Progress, *, dry_run: bool = False
) -> Prelabeled:
    """Give every unlabeled task a prediction of ``version``; repeating it adds nothing, annotations are not touched.

    None: of the version that ``/setup`` answers, by whatever serves it. Where the endpoint is down, no other one is
    asked.

    Raises DeployError where the endpoint answers with another version, EndpointError when it fails as a whole,
    StudioError when Label Studio does; what was predicted before that is imported, and the next call goes on from
    there.
    """
    served = serving(hub, project, version)
    site = site_of(hub, project.id)
    plan = plan_of(hub, project, served, site.interface(trained=served.trained))
    version = served.version
    deployed = plan.deployment
    if deployed.brought and not deployed.serves(version):
        raise DeployError(
            f"project {project.id} cannot be pre-annotated with {version}: its endpoint answers as "
            f"{deployed.answers or 'no version of this project'}"
        )
    total = site.count_waiting(version)
    report("tasks", 0, total)
    predicted = left_out = 0
    reasons: dict[str, None] = {}
    latest: Counter[str] = Counter()
    # Closed first, whatever ends this: nothing is predicted any more while the rest is imported.
    with (
        nullcontext() if dry_run else Imports(site, project) as imports,
        closing(predict_stream(plan, site.waiting(version))) as stream,
    ):
        for task, found in stream:
            if isinstance(found, dict):
                if deployed.brought and found["model_version"] != version:
                    raise DeployError(
                        f"the endpoint answers as {found['model_version']}, and {version} is to serve there: have the "
                        "model name the version that it was deployed as, or none"
                    )
                predicted += 1
                latest[found["model_version"]] += 1
                if imports is not None:
                    imports.add(task["id"], found)
            else:
                left_out += 1
                if len(reasons) < _REASONS:
                    reasons[found.reason] = None
            # The first one too: when this is killed after an import, the next start has to know what was imported.
            if predicted == 1 or latest.total() >= _NOTED:
                plan, latest = replace(plan, version=note_versions(plan, latest.elements())), Counter()
            done = predicted + left_out
            report("tasks", done, total if done <= total else 0)
    note_versions(plan, latest.elements())
    for reason in reasons:
        _log.warning("project %s: of %d tasks without a prediction of %s: %s", project, left_out, version, reason)
    return Prelabeled(predicted, left_out, tuple(reasons))
