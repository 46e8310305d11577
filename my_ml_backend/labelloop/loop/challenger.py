"""A project's challenger: a run of the recipes that its other runs leave to it, trained in the background.

It learns the labels of the last run and holds a lease of its own, so that other runs come and go meanwhile. Only when
it is trained does it take the project's lease and a fence, and meet whoever is champion then. Killed anywhere, it goes
on from its last checkpoint.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from labelloop.errors import Fenced, LeaseLost, NoSuchProject, TrainingError
from labelloop.loop.attempts import Attempt, note_failure, open_record
from labelloop.loop.challenger_outlook import ChallengerOutlook, decide_challenger
from labelloop.loop.chosen import with_chosen
from labelloop.loop.hub import Hub
from labelloop.loop.lease import ProgressReporter
from labelloop.loop.outlook import Situation, is_unfinished, situation
from labelloop.loop.project_labels import labeling_of, restore_labels
from labelloop.loop.project_registry import present_project
from labelloop.loop.report_writing import ask_for_report
from labelloop.loop.retrain import conclude, finish, make_bundle, open_run, require_trainable
from labelloop.loop.retrain_policy import RetrainPolicy
from labelloop.loop.training import begin
from labelloop.models.runs import RunRecord
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_WAITED_SECONDS = 60.0
"""How long a run that is in progress is waited for. After that other challengers come first, until it is over."""

_EVERY_SECONDS = 0.5

Holding = Callable[[], AbstractContextManager[ProgressReporter]]
"""Takes the project's lease; raises LeaseLost where somebody has it."""


def challenge(hub: Hub, project: ProjectKey, reporter: ProgressReporter, holding: Holding) -> str:
    """Begin the project's challenger, or go on with it, and say what came of it. The caller holds its lease.

    Raises what keeps it from being over; what is its own failure is in its record.
    """
    policy = RetrainPolicy.of(hub.settings)
    # The challenger at work is this job.
    stands = replace(situation(hub, project, policy, time.time()), challenging=False)
    if stands.challenger is not None and stands.challenger.is_left_over:
        stands = replace(stands, challenger=_wind_up(hub, project, stands.challenger))
    found = decide_challenger(policy, stands)
    if found is None or not found.is_now(stands.now):
        return f"no challenger is due: {found.why if found else 'its runs train all recipes'}"
    begun = stands.challenger if stands.challenger and is_unfinished(policy, stands.challenger) else None
    base = begun or stands.last
    assert base is not None  # noqa: S101 - without a run nothing is due
    attempt = _attempt(hub, project, base, reporter)
    require_trainable(attempt.settings, attempt.labeled.manifest.kind)
    record = _opened(attempt, stands, found)
    if record.is_left_over:
        # Made before, as an ordinary run.
        record = _wind_up(hub, project, record)
    if record.judged or record.state == "failed":
        return record.verdict or record.reason
    try:
        return _carry_out(attempt, record, holding)
    except (Fenced, LeaseLost, NoSuchProject):
        raise
    except Exception as error:
        stopped = note_failure(attempt, record.key, error)
        if stopped is not None and stopped.state == "failed":
            attempt.open_runs.close(record.key)
        raise


def _wind_up(hub: Hub, project: ProjectKey, record: RunRecord) -> RunRecord:
    """Do what is left to do of a challenger that was cut off after its verdict, and give its record."""
    hub.open_runs(project, challenger=True).close(record.key)
    # A person may have approved its version meanwhile.
    hub.runs(project).amend(record.key, lambda stands: replace(stands, stage="done"))
    ask_for_report(hub, project)
    return replace(record, stage="done")


def _attempt(hub: Hub, project: ProjectKey, base: RunRecord, reporter: ProgressReporter) -> Attempt:
    """Bring the labels onto this machine that it was begun with, or those of the last run."""
    reporter.stage("fetch")
    labeled, rename = restore_labels(hub, project, base.manifest, base.sides, reporter)
    # Not taken: a run that is in progress goes on. Records are in order by it.
    fence = max(hub.pointer(project).read().fence, base.fence)
    return Attempt(hub, project, fence, reporter, rename, with_chosen(hub, project, labeled), challenger=True)


def _opened(attempt: Attempt, stands: Situation, found: ChallengerOutlook) -> RunRecord:
    record = open_record(attempt, found.trigger, found.forced)
    if record.state == "running":
        if "labels" not in record.metrics and stands.last is not None:
            # Whatever becomes of it: by them the next one is called for.
            labels = stands.last.metrics.get("labels", 0)
            record = attempt.record = attempt.save(replace(record, metrics={**record.metrics, "labels": labels}))
        begin(attempt, record)
    return record


def _carry_out(attempt: Attempt, record: RunRecord, holding: Holding) -> str:
    _require_classes(attempt)
    run, own = open_run(attempt, record), attempt.reporter
    with run.alone():
        make_bundle(attempt, run, record.key)
    with ExitStack() as held:
        own.stage("wait")
        # With the seconds of its stages: from here on somebody else counts.
        record = attempt.record = attempt.save(attempt.record or record)
        attempt.reporter = _held(held, holding, own)
        _require_present(attempt)
        attempt.fence = attempt.hub.pointer(attempt.project).take_fence()
        _require_classes(attempt)
        run = open_run(attempt, record)
        with run.alone():
            run.make("register")
        record = finish(attempt, conclude(attempt, record.key))
    attempt.reporter = own
    return record.verdict


def _held(held: ExitStack, holding: Holding, own: ProgressReporter) -> ProgressReporter:
    """Hold the project until ``held`` ends, and give whom to tell of what is done in it. Raises LeaseLost."""
    late = time.monotonic() + _WAITED_SECONDS
    while True:
        try:
            return held.enter_context(holding())
        except LeaseLost:
            if time.monotonic() > late:
                raise
        own("the run in progress", 0, 0)
        time.sleep(_EVERY_SECONDS)


def _require_present(attempt: Attempt) -> None:
    """Raise NoSuchProject or LeaseLost where Label Studio has another project of that number by now."""
    place = present_project(attempt.hub, attempt.project)
    if place != attempt.project:
        raise LeaseLost(f"project {attempt.project.shown} lies in {place} by now")


def _require_classes(attempt: Attempt) -> None:
    """Raise TrainingError where annotators are asked something else by now than what it has learned."""
    manifest, asked = attempt.labeled.manifest, labeling_of(attempt.hub, attempt.project)
    learned = {attempt.rename(name) for name in manifest.classes}
    if (asked.kind, asked.choice, set(asked.classes)) != (manifest.kind, manifest.choice, learned):
        raise TrainingError("the classes have changed since it began; the next challenger learns the new ones")
