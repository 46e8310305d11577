"""A project's own history, gone through by a policy: when it would have begun a run, and with how many labels.

What decides is what decides in the loop (loop/outlook.py), at the moments at which labels changed. Memory does not grow
with the history: its moments are sorted in files.
"""

import heapq
import math
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import IO, NamedTuple

from labelloop.data.site import TaskMoments
from labelloop.loop.outlook import Situation, decide
from labelloop.loop.retrain_policy import DAY_SECONDS, Imported, Pending, Ran, RetrainPolicy
from labelloop.models.runs import RunRecord
from labelloop.types import chunks

_AT_ONCE = 50_000
"""Moments that are sorted in memory."""

_KEPT = struct.Struct("<dd")


class Changed(NamedTuple):
    """A label changed ``at`` a moment, and the same task ``before`` (Unix seconds; -inf: it had no label yet)."""

    at: float
    before: float = -math.inf


@dataclass(frozen=True, slots=True)
class Began:
    """A run that the policy would have begun ``at`` a moment (Unix seconds), for so many ``changed`` labels.

    ``labeled`` tasks there were by then; the first of the changes waited so many seconds. ``why`` is the outlook's.
    """

    at: float
    changed: int
    labeled: int
    waited: float
    why: str


def changes_of(tasks: Iterable[TaskMoments]) -> Iterator[Changed]:
    """Give all changes of tasks, in order of time."""
    found = (change for task in tasks for change in _of_task(task))
    with ExitStack() as files:
        parts = [_kept(sorted(some), files) for some in chunks(found, _AT_ONCE)]
        yield from heapq.merge(*parts)


def _of_task(task: TaskMoments) -> Iterator[Changed]:
    before = -math.inf
    for at in sorted(set(task.moments)):
        yield Changed(at, before)
        before = at


def _kept(some: list[Changed], files: ExitStack) -> Iterator[Changed]:
    """Keep sorted changes in a file, and read them from there, one at a time."""
    file = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with the others
    file.writelines(_KEPT.pack(*change) for change in some)
    file.seek(0)
    return _read(file)


def _read(file: IO[bytes]) -> Iterator[Changed]:
    while content := file.read(_KEPT.size):
        yield Changed(*_KEPT.unpack(content))


@dataclass(frozen=True, slots=True)
class Happened:
    """A run that really began ``at`` a moment (Unix seconds), with so many ``labeled`` tasks, and what it became."""

    at: float
    labeled: int
    key: str
    state: str
    version: str | None
    trigger: str


@dataclass(slots=True)
class Replay:
    """Goes through changes by a policy. A run takes ``run_seconds``; labels that come meanwhile are for the next one.

    Importing the predictions of its version takes ``import_seconds`` of these.
    ``changes`` and ``labeled`` say how many changes, and tasks with a label, were gone through so far, ``until`` when.
    """

    policy: RetrainPolicy
    run_seconds: float
    import_seconds: float = 0.0
    changes: int = 0
    labeled: int = 0
    until: float = 0.0
    _pending: Pending = field(default_factory=Pending)
    _settled: float = -math.inf
    _lacking: bool = False
    _ran: tuple[Ran, ...] = ()

    def runs(self, changes: Iterable[Changed], really: Iterable[RunRecord], now: float) -> Iterator[Began | Happened]:
        """Give the runs that would have begun until ``now`` (Unix seconds), and those that really did, in order."""
        moments: Iterator[tuple[float, Changed | RunRecord]] = ((change.at, change) for change in changes)
        for at, what in heapq.merge(moments, _moments(really), key=lambda one: one[0]):
            yield from self._begun(at)
            if isinstance(what, Changed):
                self._note(what)
            else:
                yield Happened(at, self.labeled, what.key, what.state, what.version, what.trigger)
        yield from self._begun(now)

    def _note(self, change: Changed) -> None:
        self.changes, self.until = self.changes + 1, change.at
        self.labeled += change.before == -math.inf
        again = change.before > self._settled
        first = self._pending.first if self._pending.changed else change.at
        self._pending = Pending(self._pending.changed + (not again), first, change.at)

    def _begun(self, until: float) -> Iterator[Began]:
        """Give the runs that begin before a moment, given no other change."""
        while (at := self._due(until)) is not None and at < until:
            pending, ran = self._pending, self._ran
            why = decide(self.policy, self._stands(at)).why
            self._settled, self._pending = at, Pending()
            self._lacking = self.labeled < self.policy.min_labels and not ran
            if not self._lacking:
                self._ran = (*(run for run in ran if run.began > at - DAY_SECONDS), Ran(at, self.run_seconds))
                yield Began(at, pending.changed, self.labeled, at - pending.first, why)

    def _due(self, until: float) -> float | None:
        """Say when the next run begins, as decided when the last change, or the run that it came in, was over.

        None where it does not before ``until``.
        """
        due = self.policy.due(self._pending, lacking=self._lacking)
        if due is None or due >= until:
            # Nothing makes a run begin earlier, and most changes are followed by another: this alone is asked of them.
            return None
        ended = self._ran[-1].began + self.run_seconds if self._ran else 0.0
        found = decide(self.policy, self._stands(max(self.until, ended)))
        return None if found.at is None else max(found.at, ended)

    def _stands(self, now: float) -> Situation:
        ended = self._ran[-1].began + self.run_seconds if self._ran else 0.0
        last = _trained(ended) if self._ran else None
        imported = Imported(ended, self.import_seconds) if last else None
        lacking = "labels" if self._lacking else ""
        champion = "the last one" if last else None
        return Situation(
            now, self._pending, lacking=lacking, last=last, champion=champion, ran=self._ran, imported=imported
        )


def seconds_of(records: Iterable[RunRecord], usual: float) -> tuple[float, float]:
    """Say how long a run takes, and importing in it: the median of those that came to a verdict, of no challengers.

    ``usual`` seconds where none did, and none of importing where none was promoted.
    """
    runs = [one for one in records if one.judged and one.seconds and not one.challenger]
    imports = [one.seconds.get("import", 0.0) for one in runs if one.state == "promoted"]
    # Importing is a part of a stage, not one of its own.
    taken = [sum(took for name, took in one.seconds.items() if name != "import") for one in runs]
    return median(taken or [usual]), median(imports or [0.0])


def _trained(ended: float) -> RunRecord:
    moment = datetime.fromtimestamp(ended, UTC).isoformat(timespec="microseconds")
    return RunRecord("replayed", "", "", "", 0, state="promoted", updated=moment)


def _moments(records: Iterable[RunRecord]) -> list[tuple[float, Changed | RunRecord]]:
    found = sorted((one for one in records if one.created), key=lambda one: one.created)
    return [(datetime.fromisoformat(one.created).timestamp(), one) for one in found]
