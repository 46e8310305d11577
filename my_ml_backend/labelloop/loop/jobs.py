"""What RQ runs. Here a job's errors end: as a note for ``status``, a log line, and RQ's own failed state."""

import logging
import time
from contextlib import closing
from dataclasses import replace

from labelloop.errors import (
    Fenced,
    LabelLoopError,
    LeaseLost,
    NoSuchProject,
    NotEnoughLabels,
    ProjectMoved,
    ProjectPaused,
    SettingsError,
    StoreError,
    StudioAway,
    WorkerEnds,
)
from labelloop.loop import challenger as challenging
from labelloop.loop import deploy as deploying
from labelloop.loop import model_runs
from labelloop.loop import retrain as running
from labelloop.loop import sweep as sweeping
from labelloop.loop.backoff import NO_FAILURE
from labelloop.loop.cloud_events import read_events
from labelloop.loop.consider import consider as considering
from labelloop.loop.drift import look_for_drift
from labelloop.loop.early_features import FAILED, take_features
from labelloop.loop.gauges import keep_gauges
from labelloop.loop.housekeeping import look_after
from labelloop.loop.hub import Hub
from labelloop.loop.job_scope import existing, here, holding, noting
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.menu import look_for_endpoints
from labelloop.loop.metering import tell_figures
from labelloop.loop.new_tasks import prelabel_new
from labelloop.loop.notify import send, tell_news
from labelloop.loop.old_predictions import go_on
from labelloop.loop.process import hub_of, process_hub
from labelloop.loop.project_endpoint import learn_unknown, require_learning, require_unpaused
from labelloop.loop.project_registry import (
    is_kept,
    keep_project,
    lose_project,
    present_project,
    remember_project,
    why_gone,
)
from labelloop.loop.promotion import promote, settle_champion
from labelloop.loop.queue import drop_lost_queues, end_sweep
from labelloop.loop.redis_client import may_be_lost
from labelloop.loop.report_writing import write_reports
from labelloop.loop.rollback import compare_announced
from labelloop.models.model_runs import ModelRunJobs
from labelloop.models.runs import RunRecord
from labelloop.run.mlflow import retrack
from labelloop.types import Identity, Json, ProjectKey

_log = logging.getLogger(__name__)


def _opened(project: str) -> tuple[Hub, ProjectKey]:
    """Give the hub of a job's project, and its key."""
    key = ProjectKey.parse(project)
    return hub_of(process_hub(), key), key


def retrain(project: str, trigger: str, force: bool) -> str:
    """Make one run of the project; returns the verdict, or what is missing."""
    hub, key = _opened(project)
    if key.model_run:
        return _carry_on(hub, key)
    state = hub.state(key)
    try:
        with (
            existing(hub, key),
            noting(state),
            state.backoff.noting(),
            here(hub, key, lambda queue: queue.retrain(trigger, force=force)),
            holding(hub, key) as reporter,
        ):
            before = _last_done(hub, key)
            record = running.retrain(hub, key, trigger, reporter, force=force)
            return _nothing_new(record) if record.key == before else _ended(record)
    except NO_FAILURE as error:
        _log.info("project %s: %s", key, error)
        if isinstance(error, NotEnoughLabels):
            state.note("trouble", "")
        if isinstance(error, LeaseLost | ProjectPaused) and not isinstance(error, WorkerEnds):
            state.want_again(trigger, force=force)
        return str(error)


def resume(project: str) -> str:
    """Go on with the run whose training is elsewhere; returns the verdict, or that it is being trained."""
    hub, key = _opened(project)
    if key.model_run:
        return _carry_on(hub, key)
    state = hub.state(key)
    try:
        with existing(hub, key), noting(state), state.backoff.noting(), holding(hub, key) as reporter:
            record = running.resume(hub, key, reporter)
            return _ended(record) if record else "no run is open"
    except NO_FAILURE as error:
        _log.info("project %s: %s", key, error)
        return str(error)


def challenge(project: str) -> str:
    """Begin the project's challenger, or go on with it; returns its verdict, or what is waited for."""
    hub, key = _opened(project)
    try:
        with (
            existing(hub, key),
            noting(hub.state(key), "challenger"),
            here(hub, key, lambda queue: queue.challenge()),
            Lease(hub, key, challenger=True) as lease,
            closing(ProgressReporter(hub, key, lease, challenger=True)) as reporter,
        ):
            return challenging.challenge(hub, key, reporter, lambda: holding(hub, key))
    except NO_FAILURE as error:
        _log.info("project %s: its challenger: %s", key, error)
        return str(error)


def _carry_on(hub: Hub, project: ProjectKey) -> str:
    """Go on with what was asked for a model run of Labelbox."""
    state = hub.state(project)
    try:
        with noting(state), state.backoff.noting():
            running.refuse_paused(hub, project)
            with holding(hub, project) as reporter:
                return model_runs.carry_on(hub, project, reporter)
    except NO_FAILURE as error:
        _log.info("model run %s: %s", project.shown, error)
        return str(error)


def _ended(record: RunRecord) -> str:
    return f"run {record.key} is being trained elsewhere" if record.state == "running" else record.verdict


def _last_done(hub: Hub, project: ProjectKey) -> str:
    """Name the last run if it has come to its verdict; empty for none, and where that cannot be read just now."""
    try:
        latest = hub.runs(project).latest()
    except StoreError:
        return ""
    return latest.key if latest is not None and latest.judged else ""


def _nothing_new(record: RunRecord) -> str:
    return (
        f"nothing has changed since run {record.key} made {record.version}: {record.verdict}. "
        "`labelloop retrain --force` trains it anew"
    )


def deploy(project: str, version: str | None) -> str:
    """Make ``version`` (None: the champion as it is) champion, bring it to its endpoint, pre-annotate, announce it.

    ``version`` becomes champion at once: a run in progress is fenced off, and it is announced after that run.
    """
    hub, key = _opened(project)
    state, pointer = hub.state(key), hub.pointer(key)
    try:
        with (
            existing(hub, key),
            noting(state),
            state.backoff.noting(),
            here(hub, key, lambda queue: queue.deploy(version)),
        ):
            learn_unknown(hub, key)
            require_learning(hub, key)
            if version is not None:
                promote(hub.store, key, version)
            with holding(hub, key) as reporter:
                if pointer.read().champion is None:
                    return "there is no champion to announce"
                fence = pointer.take_fence()
                champion = pointer.read().champion or ""
                settle_champion(hub.store, key, champion)
                delivered = deploying.deliver(hub, key, champion, fence, reporter)
                if delivered is None or delivered.job:
                    return delivered.job if delivered else f"{champion} is on its way to its endpoint"
                _note_seconds(hub, key, champion, reporter)
                if key.model_run:
                    return model_runs.show_version(hub, key, champion, reporter)
    except ProjectMoved as error:
        return str(error)
    except (LeaseLost, Fenced) as error:
        _log.info("%s", error)
        return f"the champion is announced later: {error}"
    if hub.settings.mlflow and (record := hub.versions(key).find(champion)) is not None:
        retrack(hub.settings.mlflow, key, record)
    return f"{champion} is announced"


def _note_seconds(hub: Hub, project: ProjectKey, version: str, reporter: ProgressReporter) -> None:
    """Add to the record of a version's run what it took to pre-annotate and announce that."""
    reporter.stage("done")
    took = {name: seconds for name, seconds in reporter.seconds.items() if name in ("prelabel", "import", "flip")}
    try:
        if record := hub.versions(project).find(version):
            hub.runs(project).amend(record.run, lambda run: replace(run, seconds={**run.seconds, **took}))
    except StoreError as error:
        _log.warning("project %s: what it took to announce %s is not noted: %s", project, version, error)


def prelabel(project: str) -> str:
    """Pre-annotate the tasks that have come since the last flip; while a run is in progress, it is left to its end."""
    try:
        return prelabel_new(process_hub(), ProjectKey.parse(project))
    except ProjectMoved as error:
        return str(error)


def consider(project: str) -> str:
    """Look at what the project needs next."""
    hub, key = _opened(project)
    if key.model_run:
        return model_runs.look(hub, key)
    found = hub.projects.find(Identity(key.id))
    if found.settled and not hub.projects.is_claimed(key):
        # Whoever asked for this could not know yet where the project lies.
        key = found.key
    try:
        if why_gone(hub, key):
            key = present_project(hub, key)
        elif not found.settled and not is_kept(hub, key):
            key = _kept(hub, key)
        learn_unknown(hub, key)
    except NoSuchProject as error:
        lose_project(hub, key, error)
        return str(error)
    # It may have been a webhook that asked, and Redis be wiped since Label Studio's last /setup.
    remember_project(hub, key, None)
    if (due := hub.state(key).due()) is not None and due <= time.time():
        # Labels that a cloud tells of may have changed a moment ago.
        read_events(hub)
    return considering(hub, key)


def compare(project: str) -> str:
    """Compare the announced version with its predecessor on randomly served tasks, and roll back where it is worse."""
    hub, key = _opened(project)
    try:
        with existing(hub, key), here(hub, key, lambda queue: queue.compare()):
            learn_unknown(hub, key)
            return compare_announced(hub, key)
    except ProjectMoved as error:
        return str(error)
    except NO_FAILURE as error:
        _log.info("%s", error)
        return f"it is looked at again later: {error}"
    except LabelLoopError as error:
        # The sweep asks again; what annotators get meanwhile is what they had before.
        _log.warning("project %s: its versions are not compared: %s", key, error)
        raise


def features(project: str) -> str:
    """Take the features of the project's tasks, as far as they lack them."""
    hub, key = _opened(project)
    state = hub.state(key)
    try:
        with existing(hub, key), here(hub, key, lambda queue: queue.features()):
            require_unpaused(hub, key)
            return take_features(hub, key)
    except ProjectMoved as error:
        return str(error)
    except NO_FAILURE as error:
        return f"it is gone on with later: {error}"
    except LabelLoopError as error:
        # The sweep asks again. Nothing needs them: a run takes what it lacks.
        state.note(FAILED, str(error))
        raise


def _kept(hub: Hub, project: ProjectKey) -> ProjectKey:
    """Keep in the store a project that only Redis knows, and say where it lies; where that cannot be, a sweep does it.

    Raises NoSuchProject.
    """
    try:
        project = present_project(hub, project)
        keep_project(hub, project)
    except (StudioAway, StoreError, SettingsError) as error:  # without an API key nobody is asked
        _log.warning("project %s is not kept in the store yet: %s", project, error)
    return project


def remove_predictions(project: str) -> str:
    """Remove some of what old versions have predicted for tasks that wait."""
    hub, key = _opened(project)
    try:
        with existing(hub, key), here(hub, key, lambda queue: queue.remove_predictions()):
            return go_on(hub, key)
    except ProjectMoved as error:
        return str(error)
    except LabelLoopError as error:
        # The next sweep asks again; what annotators are shown is not among it.
        _log.warning("project %s: predictions of old versions are not removed: %s", key, error)
        raise


def drift(project: str) -> str:
    """Look whether what the announced version predicts is other than what it predicted at first."""
    hub, key = _opened(project)
    try:
        with existing(hub, key), here(hub, key, lambda queue: queue.drift()):
            found = look_for_drift(hub, key)
            if found is not None:
                # A drift is news, and may call for a run.
                tell_news(hub, key)
                hub.queue(key).consider(time.time())
            return str(found) if found else "nothing is judged yet"
    except ProjectMoved as error:
        return str(error)
    except LabelLoopError as error:
        # The next sweep asks again.
        _log.warning("project %s: drift is not judged: %s", key, error)
        raise


def report(project: str, *runs: str) -> str:
    """Write the reports that are due of the runs that this machine has made; these ``runs`` (keys) are asked for."""
    hub, key = _opened(project)
    try:
        with existing(hub, key):
            learn_unknown(hub, key)
            return write_reports(hub, key, runs)
    except LabelLoopError as error:
        # The files are there still, by which they are asked for again.
        _log.warning("project %s: reports are not written: %s", key, error)
        raise


def notify(project: str, message: Json, tried: int = 0) -> str:
    """Send one message, which was tried so many times; it is tried again where that may help."""
    return send(process_hub(), ProjectKey.parse(project), message, tried)


def sweep() -> dict[str, str]:
    """Look at every project for what no webhook told."""
    hub = process_hub()
    try:
        told = read_events(hub)
        done = sweeping.sweep(hub)
        runs = model_runs.sweep(hub, hub_of)
        looked_at = [ProjectKey.parse(project) for project in done]
        with may_be_lost("figures"):
            keep_gauges(hub, looked_at)
            tell_figures(hub, looked_at)
        with may_be_lost("what projects take"):
            look_after(hub, [*looked_at, *ModelRunJobs(hub.store).known()])
        with may_be_lost("that machines are gone"):
            drop_lost_queues(hub.redis)
        live = look_for_endpoints(hub)
        return done | runs | ({"events": told} if told else {}) | ({"endpoints": live} if live else {})
    finally:
        with may_be_lost("the end of the sweep"):
            end_sweep(hub.redis, hub.settings.sweep_seconds)
