"""Writes the reports of versions, in the background: the next head does not wait for one, and not each needs one.

A run leaves its folder on its machine, whose background reads it and removes it (docs/loop.md). Whoever is killed
leaves the folder, so that the next look of a worker there finds it. No project is held meanwhile, but nobody erases or
prunes anything of it.
"""

import logging
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from labelloop.errors import LabelLoopError, LeaseLost, MediaError, RunOccupied
from labelloop.files import remove_stale
from labelloop.loop.attempts import project_settings
from labelloop.loop.background import machine_of
from labelloop.loop.backoff import away
from labelloop.loop.endpoint_features import features_of
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, when_asked_to_end
from labelloop.loop.mirror import reconcile
from labelloop.loop.order import arms
from labelloop.loop.redis_client import may_be_lost
from labelloop.loop.reports import ERASED, GONE, REMOVED, end_report
from labelloop.models.runs import DUE, WRITTEN, RunRecord, Runs
from labelloop.models.versions import number_of
from labelloop.run.context import read_json, write_text
from labelloop.run.driver import Run
from labelloop.run.folder import RunFolder
from labelloop.run.registrar import Registrar
from labelloop.types import Json, ProjectKey

_log = logging.getLogger(__name__)

_TRIES = 3
"""So often a report's process may end by itself: what ends it then is in the report. So does a worker that is killed
with it: what ends a whole container for want of memory looks no different. One that is asked to end does not count."""

_UNREAD_SECONDS = 24 * 3600.0
"""So long a report is tried again whose files cannot be read."""

_LEASE_SECONDS = 60.0
"""How long nobody else begins after the last sign of life: what gives way to all else may stand still for long."""


def ask_for_report(hub: Hub, project: ProjectKey) -> None:
    """Have the reports written that are due of a project's runs on this machine, in the background."""
    with may_be_lost(f"that reports of {project} are due, which the worker's next look finds,"):
        hub.queue(project).report(machine_of(hub.settings.directory))


def ask_for_reports(hub: Hub) -> None:
    """Have those written that are due of all runs whose folders are on this machine, and folders removed that are over.

    Raises QueueError and StoreError.
    """
    for folder in sorted((hub.settings.directory / "runs").glob("*/*/")):
        try:
            project = ProjectKey.parse(f"{folder.parent.name}/{folder.name}")
        except ValueError:
            continue
        if not any(_folders(folder)):
            continue
        if hub.state(project).gone():
            _leave(hub, project, folder)
        elif any(_is_over(hub, record) for record in _records(hub.runs(project), folder)):
            hub.queue(project).report(machine_of(hub.settings.directory))


def _leave(hub: Hub, project: ProjectKey, folder: Path) -> None:
    """Remove the folders of judged runs of a project that nobody can be asked about any more."""
    with suppress(LeaseLost), Lease(hub, project, _LEASE_SECONDS, reports=True):
        for record in _records(hub.runs(project), folder):
            if record.judged:
                end_report(hub, project, record.key, GONE)
                shutil.rmtree(folder / record.key, ignore_errors=True)


def _records(runs: Runs, folder: Path) -> Iterator[RunRecord]:
    """Read the records of the runs whose folders have come as far as a report reads them."""
    return filter(None, (runs.find(one.path.name) for one in _folders(folder)))


def _is_over(hub: Hub, record: RunRecord) -> bool:
    """Whether nothing is left of a run but its report, or not even that: it has failed for good."""
    return (record.judged and bool(record.version)) or record.given_up(hub.settings.run_attempts)


def _folders(folder: Path) -> Iterator[RunFolder]:
    """Give the folders of a project's runs that have come as far as a report reads them."""
    found = map(RunFolder, folder.iterdir()) if folder.is_dir() else ()
    return (one for one in found if one.predictions.is_file())


def write_reports(hub: Hub, project: ProjectKey, asked: Iterable[str] = ()) -> str:
    """Write the reports that are due of the project's runs on this machine, and say of which versions.

    The newest comes first. One whose version was followed by another before its turn is left out, unless it is champion
    or announced, waits for a person, or is a challenger's. Of runs that are ``asked`` for (keys) and have no folder
    here any more, it is said that they get none. Raises StoreError and QueueError, and after the others what keeps one
    from being written for now.
    """
    try:
        with Lease(hub, project, _LEASE_SECONDS, reports=True) as lease:
            for key in asked:
                _give_up_removed(hub, project, key)
            written = _Writing(hub, project, lease).all()
    except LeaseLost as error:
        return f"reports are written later: {error}"
    return f"reports are written of {', '.join(written)}" if written else "no report is due"


def _give_up_removed(hub: Hub, project: ProjectKey, key: str) -> None:
    """Say that a run gets no report, where somebody has removed its folder: without that nothing finds it."""
    if RunFolder(hub.settings.directory / "runs" / str(project) / key).predictions.is_file():
        return
    if end_report(hub, project, key, REMOVED):
        _log.warning("project %s: no report of run %s is written: %s", project, key, REMOVED)


class _Writing:
    """One go at the reports of a project; it is whom a run tells how far it is."""

    def __init__(self, hub: Hub, project: ProjectKey, lease: Lease) -> None:
        self._hub, self._project, self._lease = hub, project, lease
        self._versions, self._runs = hub.versions(project), hub.runs(project)
        self._folder = hub.settings.directory / "runs" / str(project)

    def stage(self, name: str) -> None:  # noqa: ARG002 - see StageReporter
        """Stop where somebody else goes on, or the worker is to end."""
        self._lease.check()

    def __call__(self, what: str, done: int, total: int) -> None:  # noqa: ARG002
        """Likewise."""
        self._lease.check()

    def all(self) -> list[str]:
        """Write all that are due, and name their versions; those that come meanwhile are among them.

        What cannot be written for now is raised after the others.
        """
        seen: set[str] = set()
        done: list[str] = []
        first: Exception | None = None
        while new := [one for one in self._over() if one.key not in seen]:
            for record in new:
                seen.add(record.key)
                try:
                    if self._settled(record):
                        done.append(record.version or "")
                except LeaseLost:
                    raise
                except Exception as error:  # noqa: BLE001 - border: the others are written
                    _log.warning("project %s: the report of %s comes later: %s", self._project, record.version, error)
                    first = first or error
        remove_stale(self._folder)
        if first is not None:
            raise first
        return done

    def _over(self) -> list[RunRecord]:
        """Give the runs on this machine that are over, and that nobody is at: the newest version first."""
        found = [one for one in _records(self._runs, self._folder) if _is_over(self._hub, one)]
        free = [one for one in found if not self._is_at_work(one)]
        return sorted(free, key=lambda one: number_of(one.version) if one.version else 0, reverse=True)

    def _is_at_work(self, record: RunRecord) -> bool:
        """Whether a worker may still be announcing it: it asks again when that is done."""
        return record.stage != "done" and self._hub.state(self._project).is_held(challenger=record.challenger)

    def _settled(self, record: RunRecord) -> bool:
        """Do what is to be done with a run's folder, and say whether its report was written."""
        self._lease.check()
        folder = RunFolder(self._folder / record.key)
        written = False
        try:
            if record.judged and record.report in ("", DUE):
                written = self._written(record, folder)
        except RunOccupied:
            return False
        # The store has the bundle and its report now; this machine's copy has done its work.
        shutil.rmtree(folder.path, ignore_errors=True)
        return written

    def _written(self, record: RunRecord, folder: RunFolder) -> bool:
        """Write a run's report, or keep in its record why there is none."""
        began, tries = time.time(), folder.path / "report-tries"
        try:
            run = self._run(record, folder)
            with run.alone(), _trying(tries) as ended:
                if lacking := _removed(record) or _ended_often(ended):
                    _log.warning("project %s: no report of %s is written: %s", self._project, record.version, lacking)
                elif lacking := self._overtaken(record):
                    run.tell()
                else:
                    run.make("report")
        except Exception as error:
            if isinstance(error, LeaseLost) or self._is_to_come(error, folder):
                raise
            _log.warning("project %s: no report of %s could be made", self._project, record.version, exc_info=True)
            known = isinstance(error, LabelLoopError)
            lacking = f"it could not be made: {error if known else type(error).__name__}. The worker's log says more"
        self._note(record, lacking or WRITTEN, {} if lacking else _found(folder.evaluation), time.time() - began)
        # A registry gets a version with its report.
        reconcile(self._hub, self._project)
        return not lacking

    def _is_to_come(self, error: Exception, folder: RunFolder) -> bool:
        """Whether what a report lacks is away for a while: the files that it shows, for a day at most."""
        if not isinstance(error, MediaError):
            return bool(away(error, self._hub.settings.directory))
        since = folder.path / "unread-since"
        if not since.is_file():
            write_text(since, repr(time.time()))
        return time.time() - float(since.read_text()) < _UNREAD_SECONDS

    def _run(self, record: RunRecord, folder: RunFolder) -> Run:
        """Open a run's folder as it is: its labels and parameters are there."""
        hub, project = self._hub, self._project
        return Run(
            folder,
            project_settings(hub, project),
            {},
            self,
            registrar=Registrar(hub.store, project, record.fence),
            key=record.key,
            archive=False,
            kind=record.kind,
            arms=partial(arms, hub.store, project),
            endpoint_features=features_of(hub, project),
        )

    def _overtaken(self, record: RunRecord) -> str:
        """Say which version has followed, where this one needs no report any more; empty where it does."""
        pointers, version = self._hub.pointer(self._project).read(), record.version
        newest = next((name for name in reversed(self._versions.names()) if self._versions.find(name)), version)
        if version in (newest, pointers.champion, pointers.announced) or record.challenger or record.state == "waiting":
            return ""
        return (
            f"{newest} followed before its turn came, and of versions that come within seconds only the newest and the "
            "champion get one. `labelloop versions` has its figures and verdict"
        )

    def _note(self, record: RunRecord, report: str, found: Json, seconds: float) -> None:
        def change(stands: RunRecord) -> RunRecord:
            took = {"report": round(seconds, 3)} if report == WRITTEN else {}
            metrics = {**stands.metrics, **found}
            return replace(stands, report=report, metrics=metrics, seconds={**stands.seconds, **took})

        self._runs.amend(record.key, change)


def _removed(record: RunRecord) -> str:
    """Say that what the run's files show was removed since; empty where nothing was."""
    return ERASED if record.erased else "its version was pruned before it was written" if record.pruned else ""


@contextmanager
def _trying(tries: Path) -> Iterator[int]:
    """Count the block as a try that ended by itself, unless it comes to an end; gives how many did before."""
    before = int(tries.read_text()) if tries.is_file() else 0
    write_text(tries, str(before + 1))
    with when_asked_to_end(lambda: write_text(tries, str(before))):
        try:
            yield before
        except Exception:
            write_text(tries, str(before))
            raise
        # What comes after the block, as to note it in the store, may fail for now: that is no try either.
        write_text(tries, str(before))


def _ended_often(times: int) -> str:
    """Say that its process ended too many times; empty where it did not."""
    often = (
        f"its process ended {times} times while it was written, by itself or killed with the worker. Was there too "
        "little memory? Give the worker more"
    )
    return often if times >= _TRIES else ""


def _found(evaluation: Path) -> Json:
    """Give what a run's record keeps of its report: what the order was worth, and tasks with probable label errors."""
    order, errors = (evaluation / name for name in ("order.json", "label_errors.json"))
    found: Json = {"order": read_json(order, "report")} if order.is_file() else {}
    if errors.is_file():
        found["label_errors"] = [one["task"] for one in read_json(errors, "report")["errors"]]
    return found
