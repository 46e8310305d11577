"""One run: fetch > manifest > split > train > evaluate > gate > publish > prelabel > flip.

Every stage may be killed. A run is named by its manifest, settings and seed; started again under that name it finds
what it has done already (docs/versions.md) and goes on from there.
"""

import logging
import shutil
import time
from dataclasses import replace

from labelloop.data.cache import PictureCache
from labelloop.data.split import missing
from labelloop.errors import LabelLoopError, NotEnoughLabels, NotFound
from labelloop.loop import changes, deploy
from labelloop.loop.fetch import fetch_manifest
from labelloop.loop.hub import Hub
from labelloop.loop.judging import judge_and_publish
from labelloop.loop.notes import write_note
from labelloop.loop.progress import Reporter
from labelloop.loop.run import Run, open_record, save
from labelloop.loop.training import train_version
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def retrain(hub: Hub, project: ProjectKey, trigger: str, reporter: Reporter, *, force: bool = False) -> RunRecord:
    """Make one run and return its record, also when it was made before. The caller holds the project's lease.

    Raises NotEnoughLabels with what is missing; any other failure is in the run's record when there is one already.
    """
    fence = ChampionPointer(hub.store, project).take_fence()
    began = time.time()
    run = _fetch(hub, project, fence, reporter)
    record = open_record(run, trigger, force)
    changes.settle(hub, project, began)
    if record.state in ("promoted", "rejected"):
        _log.info("project %s: run %s is done already: %s", project, record.key, record.verdict)
        return record
    try:
        return _carry_out(run, record)
    except LabelLoopError as error:
        save(run, replace(record, state="failed", reason=str(error)))
        raise
    except Exception as error:
        reason = f"{type(error).__name__} in stage {record.stage or 'train'}: the worker's log has the traceback"
        save(run, replace(record, state="failed", reason=reason))
        raise


def _fetch(hub: Hub, project: ProjectKey, fence: int, reporter: Reporter) -> Run:
    reporter.stage("fetch")
    cache = PictureCache(hub.settings.directory / "cache" / "pictures")
    control, manifest = fetch_manifest(hub, project, cache, reporter)
    reporter.stage("manifest")
    lacking = missing(manifest, hub.settings.min_labels)
    write_note(hub, project, "missing", lacking)
    if lacking:
        raise NotEnoughLabels(f"project {project.id} cannot be trained yet: {lacking}")
    hub.store.write(f"{project}/manifests/{manifest.hash}.jsonl", manifest.to_jsonl().encode())
    return Run(hub, project, fence, reporter, cache, control, manifest)


def _carry_out(run: Run, record: RunRecord) -> RunRecord:
    versions = Versions(run.hub.store, run.project)
    try:
        version = versions.get(record.version) if record.version else None
    except NotFound:
        version = None
    if version is None:
        bundle, record = train_version(run, record)
        version, record = judge_and_publish(run, record, bundle)
    # The store has the bundle now; this machine's copy has done its work.
    shutil.rmtree(run.folder / record.key, ignore_errors=True)
    if not version.promoted:
        _log.info("project %s: %s", run.project, version.verdict)
        return save(run, replace(record, state="rejected", stage="gate", verdict=version.verdict))
    deploy.promote(run.hub, run.project, version.version, run.fence)
    _log.info("project %s: %s", run.project, version.verdict)
    record = save(run, replace(record, state="promoted", stage="promote", verdict=version.verdict))
    deploy.announce(run.hub, run.project, version.version, run.fence, run.reporter)
    run.reporter.stage("done")
    return save(run, replace(record, stage="done"))
