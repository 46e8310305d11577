"""The report stage: what explains a version, made when nobody waits for it any more."""

import logging
import shutil

from labelloop.errors import LeaseLost
from labelloop.loop.run import Run
from labelloop.loop.training import open_context
from labelloop.models.runs import RunRecord
from labelloop.models.stale import remove_stale
from labelloop.models.versions import Versions
from labelloop.run.folder import RunFolder
from labelloop.run.report.html import write_report as write_html
from labelloop.run.stages.analyse import analyse

_log = logging.getLogger(__name__)


def finish(run: Run, record: RunRecord) -> None:
    """Write the report of the run's version into the store, if this machine has the run's files, and remove those.

    A report that cannot be made is logged and takes nothing from the version; no more does a lost lease.
    """
    folder = RunFolder(run.folder / record.key)
    try:
        if record.version is not None and folder.predictions.is_file():
            run.reporter.stage("report")
            _write_report(run, record, record.version)
        run.reporter.stage("done")
    except LeaseLost as error:
        _log.info("project %s: the report of %s is left out: %s", run.project, record.version, error)
        return
    # The store has the bundle and its report now; this machine's copy has done its work.
    shutil.rmtree(folder.path, ignore_errors=True)
    remove_stale(run.folder)


def _write_report(run: Run, record: RunRecord, version: str) -> None:
    try:
        context = open_context(run, record)
        analyse(context)
        Versions(run.hub.store, run.project).write_report(version, write_html(context.folder).read_bytes())
    except LeaseLost:
        raise
    except Exception:  # noqa: BLE001 - border: the version is judged and published, whatever becomes of its report
        _log.warning("project %s: no report of %s could be made", run.project, version, exc_info=True)
