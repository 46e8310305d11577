"""One run: fetch > manifest > split > train > evaluate > gate > publish > prelabel > flip > report.

Every stage may be killed. A run is named by its manifest, settings and seed; started again under that name it finds
what it has done already (docs/versions.md) and goes on from there. Kills and outages are not held against it.
"""

import logging
import time
from dataclasses import replace

from labelloop.data.cache import PictureCache
from labelloop.data.split import missing
from labelloop.errors import Fenced, LabelLoopError, LeaseLost, MediaError, NotEnoughLabels, TrainingError
from labelloop.loop import deploy
from labelloop.loop.extra_params import learn_unknown
from labelloop.loop.fetch import Fetched, fetch_manifest
from labelloop.loop.hub import Hub
from labelloop.loop.judging import judge_and_publish
from labelloop.loop.progress import Reporter
from labelloop.loop.project_endpoint import require_follower
from labelloop.loop.report import finish
from labelloop.loop.run import Run, note_failure, open_record, project_settings, save
from labelloop.loop.state import Seen
from labelloop.loop.training import require_trainable, train_version
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord, Versions
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def retrain(hub: Hub, project: ProjectKey, trigger: str, reporter: Reporter, *, force: bool = False) -> RunRecord:
    """Make one run and return its record, also when it was made before. The caller holds the project's lease.

    Raises NotEnoughLabels with what is missing, SettingsError for settings that no run could be made with, and
    NoSuchProject, all before anything is written; any other failure is in the run's record when there is one already.
    """
    with hub.state(project).begun(trigger, force):
        learn_unknown(hub, project)
        require_follower(hub, project)
        hub.studio.project(project.id)
        require_trainable(project_settings(hub, project))
        fence = ChampionPointer(hub.store, project).take_fence()
        run, record = _begin(hub, project, fence, trigger, reporter, force)
    if record.state in ("promoted", "rejected"):
        _log.info("project %s: run %s is done already: %s", project, record.key, record.verdict)
        finish(run, record)
        return record
    if record.state == "failed":
        often = "cannot go on" if record.final else f"has failed {record.own_failures} times, last"
        raise TrainingError(
            f"run {record.key} {often} because: {record.reason}. "
            f"Mend that, then `labelloop retrain --project {project.id} --force`"
        )
    try:
        return _carry_out(run, record)
    except (Fenced, LeaseLost):
        # The record is another worker's now.
        raise
    except LabelLoopError as error:
        note_failure(run, record.key, error, str(error))
        raise
    except Exception as error:
        note_failure(run, record.key, error, f"{type(error).__name__}; the worker's log has the traceback")
        raise


def _begin(
    hub: Hub, project: ProjectKey, fence: int, trigger: str, reporter: Reporter, force: bool
) -> tuple[Run, RunRecord]:
    """Read the project and find or make the run's record; settles the changes that called for it."""
    began = time.time()
    run, fetched = _fetch(hub, project, fence, reporter)
    lacking = missing(run.manifest, hub.settings.min_labels)
    hub.state(project).note("missing", lacking)
    hub.state(project).note("pictures", fetched.unread)
    if lacking:
        told = f"project {project.id} cannot be trained yet: {'; '.join(filter(None, (lacking, fetched.unread)))}"
        if fetched.unfetched and len(run.manifest.items) + len(fetched.unfetched) >= hub.settings.min_labels:
            # With these pictures there might be enough: what has changed stays noted, and is looked at again.
            raise MediaError(told)
        hub.state(project).changes.settle(began)
        raise NotEnoughLabels(told)
    hub.store.write(f"{project}/manifests/{run.manifest.hash}.jsonl", run.manifest.to_jsonl().encode())
    record = open_record(run, trigger, force)
    # Not before the record is there: a worker killed in between would have forgotten what called for the run.
    hub.state(project).changes.settle(began)
    return run, record


def _fetch(hub: Hub, project: ProjectKey, fence: int, reporter: Reporter) -> tuple[Run, Fetched]:
    reporter.stage("fetch")
    cache = PictureCache(hub.settings.directory / "cache" / "pictures")
    fetched = fetch_manifest(hub, project, cache, reporter)
    reporter.stage("manifest")
    counters = Seen(fetched.info.tasks, fetched.info.annotations, fetched.info.skipped, time.time())
    hub.state(project).see(replace(counters, tasks=hub.state(project).seen().tasks))
    return Run(hub, project, fence, reporter, cache, fetched.control, fetched.manifest), fetched


def _carry_out(run: Run, record: RunRecord) -> RunRecord:
    version = Versions(run.hub.store, run.project).find(record.version) if record.version else None
    if version is None:
        context, record = train_version(run, record)
        version, record = judge_and_publish(run, record, context)
    _log.info("project %s: %s", run.project, version.verdict)
    record = _settle(run, record, version)
    finish(run, record)
    return save(run, replace(record, stage="done")) if record.state == "promoted" else record


def _settle(run: Run, record: RunRecord, version: VersionRecord) -> RunRecord:
    """Promote and announce a version that passed; note why another one does not become champion."""
    if not version.promoted:
        return save(run, replace(record, state="rejected", stage="gate", verdict=version.verdict))
    champion = ChampionPointer(run.hub.store, run.project).read().champion
    if champion not in (version.parent, version.version):
        # Its verdict is about another champion: somebody rolled back while this run was cut off.
        reason = f"{version.version} was compared with {version.parent}, and now {champion} is champion"
        return save(run, replace(record, state="rejected", stage="gate", verdict=f"not promoted: {reason}"))
    deploy.promote(run.hub, run.project, version.version, run.fence)
    record = save(run, replace(record, state="promoted", stage="promote", verdict=version.verdict))
    deploy.announce(run.hub, run.project, version.version, run.fence, run.reporter)
    return record
