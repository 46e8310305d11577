"""One run in the making: what its stages share, and its record in the store."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labelloop.data.cache import PictureCache
from labelloop.data.manifest import Manifest
from labelloop.errors import TrainingError
from labelloop.loop.hub import Hub
from labelloop.loop.progress import Reporter
from labelloop.loop.train_settings import train_settings
from labelloop.models.runs import RunRecord, Runs, run_key
from labelloop.studio.control import Control
from labelloop.types import Item, ProjectKey


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

    def pictures(self, items: tuple[Item, ...]) -> list[Path]:
        """Name the files of the items' pictures."""
        return [self.cache.path(item.picture) for item in items]


def open_record(run: Run, trigger: str, force: bool) -> RunRecord:
    """Find or make the record of the run's key; raises TrainingError for one that has failed too often."""
    settings, runs = run.hub.settings, Runs(run.hub.store, run.project)
    fingerprint = train_settings(settings).fingerprint()
    key = run_key(run.manifest.hash, fingerprint, settings.seed)
    found = runs.get(key)
    if found is not None and force:
        key, found = runs.next_key(key), None
    record = found or RunRecord(
        key=key,
        project=str(run.project),
        manifest=run.manifest.hash,
        settings=fingerprint,
        seed=settings.seed,
        trigger=trigger,
        forced=force,
    )
    if record.state in ("promoted", "rejected"):
        return record
    if record.attempts >= settings.run_attempts:
        if record.state != "failed":
            record = replace(record, state="failed", reason=f"interrupted in stage {record.stage} every time")
            save(run, record)
        raise TrainingError(
            f"run {key} has failed {record.attempts} times, last because: {record.reason}. "
            f"Mend that, then `labelloop retrain --project {run.project.id} --force`"
        )
    return save(run, replace(record, state="running", attempts=record.attempts + 1))


def save(run: Run, record: RunRecord) -> RunRecord:
    """Write the record under the run's fence and give it as written; raises Fenced."""
    record = replace(record, fence=run.fence, seconds=dict(run.reporter.seconds))
    return Runs(run.hub.store, run.project).save(record)


def describe(record: RunRecord) -> dict[str, Any]:
    """Say of a run what ``status`` shows."""
    names = ("key", "state", "stage", "trigger", "attempts", "reason", "version", "verdict", "updated", "seconds")
    return {name: getattr(record, name) for name in names}
