"""One run in the making: what its stages share, and its record in the store."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labelloop.data.cache import PictureCache
from labelloop.data.manifest import Manifest
from labelloop.loop.hub import Hub
from labelloop.loop.progress import Reporter
from labelloop.models.defaults import ProjectDefaults
from labelloop.models.runs import RunRecord, Runs, run_key
from labelloop.pipeline.search.defaults import with_defaults
from labelloop.pipeline.train_settings import train_settings
from labelloop.settings import Settings
from labelloop.studio.control import Control
from labelloop.types import ProjectKey


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
        return with_defaults(self.hub.settings, ProjectDefaults(self.hub.store, self.project).read().parameters)


def open_record(run: Run, trigger: str, force: bool) -> RunRecord:
    """Find or make the record of the run's key, and begin an attempt at it.

    One that has ended, or failed too often, is given as it is: promoted, rejected or failed.
    """
    settings, runs = run.settings, Runs(run.hub.store, run.project)
    fingerprint = train_settings(settings).fingerprint()
    key = run_key(run.manifest.hash, fingerprint, settings.seed)
    if force:
        key = _forced_key(runs, key, settings.run_attempts)
    record = runs.get(key) or RunRecord(
        key=key,
        project=str(run.project),
        manifest=run.manifest.hash,
        settings=fingerprint,
        seed=settings.seed,
        trigger=trigger,
        forced=force,
    )
    exhausted = record.attempts >= settings.run_attempts
    if record.state == "running" and exhausted:
        reason = f"interrupted in stage {record.stage or 'train'} every time"
        return save(run, replace(record, state="failed", reason=reason))
    if record.state in ("promoted", "rejected") or exhausted:
        # What the project did last is this again, whatever was begun in between.
        latest = runs.latest()
        return record if latest is not None and latest.key == key else _again(run, record)
    return save(run, replace(record, state="running", attempts=record.attempts + 1))


def _forced_key(runs: Runs, key: str, attempts: int) -> str:
    """Name a forced run: the one that is to be tried again, else one that was cut short or a new one."""
    latest = runs.latest()
    if latest is None or not latest.forced or latest.key.partition(".")[0] != key:
        return runs.next_key(key)
    return latest.key if latest.state == "failed" and latest.attempts < attempts else runs.next_key(key)


def _again(run: Run, record: RunRecord) -> RunRecord:
    """Make an earlier run the latest; nothing of it changes."""
    return Runs(run.hub.store, run.project).save(replace(record, fence=run.fence))


def save(run: Run, record: RunRecord) -> RunRecord:
    """Write the record under the run's fence and give it as written; raises Fenced."""
    record = replace(record, fence=run.fence, seconds={**record.seconds, **run.reporter.seconds})
    return Runs(run.hub.store, run.project).save(record)


def note_failure(run: Run, key: str, reason: str) -> None:
    """Note in the record as it stands now why the run stopped; a version that is promoted already stays so."""
    record = Runs(run.hub.store, run.project).get(key)
    if record is not None:
        save(run, replace(record, state="promoted" if record.state == "promoted" else "failed", reason=reason))


def describe(record: RunRecord) -> dict[str, Any]:
    """Say of a run what ``status`` shows."""
    names = ("key", "state", "stage", "trigger", "attempts", "reason", "version", "verdict", "updated", "seconds")
    return {name: getattr(record, name) for name in names}
