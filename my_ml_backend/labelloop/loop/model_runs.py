"""Model runs of Labelbox: opened by its button, carried out by a worker as one run, and concluded.

A model run is the one run of a project (loop/retrain.py), and what follows it is the conclusion (loop/conclusion.py):
its version answers the items of the validation and test sides, which is uploaded, and Labelbox is told COMPLETE. An
entry that names an endpoint is predicted for as waiting tasks are (loop/prelabel.py). Whatever is killed goes on where
it was; what is only away is waited for, and anything else ends it as FAILED.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import asdict

from labelloop.data.model_run_site import WAITS, ModelRunSite
from labelloop.errors import Fenced, LabelLoopError, LeaseLost, NoSuchProject, SettingsError, TrainingDied
from labelloop.loop import retrain as running
from labelloop.loop.backoff import away, reason_of
from labelloop.loop.conclusion import Conclusion, sentence_of
from labelloop.loop.hub import Hub
from labelloop.loop.lease import ProgressReporter
from labelloop.loop.menu import menu_of
from labelloop.loop.model_run_inference import predict_rows
from labelloop.loop.notify import tell_news
from labelloop.loop.project_endpoint import learn, learn_unknown, require_learning, require_unpaused
from labelloop.loop.project_registry import model_run_site
from labelloop.loop.redis_client import may_be_lost
from labelloop.loop.serving import serving
from labelloop.loop.training import end, look_at_training, open_elsewhere
from labelloop.models.model_runs import Entry, ModelRunJob, ModelRunJobs
from labelloop.models.runs import RunRecord
from labelloop.run.parameters import with_parameters
from labelloop.tracing import note_doing
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_TRIGGER = "Labelbox's button"

_DEATHS = 3
"""So often the process may end by itself at one stage."""

_LONG_TRY = 3600.0
"""Seconds of work after which what it has waited for must have been back: no try of what is away takes so long."""

_OVER = "nothing is asked for, or it is over"


def request(
    hub: Hub, model_run: str, entry: Entry, model: str = "", organization: str = "", *, force: bool = False
) -> ModelRunJob:
    """Take what somebody asked for by Labelbox's button, and give its job: one that is open already stays as it is.

    ``force`` trains it anew even where the same labels and settings have been trained before. The web process calls it:
    the store is asked, and Redis; nothing else. A job that Redis does not hear of is found by the next sweep. Raises
    ValueError for what is no id of a model run, and StoreError.
    """
    project = ProjectKey.of_model_run(model_run, entry.number)
    job = ModelRunJobs(hub.store).ask(project, entry, model, organization, force=force)
    with may_be_lost(f"what is asked for model run {project.shown}, which the next sweep finds,"):
        hub.queue(project).retrain(_TRIGGER)
    return job


def ask_for_run(hub: Hub, project: ProjectKey, trigger: str, *, force: bool = False) -> str:
    """Ask for a run of any project, and give the id of its job; of a model run, for a new attempt where none is open.

    Raises SettingsError where nothing is trained for the project, or no entry of the menu has a model run's number, and
    ProjectPaused.
    """
    require_unpaused(hub, project)
    if project.model_run:
        _ask_again(hub, project, force=force)
    else:
        require_learning(hub, project)
    return hub.queue(project).retrain(trigger, force=force)


def _ask_again(hub: Hub, project: ProjectKey, *, force: bool) -> None:
    jobs, offered = ModelRunJobs(hub.store), menu_of(hub).of_number(project.id)
    known = jobs.read(project)
    if offered is None and known is None:
        raise SettingsError(f"{project.shown} is no entry of the menu: `labelloop labelbox doctor` lists them")
    entry = offered.entry if offered else Entry(known.entry, project.id, known.endpoint) if known else None
    if entry is not None:
        jobs.ask(project, entry, known.model if known else "", known.organization if known else "", force=force)


def carry_on(hub: Hub, project: ProjectKey, reporter: ProgressReporter) -> str:
    """Go on with what was asked for a model run, as far as that comes, and say how far; who calls holds its lease.

    What ends it as FAILED is no error here, but what it says. Raises Outages while it waits for what is away, LeaseLost
    and Fenced.
    """
    job = _open_job(hub, project)
    return _Work(hub, project, reporter, job).carry_on() if job else _OVER


def _open_job(hub: Hub, project: ProjectKey) -> ModelRunJob | None:
    """Read the job of a model run; None, and no longer named among the open ones, where there is none or it is over."""
    jobs = ModelRunJobs(hub.store)
    job = jobs.read(project)
    if job is not None and job.state == "open":
        note_doing(trace=job.trace)
        return job
    jobs.close(project)
    return None


def look(hub: Hub, project: ProjectKey) -> str:
    """See how a model run stands, and have a worker go on with it where nobody is at it; says what was done."""
    state, queue = hub.state(project), hub.queue(project)
    job = _open_job(hub, project)
    if job is None:
        return _OVER
    if state.is_held():
        return "it is being worked at"
    if (wait := state.backoff.wait()) is not None:
        queue.consider(wait.until)
        return "the last attempt met something that is away: it is tried again later"
    if job.stage == "run" and (opened := open_elsewhere(hub, project)) is not None:
        try:
            return look_at_training(hub, project, opened)
        except NoSuchProject as error:
            return _end_gone(hub, project, job, error)
    # What is begun goes to its end.
    pause = hub.pauses(project).read() if hub.open_runs(project).read() is None else None
    if pause is None:
        queue.retrain(_TRIGGER)
    return str(pause or "a worker goes on with it")


def _end_gone(hub: Hub, project: ProjectKey, job: ModelRunJob, error: NoSuchProject) -> str:
    """End the job of a model run that is gone, and what is trained for it elsewhere; nothing more is told."""
    if (opened := open_elsewhere(hub, project)) is not None:
        end(hub, project, opened.key)
    ModelRunJobs(hub.store).save(project, job.moved(state="failed", reason=str(error)))
    return _told_failed(project, str(error))


def _told_failed(project: ProjectKey, reason: str) -> str:
    """Log that a model run has failed, and say so."""
    _log.warning("model run %s: FAILED: %s", project.shown, reason)
    return f"FAILED: {reason}"


def sweep(hub: Hub, hub_of: Callable[[Hub, ProjectKey], Hub]) -> dict[str, str]:
    """Look at every model run that is open, and tell what is new of those that ended last.

    One's failure does not stop the others.
    """
    done: dict[str, str] = {}
    jobs = ModelRunJobs(hub.store)
    for project in jobs.open():
        try:
            # In a context of its own: what is noted of this one is no other's.
            done[str(project)] = copy_context().run(look, hub_of(hub, project), project)
        except LabelLoopError as error:
            _log.warning("model run %s: %s", project.shown, error)
            done[str(project)] = f"failed: {error}"
        except Exception as error:  # noqa: BLE001 - border: the other model runs are to be looked at
            _log.exception("model run %s", project.shown)
            done[str(project)] = f"failed: {reason_of(error)}"
    for project in jobs.known():
        if hub.settings.notify_url:
            tell_news(hub, project)
        else:
            # Nobody else takes it away.
            hub.state(project).note("notify", "")
    return done


def show_version(hub: Hub, project: ProjectKey, version: str, reporter: ProgressReporter) -> str:
    """Have a model run that is over show what another of its versions answers; raises as ``carry_on``."""
    ModelRunJobs(hub.store).reopen(project, version)
    return carry_on(hub, project, reporter)


class _Work:
    """What a worker does for one model run; every stage that is over is noted in its job."""

    def __init__(self, hub: Hub, project: ProjectKey, reporter: ProgressReporter, job: ModelRunJob) -> None:
        self.hub, self.project, self.reporter, self.job = hub, project, reporter, job
        self._began = time.monotonic()

    def carry_on(self) -> str:
        """Go through the stages that are left."""
        try:
            return self._go_on()
        except (LeaseLost, Fenced):
            raise
        except NoSuchProject as error:
            self.reporter.check()
            return _end_gone(self.hub, self.project, self.job, error)
        except Exception as error:
            if what := self._waits_for(error):
                self._wait(what, error)
                raise
            if not isinstance(error, LabelLoopError):
                _log.exception("model run %s", self.project.shown)
            self._note(stage="fail", reason=sentence_of(self.hub, error))
            return self._fail()

    def _wait(self, what: str, error: Exception) -> None:
        """Note what it waits for, and since when; say so to all who look, unless it is waited for to tell a failure."""
        if not self._was_away(what):
            self._note(away=what, since=time.time())
        told = f"waits for {what}: {sentence_of(self.hub, error)}"
        if told != self.job.reason and self.job.stage != "fail":
            self._note(reason=told)
            with suppress(LabelLoopError):
                self.site.tell(WAITS, told, 0, 0)

    @property
    def site(self) -> ModelRunSite:
        """The model run; raises SettingsError where nothing says how to reach Labelbox."""
        return model_run_site(self.hub, self.project)

    def _go_on(self) -> str:
        if self.job.stage == "fail":
            return self._fail()
        self._count_death()
        self.site.begin(self.job.attempts)
        if self.job.stage == "begin":
            # Its config may say another thing than it did at the last attempt.
            learn(self.hub, self.project)
            self._note(stage="run", parameters=dict(self.site.parameters()))
        learn_unknown(self.hub, self.project)
        # What an endpoint said lies on the machine that asked it: another one has to ask for what is not there.
        if self.job.endpoint:
            self._predict()
        elif self.job.stage == "run" and (told := self._train()):
            return told
        return self._conclude()

    def _count_death(self) -> None:
        """Raise TrainingDied where a stage has killed its process too often; a run counts for itself."""
        progress = self.hub.state(self.project).progress()
        if (self.job.stage == "run" and not self.job.endpoint) or not (died := progress.death()):
            return
        progress.forget_death()
        self._note(deaths=self.job.deaths + 1)
        if self.job.deaths >= _DEATHS:
            raise TrainingDied(
                f"its process ended {self.job.deaths} times while predictions were made or uploaded, last by {died}. "
                "Was there too little memory? Give the worker more"
            )

    def _train(self) -> str:
        """Make the run; says why it is not over yet, empty when it is."""
        # With the parameters of its config, whatever becomes of that while it is at work.
        hub = self.hub.over(with_parameters(self.hub.settings, self.job.parameters), self.hub.tool)
        record = running.resume(hub, self.project, self.reporter) or self._run(hub)
        if record.state == "running":
            self._note(stage="run")
            return f"run {record.key} is being trained elsewhere"
        self._note(stage="conclude", run=record.key, version=record.version or "", deaths=0)
        return ""

    def _run(self, hub: Hub) -> RunRecord:
        # By it a run is known as this attempt's: clocks of two machines may differ.
        trigger = f"{_TRIGGER}, attempt {self.job.attempts}"
        latest, forced = hub.runs(self.project).latest(), self.job.forced
        if latest is not None:
            if latest.judged and latest.trigger == trigger:
                # Killed before its job knew of it.
                return latest
            # Somebody has pressed the button again: what was given up is tried anew, under a name of its own.
            given_up = latest.given_up(hub.settings.run_attempts)
            forced = forced or given_up or (latest.forced and not latest.judged)
        return running.retrain(hub, self.project, trigger, self.reporter, force=forced)

    def _predict(self) -> None:
        """Predict for all rows."""
        if menu_of(self.hub).of_number(self.project.id) is None:
            raise SettingsError(
                "the endpoint of this entry is no longer allowed here: let LABELLOOP_ENDPOINT or "
                "LABELLOOP_ALLOWED_ENDPOINTS name it, or choose another entry of the menu"
            )
        done = predict_rows(self.hub, self.project, self.reporter)
        left_out = {"left_out": done.left_out, "reasons": done.reasons}
        self._note(stage="conclude", version=serving(self.hub, self.project).version, uploaded=left_out)

    def _conclude(self) -> str:
        conclusion = Conclusion(self.hub, self.project, self.job, self.site, self.reporter)
        uploaded = conclusion.upload()
        told = conclusion.metadata(uploaded)
        self.site.complete(told)
        self._note(state="complete", stage="done", uploaded=asdict(uploaded), told=told)
        _log.info("model run %s: COMPLETE with %s", self.project.shown, self.job.version)
        return f"COMPLETE with {self.job.version}"

    def _fail(self) -> str:
        """Tell why it has failed; where that cannot be told now, it is told later."""
        try:
            self.site.fail(self.job.reason)
        except Exception as error:
            if self._waits_for(error):
                raise
            _log.warning("model run %s: that it has failed could not be told: %s", self.project.shown, error)
        self._note(state="failed")
        return _told_failed(self.project, self.job.reason)

    def _waits_for(self, error: Exception) -> str:
        """Name what is away and still waited for; empty for all else that goes wrong."""
        what = away(error, self.hub.settings.directory)
        since = self.job.since if self._was_away(what) else time.time()
        return what if time.time() < since + self.hub.settings.labelbox_seconds else ""

    def _was_away(self, what: str) -> bool:
        """Whether it was waited for when this began, and has not been there meanwhile."""
        return what == self.job.away and time.monotonic() - self._began < _LONG_TRY

    def _note(self, **changed: object) -> None:
        """Keep how far it is; with a stage, nothing is waited for any more."""
        if "stage" in changed:
            changed = {"reason": "", "away": "", "since": 0.0, **changed}
        # What another worker has begun with is not ended by what goes wrong here.
        self.reporter.check()
        self.job = ModelRunJobs(self.hub.store).save(self.project, self.job.moved(**changed))
