"""The open run of a project whose training goes on elsewhere: begun, looked at, ended; none of it holds a worker.

The intent is in the store before the training is started, and a trainer looks a key up before it starts: so a run that
was cut off anywhere is found again, by whatever worker comes next, and nothing is trained twice at once.
"""

import logging
import time
from dataclasses import replace

from labelloop.errors import LabelLoopError, Outage, RunCancelled, SettingsError, TrainingDied
from labelloop.loop.attempts import Attempt
from labelloop.loop.hub import Hub
from labelloop.loop.progress import StageProgress
from labelloop.loop.project_registry import tell
from labelloop.models.open_run import OpenRun
from labelloop.models.runs import RunRecord
from labelloop.run.driver import Run
from labelloop.setting_values import whole_addresses
from labelloop.trainers.base import Trainer, Training
from labelloop.trainers.opening import open_trainer
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def open_elsewhere(hub: Hub, project: ProjectKey) -> OpenRun | None:
    """Give the project's open run if its training goes on elsewhere; raises StoreError."""
    opened = hub.open_runs(project).read()
    return opened if opened is not None and opened.elsewhere else None


def trainer_of(hub: Hub, address: str) -> Trainer:
    """Open the trainer that a run was begun with; raises SettingsError where it is not allowed any more."""
    settings = hub.settings
    if address not in ("local", settings.trainer, *whole_addresses(settings.allowed_trainers)):
        raise SettingsError(
            "the open run was begun with a trainer that is not allowed here any more: let LABELLOOP_TRAINER or "
            "LABELLOOP_ALLOWED_TRAINERS name it until the run is over"
        )
    return open_trainer(replace(settings, trainer=address))


def look_at_training(hub: Hub, project: ProjectKey, opened: OpenRun) -> str:
    """See how the training stands: come back later while it goes on, else let a worker go on with the run."""
    state, queue = hub.state(project), hub.queue(project)
    trainer = trainer_of(hub, opened.trainer)
    begun_and_wanted = opened.handle and not opened.ending(time.time())
    try:
        stands = trainer.poll(opened.handle) if begun_and_wanted else Training("done")
    except Outage as error:
        state.note("training", f"how run {opened.key} stands cannot be asked for now: {error}")
        queue.consider(time.time() + hub.settings.poll_seconds)
        return "the trainer is away: it is asked again later"
    except LabelLoopError as error:
        # A worker asks the same, and what comes of it is the run's.
        _log.warning("project %s: run %s: %s", project, opened.key, error)
        stands = Training("failed")
    state.note("training", "")
    if stands.state != "running":
        queue.resume()
        return f"run {opened.key} goes on"
    _tell(hub, project, stands)
    queue.consider(min(time.time() + hub.settings.poll_seconds, opened.until))
    return f"run {opened.key} is being trained by {trainer.name}"


def begin(attempt: Attempt, record: RunRecord) -> None:
    """Open the run, before anything of it is begun; raises Conflict where another one is open, and Fenced."""
    attempt.open_runs.begin(
        OpenRun(
            key=record.key,
            manifest=record.manifest,
            sides=record.sides,
            trainer=attempt.settings.trainer,
            elsewhere=open_trainer(attempt.settings).elsewhere,
            fence=attempt.fence,
            until=time.time() + attempt.settings.training_seconds,
        )
    )


def is_trained(attempt: Attempt, run: Run, key: str) -> bool:
    """See to it that the run is being trained elsewhere, and say whether that is over; collected it is by the run.

    Raises TrainingDied when it failed, RunCancelled where the run is to end: the training is cancelled then.
    """
    runs, hub = attempt.hub.open_runs(attempt.project), attempt.hub
    opened = runs.read()
    if opened is None or opened.key != key or not opened.elsewhere:
        return True
    trainer = trainer_of(hub, opened.trainer)
    if why := opened.ending(time.time()):
        _cancel(trainer, opened)
        raise RunCancelled(why)
    if run.has("train"):
        return True
    run.handle = opened.handle or trainer.start(run.context, key)
    runs.note(key, run.handle)
    stands = trainer.poll(run.handle)
    if stands.state == "failed":
        raise TrainingDied(f"its training by {trainer.name} failed: {stands.reason}")
    if stands.state == "running":
        _tell(hub, attempt.project, stands)
    return stands.state == "done"


def end(hub: Hub, project: ProjectKey, key: str) -> None:
    """Close a run that has failed, and cancel what of its training may still go on elsewhere."""
    runs = hub.open_runs(project)
    opened = runs.read()
    if opened is not None and opened.key == key and opened.elsewhere:
        try:
            _cancel(trainer_of(hub, opened.trainer), opened)
        except LabelLoopError as error:
            _log.warning(
                "project %s: the training of run %s, known as %s, may still go on: end it there. It could not be "
                "cancelled: %s",
                project,
                key,
                opened.handle or key,
                error,
            )
    runs.close(key)


def _cancel(trainer: Trainer, opened: OpenRun) -> None:
    """Cancel what was begun for a run; whoever began it may have been killed before its handle was noted."""
    if handle := opened.handle or trainer.find(opened.key):
        trainer.cancel(handle)


def _tell(hub: Hub, project: ProjectKey, stands: Training) -> None:
    now = time.time()
    tell(hub, project, StageProgress("train", stands.what, stands.done, stands.total, now, now, elsewhere=True))
