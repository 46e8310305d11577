"""One run of the loop: lease, fence, the run, and what follows: pre-annotate, announce, ask for the report.

Every stage may be killed. A run is named by its manifest, settings and seed; started again under that name it finds
what it has done already (docs/versions.md) and goes on from there. Kills and outages are not held against it.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from labelloop.data.labeling import Labeling
from labelloop.data.split import missing
from labelloop.errors import (
    Conflict,
    Fenced,
    LeaseLost,
    MediaError,
    NotEnoughLabels,
    SettingsError,
    TrainingError,
)
from labelloop.kinds.base import LAST_LAYER, find
from labelloop.loop import deploy
from labelloop.loop.attempts import (
    Attempt,
    new_record,
    note_failure,
    open_record,
    project_settings,
    take_up,
    with_place,
)
from labelloop.loop.chosen import with_chosen
from labelloop.loop.endpoint_features import features_of, look_at_features
from labelloop.loop.hub import Hub
from labelloop.loop.lease import ProgressReporter
from labelloop.loop.order import arms
from labelloop.loop.project_endpoint import learn_unknown, require_learning, require_served, require_unpaused
from labelloop.loop.project_labels import (
    keep_manifest,
    keep_manifest_here,
    keep_sides,
    labeling_of,
    renderer,
    restore_labels,
    unread,
)
from labelloop.loop.project_registry import site_of
from labelloop.loop.reading import keep_reading, read_current
from labelloop.loop.report_writing import ask_for_report
from labelloop.loop.startup import trains_here
from labelloop.loop.state import Seen
from labelloop.loop.training import begin, end, is_trained, open_elsewhere
from labelloop.loop.waiting_tasks import EarlyLook
from labelloop.models.open_run import OpenRun
from labelloop.models.runs import RunRecord, manifest_path
from labelloop.run.context import Context
from labelloop.run.driver import Run
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import parameters_of
from labelloop.settings import Settings
from labelloop.sources.urls import local_file
from labelloop.tracing import note_doing
from labelloop.trainers.foreign import learner
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def retrain(
    hub: Hub, project: ProjectKey, trigger: str, reporter: ProgressReporter, *, force: bool = False
) -> RunRecord:
    """Make one run and return its record, also when it was made before. The caller holds the project's lease.

    Raises NotEnoughLabels with what is missing, SettingsError for settings that no run could be made with,
    LabelConfigError for a project that nothing can be learned of, ProjectPaused and NoSuchProject, all before anything
    is written; any other failure is in the run's record when there is one already.
    """
    with hub.state(project).begun(trigger, force):
        refuse_paused(hub, project)
        learn_unknown(hub, project)
        require_learning(hub, project)
        if opened := open_elsewhere(hub, project):
            raise LeaseLost(f"run {opened.key} is being trained elsewhere: another one follows it")
        settings, labeling = project_settings(hub, project), labeling_of(hub, project)
        hub.state(project).note("learns", labeling.told)
        require_trainable(settings, labeling.kind)
        require_served(hub, project, find(labeling.kind))
        fence = hub.pointer(project).take_fence()
        attempt, record = _begin(hub, project, labeling, fence, trigger, reporter, force)
    return _go_on(attempt, record)


def refuse_paused(hub: Hub, project: ProjectKey) -> None:
    """Raise ProjectPaused where a person has paused the project, unless a run is open that goes on."""
    last = hub.runs(project).latest()
    if (last is None or last.state != "running") and hub.open_runs(project).read() is None:
        require_unpaused(hub, project)


def resume(hub: Hub, project: ProjectKey, reporter: ProgressReporter) -> RunRecord | None:
    """Go on with the run whose training is elsewhere, as far as that has come, and return its record; None for none.

    It is made of the labels it was begun with, whatever has changed since. Raises as ``retrain``.
    """
    opened = open_elsewhere(hub, project)
    if opened is None:
        return None
    fence = hub.pointer(project).take_fence()
    hub.open_runs(project).begin(replace(opened, fence=fence))
    record = hub.runs(project).find(opened.key)
    if record is not None:
        note_doing(trace=record.trace)
        record = take_up(hub, project, record, fence)
        _refuse_failed(hub, project, record)
    attempt = _taken_up(hub, project, opened, fence, reporter)
    attempt.record = record or new_record(attempt, opened.key, "the open run", force=False)
    return _go_on(attempt, attempt.record)


def _taken_up(hub: Hub, project: ProjectKey, opened: OpenRun, fence: int, reporter: ProgressReporter) -> Attempt:
    """Bring the labels that a run was begun with onto this machine."""
    reporter.stage("fetch")
    labeled, rename = restore_labels(hub, project, opened.manifest, opened.sides, reporter)
    attempt = Attempt(hub, project, fence, reporter, rename, with_chosen(hub, project, labeled))
    settings = replace(project_settings(hub, project), trainer=opened.trainer)
    attempt.settings = attempt.speeds(settings).running(settings)
    return attempt


def _go_on(attempt: Attempt, record: RunRecord) -> RunRecord:
    project = attempt.project
    if record.judged:
        _log.info("project %s: run %s is done already: %s", project, record.key, record.verdict)
        attempt.hub.open_runs(project).close(record.key)
        ask_for_report(attempt.hub, project)
        return record
    _refuse_failed(attempt.hub, project, record)
    try:
        return _carry_out(attempt, record)
    except (Fenced, LeaseLost):
        # The record is another worker's now.
        raise
    except Exception as error:
        stopped = note_failure(attempt, record.key, error)
        if stopped is not None and stopped.state == "failed":
            end(attempt.hub, project, record.key)
        raise


def _refuse_failed(hub: Hub, project: ProjectKey, record: RunRecord) -> None:
    """Raise TrainingError for a run that has failed, and close it."""
    if record.state == "failed":
        end(hub, project, record.key)
        often = "cannot go on" if record.final else f"has failed {record.own_failures} times, last"
        raise TrainingError(
            f"run {record.key} {often} because: {record.reason}. "
            f"Mend that, then `labelloop retrain --project {project.shown} --force`"
        )


def require_trainable(settings: Settings, kind: str) -> None:
    """Raise SettingsError for what no run could be made with, on this machine: a network, a recipe, a missing file."""
    if not trains_here(settings):
        raise SettingsError("this worker cannot train: torch is not installed (requirements-train.txt)")
    try:
        learner(find(kind), settings).check_settings(settings, thorough=False)
    except TrainingError as error:
        raise SettingsError(f"nothing can be trained with these settings: {error}") from error


def open_run(attempt: Attempt, record: RunRecord) -> Run:
    """Open the folder of a run, on this machine: its labels are at hand, and its record repeats it from the store's."""
    manifest = attempt.labeled.manifest
    kept = f"{attempt.hub.settings.store_address}/{manifest_path(attempt.project, manifest.hash)}"
    location = {"train_location": str(local_file(kept) or kept), "format": "labelloop"}
    own = learner(find(manifest.kind), attempt.settings).settings
    return Run(
        RunFolder(attempt.folder / record.key),
        attempt.settings,
        {**parameters_of(attempt.settings, own), **location, "project_key": str(attempt.project)},
        attempt,
        source=lambda _: attempt.labeled,
        registrar=attempt.registrar,
        key=record.key,
        archive=False,
        kind=manifest.kind,
        render=renderer(attempt.hub, attempt.project),
        arms=partial(arms, attempt.hub.store, attempt.project),
        endpoint_features=features_of(attempt.hub, attempt.project),
        trainer=attempt.trainer,
        challengers=attempt.left,
        challenger=attempt.challenger,
        network=attempt.network,
    )


def _begin(
    hub: Hub, project: ProjectKey, labeling: Labeling, fence: int, trigger: str, reporter: ProgressReporter, force: bool
) -> tuple[Attempt, RunRecord]:
    """Read the project and find or make the run's record; settles the changes that called for it."""
    began = time.time()
    reporter.stage("fetch")
    labeled, reading = read_current(hub, project, labeling, reporter)
    reporter.stage("manifest")
    state, found, manifest, missed = hub.state(project), labeling.counters, labeled.manifest, unread(labeled)
    state.see(Seen(state.seen().tasks, found.annotations, found.skipped, began))
    first = hub.pointer(project).read().champion is None
    per_class = hub.settings.min_labels_per_class if first else 0
    lacking = missing(manifest, hub.settings.min_labels, labeled.sides, per_class=per_class)
    state.note("missing", lacking)
    state.note("pictures", missed)
    if lacking:
        # The next look, which labels that come lead to, begins with these.
        keep_manifest_here(hub, project, manifest)
        keep_reading(hub, project, reading)
        told = _too_little(project, "; ".join(filter(None, (lacking, missed))))
        if labeled.missing.count and len(manifest.items) + labeled.missing.count >= hub.settings.min_labels:
            # With these pictures there might be enough: what has changed stays noted, and is looked at again.
            raise MediaError(told)
        state.changes.settle(began)
        raise NotEnoughLabels(told)
    state.note_read(manifest.hash, began)
    keep_manifest(hub, project, manifest)
    keep_sides(hub, project, labeled)
    keep_reading(hub, project, reading)
    attempt = Attempt(hub, project, fence, reporter, labeling.rename, with_chosen(hub, project, labeled))
    look_at_features(hub, project, Context(RunFolder(attempt.folder), hub.settings, reporter), manifest.items)
    record = open_record(attempt, trigger, force)
    if record.state == "running":
        _open(attempt, record)
    # Not before the record is there: a worker killed in between would have forgotten what called for the run.
    state.changes.settle(began)
    return attempt, record


def _too_little(project: ProjectKey, lacking: str) -> str:
    if not project.model_run:
        return f"project {project.shown} cannot be trained yet: {lacking}"
    wanted = "Label more of its data rows in Labelbox, and press the button again (LABELLOOP_MIN_LABELS says how many)"
    return f"model run {project.model_run} cannot be trained yet: {lacking}. {wanted}"


def _open(attempt: Attempt, record: RunRecord) -> None:
    """Open the run; where another worker has just opened one elsewhere, this one is to follow it."""
    try:
        begin(attempt, record)
    except Conflict as error:
        raise LeaseLost(str(error)) from error


def _carry_out(attempt: Attempt, record: RunRecord) -> RunRecord:
    run, quick = open_run(attempt, record), attempt.speeds(attempt.settings).quick
    with EarlyLook(site_of(attempt.hub, attempt.project.id), record.key) as look:
        with run.alone():
            if not make_bundle(attempt, run, record.key, look.begin if quick else None):
                return record
            run.make("register")
        return finish(attempt, conclude(attempt, record.key, look))


def make_bundle(attempt: Attempt, run: Run, key: str, training: Callable[[], None] | None = None) -> bool:
    """Make a run's stages up to what is judged, unless it was published before; False while it is trained elsewhere.

    ``training`` is called before it trains: from there on nothing waits for the tool.
    """
    versions = attempt.registrar.versions
    name = versions.claimed(key)
    run.make("fetch")
    if name and versions.find(name) is not None:
        return True
    run.make("preprocess")
    if not is_trained(attempt, run, key):
        return False
    if training is not None:
        training()
    run.make("train")
    run.make("evaluate")
    return True


def conclude(attempt: Attempt, key: str, look: EarlyLook | None = None) -> RunRecord:
    """Close a run that is registered, announce its version where that is champion now, and give its record.

    ``look`` is at what waited while it was made.
    """
    record = attempt.save(with_place(attempt, attempt.registrar.record_of(key)))
    attempt.open_runs.close(key)
    _log.info("project %s: %s", attempt.project, record.verdict)
    version = record.version or ""
    if record.state == "promoted" and attempt.hub.pointer(attempt.project).read().champion == version:
        deploy.announce(attempt.hub, attempt.project, version, attempt.fence, attempt.reporter, look)
        early = attempt.hub.settings.early_features and LAST_LAYER in find(attempt.labeled.manifest.kind).quick
        if attempt.challenger and early:
            # Last layers are learned on its network from now on.
            attempt.hub.queue(attempt.project).features()
    return record


def finish(attempt: Attempt, record: RunRecord) -> RunRecord:
    """Say in the record of a run that is concluded that nothing of it is left to do, and ask for its report."""
    with suppress(LeaseLost):
        # Who has the project now finds it concluded.
        attempt.reporter.stage("done")
    record = attempt.save_done(record)
    ask_for_report(attempt.hub, attempt.project)
    return record
