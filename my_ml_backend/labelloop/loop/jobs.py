"""What RQ runs. Here a job's errors end: as a note for ``status``, a log line, and RQ's own failed state."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from labelloop.errors import (
    Fenced,
    LabelLoopError,
    LeaseLost,
    NoSuchProject,
    NotEnoughLabels,
    ProjectPaused,
    SettingsError,
    StoreError,
    StudioAway,
    WorkerEnds,
)
from labelloop.loop import batch as batching
from labelloop.loop import challenger as challenging
from labelloop.loop import deploy as deploying
from labelloop.loop import first_labels as ordering
from labelloop.loop import later_predictions, model_runs
from labelloop.loop import prelabel as prelabeling
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
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.menu import look_for_endpoints
from labelloop.loop.metering import tell_figures
from labelloop.loop.mirror import reconcile
from labelloop.loop.notify import send, tell_news
from labelloop.loop.old_predictions import go_on
from labelloop.loop.process import hub_of, process_hub
from labelloop.loop.project_endpoint import learn, learn_unknown, require_learning, require_unpaused
from labelloop.loop.project_registry import (
    is_kept,
    keep_project,
    lose_project,
    present_project,
    remember_project,
    site_of,
    why_gone,
)
from labelloop.loop.promotion import promote, settle_champion
from labelloop.loop.queue import end_sweep
from labelloop.loop.redis_client import may_be_lost
from labelloop.loop.rollback import compare_announced
from labelloop.loop.serving import serving
from labelloop.loop.state import ProjectState
from labelloop.loop.storages import take_in
from labelloop.models.model_runs import ModelRunJobs
from labelloop.models.runs import RunRecord
from labelloop.run.mlflow import retrack
from labelloop.types import FIRST_LABELS, NO_VERSION, Identity, Json, ProjectKey

_log = logging.getLogger(__name__)


def _opened(project: str) -> tuple[Hub, ProjectKey]:
    """Give the hub of a job's project, and its key."""
    key = ProjectKey.parse(project)
    return hub_of(process_hub(), key), key


@contextmanager
def _noting(state: ProjectState, name: str = "trouble") -> Iterator[None]:
    """Note what goes wrong inside the block, and take the note away when nothing does."""
    try:
        yield
    except NO_FAILURE:
        raise
    except LabelLoopError as error:
        state.note(name, str(error))
        raise
    except Exception as error:
        state.note(name, f"{type(error).__name__}; the worker's log has the traceback")
        raise
    state.note(name, "")


@contextmanager
def _existing(hub: Hub, project: ProjectKey) -> Iterator[None]:
    """Leave a project alone that turns out not to be in Label Studio."""
    try:
        yield
    except NoSuchProject as error:
        lose_project(hub, project, error)
        raise


@contextmanager
def _holding(hub: Hub, project: ProjectKey) -> Iterator[ProgressReporter]:
    """Hold the project and report from it; afterwards show what came of it, and look at what it needs next."""
    held = False
    try:
        with Lease(hub, project) as lease:
            held = True
            reporter = ProgressReporter(hub, project, lease)
            try:
                yield reporter
            finally:
                reporter.close()
    finally:
        # Who did not get the project leaves that to who has it.
        if held:
            reconcile(hub, project)
            tell_news(hub, project)
            hub.queue(project).consider(time.time())


def retrain(project: str, trigger: str, force: bool) -> str:
    """Make one run of the project; returns the verdict, or what is missing."""
    hub, key = _opened(project)
    if key.model_run:
        return _carry_on(hub, key)
    state = hub.state(key)
    try:
        with _existing(hub, key), _noting(state), state.backoff.noting():
            place = present_project(hub, key)
            if place != key:
                hub.queue(place).retrain(trigger, force=force)
                return _elsewhere(key, place)
            with _holding(hub, key) as reporter:
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
        with _existing(hub, key), _noting(state), state.backoff.noting(), _holding(hub, key) as reporter:
            record = running.resume(hub, key, reporter)
            return _ended(record) if record else "no run is open"
    except NO_FAILURE as error:
        _log.info("project %s: %s", key, error)
        return str(error)


def challenge(project: str) -> str:
    """Begin the project's challenger, or go on with it; returns its verdict, or what is waited for."""
    hub, key = _opened(project)
    try:
        with _existing(hub, key), _noting(hub.state(key), "challenger"):
            place = present_project(hub, key)
            if place != key:
                hub.queue(place).challenge()
                return _elsewhere(key, place)
            with Lease(hub, key, challenger=True) as lease:
                reporter = ProgressReporter(hub, key, lease, challenger=True)
                try:
                    return challenging.challenge(hub, key, reporter, lambda: _holding(hub, key))
                finally:
                    reporter.close()
    except NO_FAILURE as error:
        _log.info("project %s: its challenger: %s", key, error)
        return str(error)


def _carry_on(hub: Hub, project: ProjectKey) -> str:
    """Go on with what was asked for a model run of Labelbox."""
    state = hub.state(project)
    try:
        with _noting(state), state.backoff.noting():
            running.refuse_paused(hub, project)
            with _holding(hub, project) as reporter:
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
        with _existing(hub, key), _noting(state), state.backoff.noting():
            place = present_project(hub, key)
            if place != key:
                hub.queue(place).deploy(version)
                return _elsewhere(key, place)
            learn_unknown(hub, key)
            require_learning(hub, key)
            if version is not None:
                promote(hub.store, key, version)
            with _holding(hub, key) as reporter:
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
    hub, key = process_hub(), ProjectKey.parse(project)
    state = hub.state(key)
    # Until it is done, the sweep asks for it again: the endpoint may be down, this worker may be killed.
    state.note("unpredicted", "tasks may be without a prediction")
    take_in(hub, key)
    if state.is_held():
        return _postponed(hub, key)
    with _existing(hub, key), _noting(state):
        place = present_project(hub, key)
        if place != key:
            hub.queue(place).prelabel(0.0)
            return _elsewhere(key, place)
        learn(hub, key)
        by = serving(hub, key)
        absent = deploying.is_absent(hub, key, by)
        if by.version == FIRST_LABELS and by.serves == "deployed" and not absent:
            # There was no endpoint when tasks were ordered: somebody has made one, whose model predicts.
            ordering.give_up(hub, key)
            by = serving(hub, key)
        version = by.version
        nobody = absent or version in (NO_VERSION, FIRST_LABELS)
    if deploying.is_unsettled(hub, key, by):
        hub.queue(key).postpone_prelabel()
        return f"{by.deployment.answers} may answer: it is done when that is settled"
    if nobody:
        return _order_first(hub, key)
    return _goes_on(hub, key, version) or _predict(hub, key, version)


def _predict(hub: Hub, project: ProjectKey, version: str) -> str:
    """Predict what waits, or a part of what the version's announcement has left, or begin the batch job that does."""
    state, wait = hub.state(project), later_predictions.wait(hub, project)
    if wait:
        hub.queue(project).prelabel(wait)
        return f"predictions are imported in {wait:.0f} s: imports take a tenth of Label Studio's time at most"
    try:
        with _existing(hub, project), _noting(state), _holding(hub, project) as reporter:
            reporter.stage("prelabel")
            most = None if wait is None else later_predictions.PART
            done = prelabeling.prelabel(hub, project, None, reporter, most=most)
            later_predictions.put_off(hub, project, done)
            if not done.job and not done.more:
                state.note("unpredicted", "")
                by = serving(hub, project)
                if by.serves != "store":
                    version = by.version
                    site_of(hub, project.id).announce(version)
    except LeaseLost:
        return _postponed(hub, project)
    if done.job:
        hub.queue(project).prelabel(hub.settings.poll_seconds)
        return batching.goes_on(hub, project, version) or done.job
    return f"{done.predicted} tasks pre-annotated with {version}, {done.left_out} left out"


def _goes_on(hub: Hub, project: ProjectKey, version: str) -> str:
    """Come back later while a batch job predicts, and say so; empty where there is none, or it is over."""
    told = batching.goes_on(hub, project, version)
    if told:
        hub.queue(project).prelabel(hub.settings.poll_seconds)
    return told


def _order_first(hub: Hub, project: ProjectKey) -> str:
    """Order what waits for the first version: with that, all tasks are pre-annotated."""
    state, ordered = hub.state(project), 0
    try:
        if ordering.is_wanted(hub, project):
            with _existing(hub, project), _noting(state), _holding(hub, project) as reporter:
                reporter.stage("order")
                ordered = ordering.order_first(hub, project, reporter)
    except LeaseLost:
        return _postponed(hub, project)
    state.note("unpredicted", "")
    return f"there is no version yet; {ordered} tasks are ordered without" if ordered else "there is no version yet"


def _elsewhere(project: ProjectKey, place: ProjectKey) -> str:
    return f"project {project.id} lies in {place}: it is done there"


def _postponed(hub: Hub, project: ProjectKey) -> str:
    """Leave it to whoever holds the project, who looks at what is next when it is done."""
    queue = hub.queue(project)
    queue.postpone_prelabel()
    if not hub.state(project).is_held():
        # It was done in this very moment, and may have looked before there was anything to be seen.
        queue.consider(time.time())
    return "a run is in progress: it is done after that"


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
        with _existing(hub, key):
            place = present_project(hub, key)
            if place != key:
                hub.queue(place).compare()
                return _elsewhere(key, place)
            learn_unknown(hub, key)
            return compare_announced(hub, key)
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
        with _existing(hub, key):
            place = present_project(hub, key)
            if place != key:
                hub.queue(place).features()
                return _elsewhere(key, place)
            require_unpaused(hub, key)
            told = take_features(hub, key)
    except NO_FAILURE as error:
        return f"it is gone on with later: {error}"
    except LabelLoopError as error:
        # The sweep asks again. Nothing needs them: a run takes what it lacks.
        state.note(FAILED, str(error))
        raise
    return told


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
        with _existing(hub, key):
            place = present_project(hub, key)
            return go_on(hub, key) if place == key else _elsewhere(key, place)
    except LabelLoopError as error:
        # The next sweep asks again; what annotators are shown is not among it.
        _log.warning("project %s: predictions of old versions are not removed: %s", key, error)
        raise


def drift(project: str) -> str:
    """Look whether what the announced version predicts is other than what it predicted at first."""
    hub, key = _opened(project)
    try:
        with _existing(hub, key):
            place = present_project(hub, key)
            if place != key:
                return _elsewhere(key, place)
            found = look_for_drift(hub, key)
            if found is not None:
                # A drift is news, and may call for a run.
                tell_news(hub, key)
                hub.queue(key).consider(time.time())
            return str(found) if found else "nothing is judged yet"
    except LabelLoopError as error:
        # The next sweep asks again.
        _log.warning("project %s: drift is not judged: %s", key, error)
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
        live = look_for_endpoints(hub)
        return done | runs | ({"events": told} if told else {}) | ({"endpoints": live} if live else {})
    finally:
        with may_be_lost("the end of the sweep"):
            end_sweep(hub.redis, hub.settings.sweep_seconds)
