"""What there is to be told of a project: a version promoted, rejected, rolled back to, worse; what failed; a drift.

It is read from the store, never taken from whoever did it: so it does not matter how a run came to its end, who was
killed on the way, or whether somebody was there at all.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from labelloop.errors import SettingsError
from labelloop.loop.deploy import deployment_of
from labelloop.loop.hub import Hub
from labelloop.models.champion import Pointers
from labelloop.models.headline import headline
from labelloop.models.model_runs import ModelRunJob, ModelRunJobs
from labelloop.models.records import readable, readable_record, to_bytes, update
from labelloop.models.runs import RunRecord
from labelloop.models.versions import number_of
from labelloop.types import Json, ProjectKey
from labelloop.watch.comparison import WORSE, Comparison
from labelloop.watch.records import Watched

_LATE = timedelta(days=1)
"""What is older is not told any more: at the first look at a project, or after a long silence, it would be a flood."""

PROMOTED, REJECTED, FAILED, ROLLED_BACK, DRIFT = "promoted", "rejected", "failed", "rolled_back", "drift"
DEPLOYMENT_FAILED = "deployment_failed"


@dataclass(frozen=True, slots=True)
class Message:
    """What is told of one moment, as it goes out in JSON.

    ``id`` is the moment's among those of its project. ``project`` is a project's number and ``title`` its name, or
    RUN/TYPE of a model run, whose ``model_run`` is its id and whose ``type`` is what was chosen in the menu. ``reason``
    is the verdict, or why it is so; ``figure`` has name, value, low and high, or is None where nothing was measured.
    ``time`` is UTC, ISO 8601; ``text`` says all of it in words.
    """

    id: str
    event: str
    project: str
    time: str
    version: str = ""
    reason: str = ""
    figure: Json | None = None
    title: str = ""
    model_run: str = ""
    type: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Told:
    """``notified.json``: the moments that were told, or need no telling, by their ids."""

    ids: tuple[str, ...] = ()


class Told:
    """Reads and notes what was told of one project. Safe to share between processes; raises StoreError."""

    def __init__(self, hub: Hub, project: ProjectKey) -> None:
        self._store, self._path = hub.store, f"{project}/notified.json"

    def read(self) -> frozenset[str]:
        """Give the ids of all that was told; of a damaged record none."""
        found = readable_record(self._store, self._path, _Told)
        return frozenset(found.ids) if found else frozenset()

    def note(self, ids: list[str]) -> None:
        """Note that these are told."""

        def change(content: bytes | None) -> bytes | None:
            stands = (readable(_Told, content, self._path) if content else None) or _Told()
            new = [one for one in ids if one not in stands.ids]
            return to_bytes(_Told((*stands.ids, *new))) if new else None

        update(self._store, self._path, change)


@dataclass
class News:
    """One look at a project: ``messages`` gives what is to be told, and ``settled`` has what needs no telling then.

    Raises StoreError.
    """

    hub: Hub
    project: ProjectKey
    told: frozenset[str]
    settled: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pointers: Pointers = self.hub.pointer(self.project).read()
        jobs = ModelRunJobs(self.hub.store)
        self._job: ModelRunJob | None = jobs.read(self.project) if self.project.model_run else None

    def messages(self) -> Iterator[Message]:
        """Give what is new and not too old, each with version, reason and figure."""
        yield from self._champions()
        yield from self._runs()
        yield from self._jobs()
        yield from self._drifts()
        yield from self._worse()
        yield from self._deployments()

    def _new(self, name: str, event: str, at: str) -> Message | None:
        """Begin a message; None where it was told before, or is too old to be told."""
        if name in self.told:
            return None
        if datetime.now(UTC) - datetime.fromisoformat(at) > _LATE:
            self.settled.append(name)
            return None
        chosen = self._job.entry if self._job else ""
        return Message(name, event, self.project.shown, at, model_run=self.project.model_run, type=chosen)

    def _champions(self) -> Iterator[Message]:
        """Every change of the champion: to a later version it is promoted, to an earlier one rolled back to."""
        before = ""
        for reign in self._pointers.history:
            back = bool(before) and number_of(reign.version) < number_of(before)
            name = f"champion {reign.version} {reign.fence}"
            if (made := self._new(name, ROLLED_BACK if back else PROMOTED, reign.at)) is not None:
                record = self.hub.versions(self.project).find(reign.version)
                again = self._pointers.reason(reign).why or f"it takes the place of {before} again"
                why = again if back else record.verdict if record else ""
                yield self._of_version(replace(made, reason=why), reign.version)
            before = reign.version

    def _runs(self) -> Iterator[Message]:
        """Runs that were rejected, or have failed for good; records of runs that are over are not read again."""
        runs = self.hub.runs(self.project)
        latest = runs.latest()
        if latest is None:
            return
        over = {name.split()[1] for name in self.told if name.startswith("run ")}
        # The latest in any case: what had failed for good may have been tried again.
        others = (runs.find(key) for key in runs.names() if key not in over and key != latest.key)
        for record in filter(None, (*others, latest)):
            if record.state in (PROMOTED, REJECTED) or record.given_up(self.hub.settings.run_attempts):
                yield from self._ended(record)

    def _ended(self, record: RunRecord) -> Iterator[Message]:
        name = f"run {record.key} {record.state}"
        if record.state == PROMOTED or (record.state == FAILED and self.project.model_run):
            # The champion's history tells it, and of a model run its job.
            if name not in self.told:
                self.settled.append(name)
        elif (made := self._new(name, record.state, record.updated)) is not None:
            why = record.verdict if record.state == REJECTED else record.reason
            yield self._of_version(replace(made, reason=why), record.version or "")

    def _jobs(self) -> Iterator[Message]:
        """What was asked for a model run and has failed."""
        job = self._job
        if job is None or job.state != FAILED:
            return
        if (made := self._new(f"job {job.attempts} failed", FAILED, job.updated)) is not None:
            yield self._of_version(replace(made, reason=job.reason), job.version)

    def _drifts(self) -> Iterator[Message]:
        """A drift that the last look at the announced version found, once for each time that one begins."""
        version = self._pointers.announced
        if self.hub.settings.drift == "off" or not version:
            return
        looks = Watched(self.hub.store, self.project, version).looks()
        if looks.judgement is None or not looks.judgement.drifts:
            return
        began = datetime.fromtimestamp(looks.since, UTC).isoformat(timespec="microseconds")
        if (made := self._new(f"drift {version} {looks.since:.0f}", DRIFT, began)) is not None:
            yield replace(made, version=version, reason=str(looks.judgement))

    def _worse(self) -> Iterator[Message]:
        """That the announced version is worse than its predecessor, and why it stays, once for the two."""
        version = self._pointers.announced
        if self.hub.settings.rollback == "off" or not version:
            return
        found = Comparison(self.hub.store, self.project, version).read()
        if not found.worse:
            return
        if (made := self._new(f"worse {version} {found.predecessor}", WORSE, found.at)) is not None:
            yield self._of_version(replace(made, reason=found.told_of_stay(version, self.project)), version)

    def _deployments(self) -> Iterator[Message]:
        """A champion that could not be brought to its endpoint: once for each time that it became champion.

        It is tried again and again, and fails the same way. Where the endpoint cannot be named, the rest is told.
        """
        with suppress(SettingsError):
            seen = deployment_of(self.hub, self.project)
            reign = next((one for one in reversed(self._pointers.history) if seen and one.version == seen.wanted), None)
            if seen is None or seen.stage != "failed" or reign is None:
                return
            failed = datetime.fromtimestamp(max(seen.begun, seen.looked), UTC).isoformat(timespec="microseconds")
            if (made := self._new(f"deployment {seen.wanted} {reign.fence}", DEPLOYMENT_FAILED, failed)) is not None:
                yield self._of_version(replace(made, reason=seen.reason), seen.wanted)

    def _of_version(self, message: Message, version: str) -> Message:
        """Add a version and its figure, where there is one."""
        record = self.hub.versions(self.project).find(version) if version else None
        name, figure = headline((record.metrics.get("test") or {}) if record else {})
        measured = None if figure["value"] is None else {"name": name, **figure}
        return replace(message, version=version, figure=measured)
