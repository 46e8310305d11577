"""Attempts at a run of the loop, and what is kept of them: kills and outages are not held against it."""

import logging
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labelloop.errors import RunCancelled, StoreError, TrainingDied, TrainingError
from labelloop.kinds.base import Hyperparameters, find
from labelloop.loop.background import machine_of
from labelloop.loop.backoff import away, reason_of
from labelloop.loop.bootstrap import bootstrap_opponent
from labelloop.loop.hub import Hub
from labelloop.loop.lease import ProgressReporter
from labelloop.loop.project_endpoint import project_endpoint
from labelloop.loop.reports import NO_FILES
from labelloop.loop.speeds import Speeds, champion_network
from labelloop.models.deployments import FeatureModels
from labelloop.models.open_run import OpenRuns
from labelloop.models.runs import DUE, ProjectDefaults, RunRecord, Runs
from labelloop.run.champion_network import ChampionNetwork
from labelloop.run.context import Labeled
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import methods_of
from labelloop.run.registrar import Registrar
from labelloop.run.scoring import Opponent, Rename
from labelloop.run.search.defaults import with_defaults
from labelloop.settings import Settings
from labelloop.tracing import note_doing, trace_in_hand
from labelloop.trainers.base import Trainer
from labelloop.trainers.foreign import learner
from labelloop.trainers.opening import ON_FEATURES, open_trainer
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_KEPT = ("train", "evaluate", "publish")
"""Stages that the record in the store names; the others are a moment's work."""

_UNTOLD = ("fetch", "register")
"""Stages that say nothing to who watches the loop: annotations are read already, registering has steps of its own."""

_HEEDED_SECONDS = 5.0
"""How often a run looks whether it was cancelled."""

_DEATHS = 3
"""So often a run's process may end by itself before the run got any further: what ends it then is in the run."""


@dataclass
class Attempt:
    """One attempt at a run of the loop; it is whom the run tells how far it is.

    ``fence`` is its right to move the champion pointer. ``rename`` gives a class of an older model the name that it has
    today. ``record`` is the run's, once it has one. ``challenger`` says that it is a challenger's.
    """

    hub: Hub
    project: ProjectKey
    fence: int
    reporter: ProgressReporter
    rename: Rename
    labeled: Labeled
    record: RunRecord | None = None
    heeded: float = 0.0
    challenger: bool = False

    @property
    def folder(self) -> Path:
        """Where this machine keeps the project's runs in the making."""
        return self.hub.settings.directory / "runs" / str(self.project)

    @cached_property
    def settings(self) -> Settings:
        """The settings that this run is trained with: what a search found best, where nothing else is set."""
        settings = project_settings(self.hub, self.project)
        speeds = self.speeds(settings)
        return speeds.challenging(settings) if self.challenger else speeds.running(settings)

    def speeds(self, settings: Settings) -> Speeds:
        """Say which recipes the project's runs train by its settings, and which its challengers."""
        return Speeds.of(find(self.labeled.manifest.kind), settings, self.project)

    @property
    def open_runs(self) -> OpenRuns:
        """Where it is noted that the run is open."""
        return self.hub.open_runs(self.project, challenger=self.challenger)

    @cached_property
    def left(self) -> tuple[str, ...]:
        """The recipes that the run leaves to a challenger."""
        return () if self.challenger else self.speeds(project_settings(self.hub, self.project)).left

    @cached_property
    def network(self) -> ChampionNetwork | None:
        """The champion's network, where the run learns a last layer on it."""
        if self.challenger:
            return None
        return champion_network(self.hub.store, self.project, find(self.labeled.manifest.kind), self.settings)

    @cached_property
    def trainer(self) -> Trainer:
        """What trains the run, and is asked about versions whose model lies elsewhere; raises SettingsError."""
        return open_trainer(self.settings)

    @property
    def registrar(self) -> Registrar:
        """Where the version goes. Labels may have been renamed since the champion was trained."""
        return Registrar(
            self.hub.store, self.project, self.fence, self.rename, self.stage, self.bootstrap, trainer=self.trainer
        )

    @cached_property
    def bootstrap(self) -> Opponent | None:
        """Whom the project's first version must beat."""
        return bootstrap_opponent(self.hub, self.project)

    def stage(self, name: str) -> None:
        """Begin a stage, and keep in the record which: so an attempt that is cut off has come so far.

        Raises RunCancelled where the run is to end.
        """
        if name in _UNTOLD:
            return
        self._heed()
        # Before it is told: who sees the stage finds it in the record.
        if self.record is not None and name in _KEPT:
            self.record = self.save(replace(self.record, stage=name))
        self.reporter.stage(name)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report within a stage; raises RunCancelled where the run is to end."""
        self.reporter(what, done, total)
        if time.monotonic() - self.heeded > _HEEDED_SECONDS:
            self._heed()

    def _heed(self) -> None:
        """Stop where somebody has cancelled the run, or its time is over."""
        self.heeded = time.monotonic()
        if self.record is None:
            return
        opened = self.open_runs.read()
        why = opened.ending(time.time()) if opened is not None and opened.key == self.record.key else ""
        if why:
            raise RunCancelled(why)

    def save(self, record: RunRecord) -> RunRecord:
        """Write the record under the attempt's fence and give it as written; raises Fenced."""
        return self.hub.runs(self.project).save(self._own(record))

    def save_done(self, record: RunRecord) -> RunRecord:
        """Likewise, of a run whose report may be written already: what that has noted stays."""
        record = replace(record, stage="done")
        return self.hub.runs(self.project).save(
            self._own(record), lambda stands: self._own(replace(stands, stage="done"))
        )

    def _own(self, record: RunRecord) -> RunRecord:
        return replace(record, fence=self.fence, seconds={**record.seconds, **self.reporter.seconds})


def project_settings(hub: Hub, project: ProjectKey) -> Settings:
    """Give the settings that a project is trained with, its trainer among them; raises StoreError and SettingsError."""
    found = with_defaults(hub.settings, ProjectDefaults(hub.store, project).read().parameters)
    by = project_endpoint(hub, project)
    if by.serves == "features":
        seen = FeatureModels(hub.store, project).read(by.options.endpoint.fingerprint)
        return replace(found, trainer=ON_FEATURES + seen.name)
    return replace(found, trainer=by.options.trainer)


def open_record(attempt: Attempt, trigger: str, force: bool) -> RunRecord:
    """Find or make the record of the run's key, and begin an attempt at it.

    One that has ended, or failed for good, is given as it is: promoted, rejected or failed. An attempt that was cut off
    is not held against the run, unless its process died, which too often in the same place is a failure for good.
    """
    settings, runs = attempt.settings, attempt.hub.runs(attempt.project)
    key = attempt.registrar.key_of(attempt.labeled, _training(attempt))
    last = runs.latest_challenger() if attempt.challenger else runs.latest()
    if force:
        key = _forced_key(runs, key, settings.run_attempts, last)
    found = runs.find(key) or (None if force else _in_one_go(attempt, runs))
    # Whoever made it first: a run may be asked for what a challenger has made, and the other way round.
    record = replace(found, challenger=attempt.challenger) if found else new_record(attempt, key, trigger, force)
    key = record.key
    # Whoever goes on with it goes on under its id.
    note_doing(trace=record.trace)
    if record.judged or record.given_up(settings.run_attempts):
        # What the project did last is this again, whatever was begun in between.
        return record if last is not None and last.key == key else _again(attempt, record)
    progress = attempt.hub.state(attempt.project).progress(challenger=attempt.challenger)
    died = progress.death()
    record = _counted(attempt, record, died)
    if record.deaths >= _DEATHS:
        record = replace(record, state="failed", final=True, reason=_lethal(record, died))
    else:
        failures = record.own_failures
        record = replace(record, state="running", attempts=record.attempts + 1, failures=failures, report=DUE)
        record = replace(record, machine=record.machine or machine_of(settings.directory))
    attempt.record = attempt.save(record)
    progress.forget_death()
    return attempt.record


def _in_one_go(attempt: Attempt, runs: Runs) -> RunRecord | None:
    """Find the run of the same labels that has trained all recipes in one go, as releases without challengers did."""
    whole = project_settings(attempt.hub, attempt.project)
    if not attempt.speeds(whole).left:
        return None
    training = learner(find(attempt.labeled.manifest.kind), whole).hyperparameters(whole)
    found = runs.find(attempt.registrar.key_of(attempt.labeled, training))
    return found if found is not None and found.judged else None


def with_place(attempt: Attempt, record: RunRecord) -> RunRecord:
    """Say in the record of a run that is judged which machine has its folder, by which its report is written.

    Who went on with a run that was published already has no such folder.
    """
    machine = machine_of(attempt.hub.settings.directory)
    if RunFolder(attempt.folder / record.key).predictions.is_file():
        return replace(record, machine=machine, report=record.report or DUE)
    lacks = record.report == DUE and record.machine in ("", machine)
    return replace(record, report=NO_FILES) if lacks else record


def take_up(hub: Hub, project: ProjectKey, record: RunRecord, fence: int) -> RunRecord:
    """Go on with a run whose training is elsewhere, and give its record: failed where its process keeps dying here."""
    progress = hub.state(project).progress()
    died = progress.death()
    if died and record.state == "running":
        record = replace(record, deaths=record.deaths + 1, fence=fence)
        if record.deaths >= _DEATHS:
            record = replace(record, state="failed", final=True, reason=_lethal(record, died))
        record = hub.runs(project).save(record)
    progress.forget_death()
    return record


def new_record(attempt: Attempt, key: str, trigger: str, force: bool) -> RunRecord:
    """Make the record of a run that has none."""
    manifest = attempt.labeled.manifest
    kind = find(manifest.kind)
    training = _training(attempt)
    return RunRecord(
        key=key,
        project=str(attempt.project),
        manifest=manifest.hash,
        settings=training.fingerprint(),
        seed=attempt.settings.seed,
        trigger=trigger,
        forced=force,
        methods=methods_of(training.recipes, kind.recipes),
        kind=kind.name,
        sides=attempt.labeled.sides_hash,
        trace=trace_in_hand(),
        challenger=attempt.challenger,
        report=DUE,
        machine=machine_of(attempt.settings.directory),
    )


def _training(attempt: Attempt) -> Hyperparameters:
    """Take what decides what training makes of the labels."""
    return learner(find(attempt.labeled.manifest.kind), attempt.settings).hyperparameters(attempt.settings)


def _counted(attempt: Attempt, record: RunRecord, died: str) -> RunRecord:
    """Count the attempt before this one, if it was cut off: in a row with others only where none got any further."""
    if record.state != "running" or not record.attempts or attempt.hub.state(attempt.project).backoff.met_outage():
        return replace(record, interruptions=0, deaths=0, mark="")
    mark = _mark(attempt, record)
    before = record if mark == record.mark else replace(record, interruptions=0, deaths=0)
    deaths = before.deaths + bool(died)
    return replace(record, interruptions=before.interruptions + 1, deaths=deaths, mark=mark)


def _mark(attempt: Attempt, record: RunRecord) -> str:
    """Say how far a run has come: its stage, and the checkpoints that its training has left on this machine."""
    folder = RunFolder(attempt.folder / record.key).checkpoints
    epochs = sorted(f"{path.name}@{path.stat().st_mtime_ns}" for path in folder.glob("*.ckpt"))
    return " ".join([record.stage or "begin", record.version or "", *epochs])


def _lethal(record: RunRecord, died: str) -> str:
    return (
        f"its process ended {record.deaths} times without getting any further, last by {died or 'a signal'}. Was there "
        "too little memory? Give the worker more, or the run less to do: a smaller LABELLOOP_BATCH_SIZE, "
        "LABELLOOP_IMAGE_SIZE or LABELLOOP_BACKBONE"
    )


def _forced_key(runs: Runs, key: str, attempts: int, latest: RunRecord | None) -> str:
    """Name a forced run: the latest that is to be tried again, else one that was cut short or a new one."""
    if latest is None or not latest.forced or latest.key.partition(".")[0] != key:
        return runs.next_key(key)
    return latest.key if latest.state == "failed" and not latest.given_up(attempts) else runs.next_key(key)


def _again(attempt: Attempt, record: RunRecord) -> RunRecord:
    """Make an earlier run the latest, or the latest challenger; nothing else of it changes."""
    record = replace(record, fence=attempt.fence)
    return attempt.hub.runs(attempt.project).save(
        record, lambda stands: replace(stands, fence=record.fence, challenger=record.challenger)
    )


def note_failure(attempt: Attempt, key: str, error: Exception) -> RunRecord | None:
    """Note in the record as it stands now why the run stopped, and give it; a version that is promoted stays so.

    What is only away for a while is waited for: the run is still running then. Raises Fenced. Gives None when the store
    fails, which may be why the run stopped.
    """
    try:
        record = attempt.hub.runs(attempt.project).find(key)
        return attempt.save(_stopped(attempt, record, error)) if record is not None else None
    except StoreError as failure:
        _log.warning("project %s: why run %s stopped is not noted: %s", attempt.project, key, failure)
        return None


def _stopped(attempt: Attempt, record: RunRecord, error: Exception) -> RunRecord:
    reason = reason_of(error)
    if record.state == "promoted":
        return replace(record, reason=reason)
    if what := away(error, attempt.hub.settings.directory):
        return replace(record, mark="", reason=f"waits for {what}: {reason}")
    final = isinstance(error, TrainingError) and not isinstance(error, TrainingDied)
    return replace(record, state="failed", failures=record.own_failures + 1, final=final, reason=reason)


def summarize_run(record: RunRecord, attempts: int) -> dict[str, Any]:
    """Say of a run what ``status`` shows; ``given_up`` is true where it has failed for good.

    ``suspects`` is how many labels its training left out because they are probably wrong, ``order`` what its report
    says of the order of tasks, empty where there is nothing to say. ``network`` is the version whose network a last
    layer was learned on.
    """
    names = ("key", "state", "stage", "trigger", "attempts", "reason", "version", "verdict", "updated", "seconds")
    metrics = record.metrics
    order = metrics.get("order", {}).get("sentence", "")
    told = {"given_up": record.given_up(attempts), "suspects": metrics.get("suspects", 0), "order": order}
    told["network"] = metrics.get("network", "")
    return {name: getattr(record, name) for name in names} | told
