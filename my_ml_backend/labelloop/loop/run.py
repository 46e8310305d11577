"""One run in the making: what its stages share, and its record in the store."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labelloop.data.cache import PictureCache
from labelloop.data.manifest import Manifest
from labelloop.errors import StoreError, TrainingDied, TrainingError
from labelloop.loop.backoff import away
from labelloop.loop.hub import Hub
from labelloop.loop.progress import Reporter
from labelloop.models.defaults import ProjectDefaults
from labelloop.models.runs import RunRecord, Runs, run_key
from labelloop.run.folder import RunFolder
from labelloop.run.search.defaults import with_defaults
from labelloop.run.train_settings import train_settings
from labelloop.settings import Settings
from labelloop.studio.control import Control
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_DEATHS = 3
"""So often a run's process may end by itself before the run got any further: what ends it then is in the run."""


@dataclass(frozen=True)
class Run:
    """What the stages of one run share. ``fence`` is this run's right to move the champion pointer."""

    hub: Hub
    project: ProjectKey
    fence: int
    reporter: Reporter
    cache: PictureCache
    control: Control
    manifest: Manifest

    @property
    def folder(self) -> Path:
        """Where this machine keeps the project's runs in the making."""
        return self.hub.settings.directory / "runs" / str(self.project)

    @cached_property
    def settings(self) -> Settings:
        """The settings that this project is trained with: what a search found best, where nothing else is set."""
        return project_settings(self.hub, self.project)


def project_settings(hub: Hub, project: ProjectKey) -> Settings:
    """Give the settings that a project is trained with; raises StoreError."""
    return with_defaults(hub.settings, ProjectDefaults(hub.store, project).read().parameters)


def open_record(run: Run, trigger: str, force: bool) -> RunRecord:
    """Find or make the record of the run's key, and begin an attempt at it.

    One that has ended, or failed for good, is given as it is: promoted, rejected or failed. An attempt that was cut off
    is not held against the run, unless its process died, which too often in the same place is a failure for good.
    """
    settings, runs = run.settings, Runs(run.hub.store, run.project)
    fingerprint = train_settings(settings).fingerprint()
    key = run_key(run.manifest.hash, fingerprint, settings.seed)
    if force:
        key = _forced_key(runs, key, settings.run_attempts)
    record = runs.find(key) or RunRecord(
        key=key,
        project=str(run.project),
        manifest=run.manifest.hash,
        settings=fingerprint,
        seed=settings.seed,
        trigger=trigger,
        forced=force,
    )
    if record.state in ("promoted", "rejected") or record.given_up(settings.run_attempts):
        # What the project did last is this again, whatever was begun in between.
        latest = runs.latest()
        return record if latest is not None and latest.key == key else _again(run, record)
    died = run.hub.state(run.project).death()
    record = _counted(run, record, died)
    if record.deaths >= _DEATHS:
        record = save(run, replace(record, state="failed", final=True, reason=_lethal(record, died)))
    else:
        failures = record.own_failures
        record = save(run, replace(record, state="running", attempts=record.attempts + 1, failures=failures))
    run.hub.state(run.project).forget_death()
    return record


def _counted(run: Run, record: RunRecord, died: str) -> RunRecord:
    """Count the attempt before this one, if it was cut off: in a row with others only where none got any further."""
    if record.state != "running" or not record.attempts or run.hub.state(run.project).met_outage():
        return replace(record, interruptions=0, deaths=0, mark="")
    mark = _mark(run, record)
    before = record if mark == record.mark else replace(record, interruptions=0, deaths=0)
    deaths = before.deaths + bool(died)
    return replace(record, interruptions=before.interruptions + 1, deaths=deaths, mark=mark)


def _mark(run: Run, record: RunRecord) -> str:
    """Say how far a run has come: its stage, and the checkpoints that its training has left on this machine."""
    folder = RunFolder(run.folder / record.key).checkpoints
    epochs = sorted(f"{path.name}@{path.stat().st_mtime_ns}" for path in folder.glob("*.ckpt"))
    return " ".join([record.stage or "begin", record.version or "", *epochs])


def _lethal(record: RunRecord, died: str) -> str:
    return (
        f"its process ended {record.deaths} times without getting any further, last by {died or 'a signal'}. Was there "
        "too little memory? Give the worker more, or the run less to do: a smaller LABELLOOP_BATCH_SIZE, "
        "LABELLOOP_IMAGE_SIZE or LABELLOOP_BACKBONE"
    )


def _forced_key(runs: Runs, key: str, attempts: int) -> str:
    """Name a forced run: the one that is to be tried again, else one that was cut short or a new one."""
    latest = runs.latest()
    if latest is None or not latest.forced or latest.key.partition(".")[0] != key:
        return runs.next_key(key)
    return latest.key if latest.state == "failed" and not latest.given_up(attempts) else runs.next_key(key)


def _again(run: Run, record: RunRecord) -> RunRecord:
    """Make an earlier run the latest; nothing of it changes."""
    return Runs(run.hub.store, run.project).save(replace(record, fence=run.fence))


def save(run: Run, record: RunRecord) -> RunRecord:
    """Write the record under the run's fence and give it as written; raises Fenced."""
    record = replace(record, fence=run.fence, seconds={**record.seconds, **run.reporter.seconds})
    return Runs(run.hub.store, run.project).save(record)


def note_failure(run: Run, key: str, error: Exception, reason: str) -> None:
    """Note in the record as it stands now why the run stopped; a version that is promoted already stays so.

    What is only away for a while is waited for: the run is still running then. Raises Fenced, and nothing when the
    store fails, which may be why the run stopped.
    """
    try:
        record = Runs(run.hub.store, run.project).find(key)
        if record is not None:
            save(run, _stopped(run, record, error, reason))
    except StoreError as failure:
        _log.warning("project %s: why run %s stopped is not noted: %s", run.project, key, failure)


def _stopped(run: Run, record: RunRecord, error: Exception, reason: str) -> RunRecord:
    if record.state == "promoted":
        return replace(record, reason=reason)
    if what := away(error, run.hub.settings.directory):
        return replace(record, mark="", reason=f"waits for {what}: {reason}")
    final = isinstance(error, TrainingError) and not isinstance(error, TrainingDied)
    return replace(record, state="failed", failures=record.own_failures + 1, final=final, reason=reason)


def describe(record: RunRecord, attempts: int) -> dict[str, Any]:
    """Say of a run what ``status`` shows; ``given_up`` is true where it has failed for good."""
    names = ("key", "state", "stage", "trigger", "attempts", "reason", "version", "verdict", "updated", "seconds")
    return {name: getattr(record, name) for name in names} | {"given_up": record.given_up(attempts)}
