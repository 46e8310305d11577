"""Which tasks changed since the last look: the site is asked for those alone, so a look costs what has changed.

Its sums are checked. With the annotations that it saw made, less those that are gone, the site's counters have to come
out; where they do not twice in a row, something has changed that moves no task's moment, and only a scan of everything
finds it.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from labelloop.data.labeling import Touched
from labelloop.data.site import Overview, spelled
from labelloop.loop.comparison import ComparedTask, LastManifest
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import subject_of
from labelloop.loop.project_registry import site_of
from labelloop.loop.state import Looked, Seen
from labelloop.models.runs import RunRecord
from labelloop.settings import Settings
from labelloop.types import ProjectKey

OVERLAP = 120.0
"""Seconds that a look goes back behind the last one: others see a change later than its moment says, and servers have
clocks of their own."""

_SHARE, _SHARE_OF_MISSED = 100, 20
"""One part in so many of the site's time is what looks may take: while all that counters tell is noted, or is not."""

_MOST_RECENT = 5_000
"""Annotations that are remembered by number; after more the sums of one look are not checked."""

LONG_WHILE = 24
"""Everything is scanned after this many ``LABELLOOP_SCAN_SECONDS``, whatever sums say."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known before anything is asked: the last counters, where the last look began, the last run."""

    seen: Seen
    looked: Looked
    record: RunRecord | None
    read_at: float
    """When the last run began to read its labels (Unix seconds); 0 where there was none."""
    learned: str = ""
    """The control tag that is to be learned; empty where nobody says which."""

    @classmethod
    def of(cls, hub: Hub, project: ProjectKey) -> "Known":
        """Read it of Redis and the store."""
        state, record = hub.state(project), hub.runs(project).latest()
        seen, read_at = state.seen(), state.read_at(record.manifest) if record is not None else 0.0
        if read_at is None and record is not None:
            # By an earlier release, which noted it as the last scan's moment; its record is of a little later.
            created = datetime.fromisoformat(record.created).timestamp() if record.created else 0.0
            read_at = min(created, seen.scanned or created)
        return cls(seen, state.looked(), record, read_at or 0.0, subject_of(hub, project).tag)

    @property
    def manifest(self) -> str:
        """The hash of what is compared with; empty where nothing was learned yet."""
        return self.record.manifest if self.record is not None else ""

    def manifest_moment(self, found: Overview, now: float) -> str:
        """Give the site's moment at which the last run began to read its labels; empty where that is not known."""
        return _ago(found, max(0.0, now - self.read_at)) if self.read_at and found.at else ""

    def since(self, found: Overview, now: float) -> str:
        """Give the site's moment from which a look asks; empty where none is known that would do."""
        if not found.at or not self.seen.scanned:
            return ""
        begin = min(self.looked.at or now, self.seen.scanned if not self.looked.since else now)
        if self.looked.manifest != self.manifest:
            # What was noted before the manifest is settled, and found again where it is not in there.
            begin = min(begin, self.read_at or self.seen.scanned)
        # By seconds that have passed since, for the site's clock may have been turned back.
        back = _ago(found, max(0.0, now - begin) + OVERLAP)
        return min(filter(None, (back, self.looked.since)))

    def look_due(self, found: Overview, noted: int, settings: Settings) -> float:
        """Say from when on it is time to look again (Unix seconds); counters may tell of more than is ``noted``."""
        moved = abs(found.counters.rows - self.looked.annotations)
        share = _SHARE if moved <= noted and found.counters.tasks >= self.looked.tasks else _SHARE_OF_MISSED
        pause = min(settings.scan_seconds, share * self.looked.took)
        return self.looked.at + pause if pause > settings.sweep_seconds else 0.0

    def scan_due(self, found: Overview, noted: int, least: float, now: float) -> tuple[float, str]:
        """Say when everything is to be scanned (Unix seconds), and why; ``least`` seconds are between two scans."""
        earliest = self.seen.scanned + least
        if not self.seen.scanned:
            return now, "nothing is known of what was compared before"
        if self.seen.annotations < 0:
            return earliest, "a storage's object does not tell which label it is"
        if self.asks_anew(found):
            return earliest, "the label config, or what is learned of it, has changed"
        if self.looked.doubt and self.looked.at > self.looked.doubt:
            return earliest, "counters tell of something that no look has found, such as a deleted task"
        if not found.at:
            moved = abs(found.counters.annotations - self.seen.annotations)
            if moved + abs(found.counters.skipped - self.seen.skipped) > noted:
                return earliest, "counters tell of more than is noted"
        return self.seen.scanned + LONG_WHILE * least, "nothing calls for it but that it is done once in a long while"

    def asked(self, found: Overview) -> str:
        """Name what annotators are asked, and what of it is learned."""
        told = f"{found.asked}\0{self.learned}" if self.learned else found.asked
        return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()

    def asks_anew(self, found: Overview) -> bool:
        """Whether that is another thing than when everything was scanned."""
        return self.looked.asked not in ("", self.asked(found))

    def after_scan(self, found: Overview, now: float) -> Looked:
        """Say where the next look begins when everything has been scanned."""
        counters, since = found.counters, _following(found)
        return Looked(
            since, counters.tasks, counters.rows, None, self.asked(found), self.manifest, now, self.looked.took
        )


class RecentChanges:
    """One look: ``found`` is how the project stood just before, ``now``.

    Raises StudioError, StoreError, LabelConfigError while it is gone through.
    """

    def __init__(self, hub: Hub, project: ProjectKey, known: Known, found: Overview, now: float) -> None:
        self._hub, self._project, self._known, self._found, self._now = hub, project, known, found, now
        self.since = known.since(found, now)
        self.looked = known.looked
        """Where the next look begins, when all has been gone through."""
        self._manifest: LastManifest | None = None

    def tasks(self) -> Iterator[ComparedTask] | None:
        """Give the tasks that changed since, compared with the last manifest; None where the site cannot tell them."""
        touched = self._changed() if self.since else None
        return None if touched is None else self._compared(touched)

    def note(self) -> bool:
        """Note which of these tasks have changed; False where the site cannot tell them."""
        tasks = self.tasks()
        if tasks is None:
            return False
        state, counters = self._hub.state(self._project), self._found.counters
        compared = ((one.task, bool(one.why), one.annotations) for one in tasks)
        state.changes.compare(compared, self._now, self._known.read_at)
        if self.adds_up:
            # What is noted of annotations that were not found is of those that are gone, with their tasks or without.
            state.changes.drop(self._now)
            state.see(Seen(counters.tasks, counters.annotations, counters.skipped, self._known.seen.scanned))
        state.look(self.looked)
        return True

    @property
    def adds_up(self) -> bool:
        """Whether counters tell of nothing that was not found."""
        return not self.looked.doubt

    def _changed(self, *, annotated: bool = True) -> Iterator[Touched] | None:
        site = site_of(self._hub, self._project.id)
        return site.changed(self.since, subject_of(self._hub, self._project), annotated=annotated)

    def _compared(self, touched: Iterator[Touched]) -> Iterator[ComparedTask]:
        before, following, began, took = self._known.looked, _following(self._found), time.monotonic(), 0.0
        known, recent, count, new = before.recent or {}, dict[str, str](), 0, 0
        for one in touched:
            took = took or time.monotonic() - began
            count += 1
            for number, made in one.made.items():
                # SQLite gives the number of the last annotation again, when that was deleted.
                new += made > before.since and known.get(str(number)) != made
                if made > following and len(recent) <= _MOST_RECENT:
                    recent[str(number)] = made
            yield self._compare(one)
        took = took or time.monotonic() - began
        # What came while this was read is among what was read, among what was counted, or both.
        slack = self._slack() if count else 0
        gone = None if before.recent is None else before.annotations + new - self._found.counters.rows
        if gone is None or gone > 0:
            for one in self._changed(annotated=False) or ():
                yield self._compare(one)
        if self._is_doubtful(gone or 0, slack):
            self.looked = replace(before, at=self._now, took=took, doubt=before.doubt or self._now)
            return
        self.looked = Looked(
            following,
            self._found.counters.tasks,
            self._found.counters.rows,
            None if slack or len(recent) > _MOST_RECENT else recent,
            # A label config that is new is noted by the scan that it calls for.
            before.asked or self._known.asked(self._found),
            self._known.manifest,
            self._now,
            took,
        )

    def _compare(self, one: Touched) -> ComparedTask:
        # A look that finds nothing reads neither label config nor manifest.
        known = self._known
        if self._manifest is None:
            read_at = known.manifest_moment(self._found, self._now)
            self._manifest = LastManifest(self._hub, self._project, known.record, read_at)
        return self._manifest.compared(one)

    def _slack(self) -> int:
        return abs(site_of(self._hub, self._project.id).overview().counters.rows - self._found.counters.rows)

    def _is_doubtful(self, gone: int, slack: int) -> bool:
        """Whether there are annotations that no look has found, or tasks may be gone with theirs."""
        tasks, before = self._found.counters.tasks, self._known.looked.tasks
        if before < 0:
            return False
        return gone < -slack or tasks < before or (gone > slack and tasks != before)


def _following(found: Overview) -> str:
    """Give the moment from which the next look asks."""
    return _ago(found, OVERLAP) if found.at else ""


def _ago(found: Overview, seconds: float) -> str:
    """Give the site's moment so many seconds before the project was described."""
    return spelled(datetime.fromisoformat(found.at) - timedelta(seconds=seconds))
