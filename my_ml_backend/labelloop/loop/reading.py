"""Reads the labels of a run: those of the last manifest, with the tasks that changed since it was read.

The site is asked for these alone, and its sums are checked: the annotations of all tasks together, and the tasks, have
to be as many as its counters say. Where they are not, or something else has changed that decides what labels are,
everything is read. Either way the manifest is the one of that moment.

People go on meanwhile, so annotations are as many as the counters said at some moment of it. What tasks there were is
known for sure: of those up to the newest one, known before any is read, there can only be fewer since.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Self

from labelloop import __version__
from labelloop.data.annotation_counts import AnnotationCounts, Counting
from labelloop.data.labeling import ChangeFeed, Labeling, Touched
from labelloop.data.listing import OF_TEXTS, Record
from labelloop.data.manifest_file import ManifestFile
from labelloop.data.site import spelled
from labelloop.errors import Damaged, NotFound
from labelloop.kinds.base import find
from labelloop.loop.hub import Hub
from labelloop.loop.order import control_mark
from labelloop.loop.project_endpoint import subject_of
from labelloop.loop.project_labels import (
    cached_pictures,
    drop_kept_manifest,
    fetcher_of,
    gather_labels,
    kept_manifest,
    new_manifest,
)
from labelloop.loop.recent_changes import LONG_WHILE, OVERLAP
from labelloop.loop.state import MOST_TOUCHED
from labelloop.run.context import Labeled, Missing
from labelloop.types import Item, LeftOut, Progress, ProjectKey, canonical

_log = logging.getLogger(__name__)

_MOST_CHANGED = 20_000
"""Tasks that are held in memory; where more have changed, everything is read."""

_MOST_NAMED = 500
"""Tasks that the site is asked for by their numbers; where it would be more, everything is read."""

_CLOCKS = 60.0
"""Seconds that the site's clock and this machine's may drift apart between two readings; more is a clock that was set.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the labels of the last manifest were read, so that the next need not read all.

    ``manifest`` is its hash. ``at`` is the site's moment before which the project was described, ``began`` the same by
    this machine's clock and ``whole`` when everything was read last (Unix seconds). ``asked`` names all but annotations
    that decides what labels are. There were ``tasks``, ``newest`` being the last one's number, and ``items`` in the
    manifest; ``again`` are the tasks whose file could not be used. ``unseen``, where annotations were made of
    predictions that nobody saw, names of which tasks predictions were withheld. ``counts`` are the annotations of all
    tasks.
    """

    manifest: str
    at: str
    began: float
    whole: float
    asked: str
    tasks: int
    newest: int
    items: int
    again: tuple[int, ...]
    unseen: str
    counts: AnnotationCounts

    def packed(self) -> bytes:
        """Spell it for Redis."""
        told = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "counts"}
        return canonical(told).encode() + b"\n" + self.counts.packed()

    @classmethod
    def unpacked(cls, content: bytes | None) -> Self | None:
        """Read what ``packed`` wrote; None for nothing, or what another release wrote."""
        head, _, counts = (content or b"").partition(b"\n")
        try:
            told = json.loads(head)
            return cls(**told | {"again": tuple(told["again"])}, counts=AnnotationCounts.unpacked(counts))
        except (ValueError, KeyError, TypeError):
            return None


class _Unsure(Exception):
    """What has changed cannot be told; says why."""


def read_current(
    hub: Hub, project: ProjectKey, labeling: Labeling, progress: Progress
) -> tuple[Labeled, Reading | None]:
    """Read all labels, and say how, for ``keep_reading``; None where the site tells of no single tasks.

    Raises as ``read_labels``.
    """
    feed = labeling.feed
    if feed is None or not feed.at:
        return gather_labels(hub, project, labeling, labeling.records(find(labeling.kind).truth), progress), None
    reader = _Reader(hub, project, labeling, feed, progress)
    try:
        return reader.changed()
    except (_Unsure, NotFound, Damaged) as why:
        _log.info("project %s: all labels are read: %s", project, why)
        return reader.whole()


def keep_reading(hub: Hub, project: ProjectKey, reading: Reading | None) -> None:
    """Note how labels were read, whose manifest is in the store now: the next run reads what changes from then on."""
    if reading is not None:
        hub.state(project).keep_reading(reading.packed(), reading.began)


class _Reader:
    """Reads the labels of one moment; how much of them is known already is its own matter."""

    def __init__(self, hub: Hub, project: ProjectKey, labeling: Labeling, feed: ChangeFeed, progress: Progress) -> None:
        self._hub, self._project, self._labeling, self._feed = hub, project, labeling, feed
        self._progress, self._truth, self._now = progress, find(labeling.kind).truth, time.time()
        self._again: list[int] = []
        self._unseen = False

    def whole(self) -> tuple[Labeled, Reading | None]:
        """Read everything, whatever ``changed`` had found before it gave up."""
        self._again.clear()
        self._unseen = False
        # First, so that one which is gone by then is missed the next time, and one that comes then counted.
        tasks, newest = self._feed.newest(0)
        counting = Counting()

        def records() -> Iterator[Record | LeftOut]:
            for one in self._feed.annotated():
                counting.add(one.task, len(one.made))
                yield from self._records([one])

        labeled = gather_labels(self._hub, self._project, self._labeling, records(), self._progress, self._unfit)
        unseen = self._withheld() if self._unseen else ""
        reading = self._reading(labeled, self._now, tasks, newest, unseen, counting.all())
        return labeled, reading

    def changed(self) -> tuple[Labeled, Reading | None]:
        """Read what has changed; raises _Unsure where that cannot be told, NotFound and Damaged without a manifest."""
        last = self._last()
        self._unseen = bool(last.unseen)
        created, newest = self._feed.newest(last.newest)
        touched = self._touched(last)
        now = {task: len(one.made) for task, one in touched.items()}
        counts, tasks = last.counts.changed(now), last.tasks + created
        if counts.total > self._labeling.counters.rows or last.counts.fell(now):
            # Deleted annotations were their tasks' last ones; one that was deleted since the counting may hide another.
            for one in self._feed.emptied(_ago(last.at, OVERLAP), last.at):
                self._take(touched, one)
            counts = last.counts.changed({task: len(one.made) for task, one in touched.items()})
        self._require_sums(counts.total, tasks, last)
        labeled = self._merged(last, touched)
        if self._unseen and self._withheld() != last.unseen:
            raise _Unsure("predictions were withheld of other tasks")
        return labeled, self._reading(labeled, last.whole, tasks, newest, last.unseen, counts)

    def _last(self) -> Reading:
        last = Reading.unpacked(self._hub.state(self._project).reading())
        if last is None:
            raise _Unsure("how the last ones were read is not known")
        moved = abs((_seconds(self._feed.at) - _seconds(last.at)) - (self._now - last.began))
        least = LONG_WHILE * self._hub.settings.scan_seconds
        for why, holds in {
            "what annotators are asked, or what is learned of it, has changed": last.asked != self._asked(),
            "a clock was set": moved > _CLOCKS,
            "that is done once in a long while": self._now - last.whole >= least,
            "too many files could not be used": len(last.again) > _MOST_NAMED,
            "the last ones' files are not all on this machine": not self._at_hand(last.manifest),
        }.items():
            if holds:
                raise _Unsure(why)
        return last

    def _touched(self, last: Reading) -> dict[int, Touched]:
        """Read the tasks that may have changed, by the site's moments, by webhooks and by what a look has found."""
        touched: dict[int, Touched] = {}
        for one in self._feed.annotated(_ago(last.at, OVERLAP)):
            self._take(touched, one)
        state = self._hub.state(self._project)
        told = state.touched()
        if len(told) >= MOST_TOUCHED:
            raise _Unsure(f"webhooks told of {len(told)} tasks")
        found = {int(name[1:]) for name, _ in state.changes.noted(self._now) if name.startswith("t")}
        named = {*told, *found, *last.again} - touched.keys()
        if len(named) > _MOST_NAMED:
            raise _Unsure(f"{len(named)} tasks are to be looked at, each by itself")
        for one in self._feed.these(sorted(named)) if named else ():
            self._take(touched, one)
        # Those that are not found are gone.
        return {task: Touched(task, None, {}) for task in named} | touched

    def _take(self, touched: dict[int, Touched], one: Touched) -> None:
        touched[one.task] = one
        if len(touched) > _MOST_CHANGED:
            raise _Unsure(f"more than {_MOST_CHANGED} tasks have changed")

    def _require_sums(self, annotations: int, tasks: int, last: Reading) -> None:
        """Raise _Unsure unless there are as many as counters say, or said a moment later, for people go on meanwhile.

        Tasks may come meanwhile, and hide that others are gone: then those that there were last time are counted.
        """
        before = self._labeling.counters
        if tasks != before.tasks and (left := self._feed.up_to(last.newest)) != last.tasks:
            raise _Unsure(f"there were {last.tasks} tasks, and {left} of them are left")
        if annotations == before.rows:
            return
        low, high = sorted((before.rows, self._feed.counters().rows))
        if not low <= annotations <= high:
            raise _Unsure(f"{annotations} annotations are known, and counters tell of {high}")

    def _merged(self, last: Reading, touched: Mapping[int, Touched]) -> Labeled:
        """Fetch the files of what has changed, and make the manifest of it and the last one."""
        in_order = (touched[task] for task in sorted(touched))
        found: dict[int, Item | LeftOut | None] = dict.fromkeys(touched)
        missing, base = Missing(), ManifestFile(kept_manifest(self._hub, self._project, last.manifest))
        fetcher = fetcher_of(self._hub, self._project, self._labeling)
        beside = last.items - sum(base.find(task)[1] is not None for task in touched)
        records = self._records(in_order)
        for record, item in fetcher.fetch(records, len(touched) + beside, self._progress, missing, beside):
            found[item.task] = item
            self._unfit(record, item)
        try:
            manifest = new_manifest(self._hub, self._project, lambda target: base.changed(found, target))
        except Damaged:
            drop_kept_manifest(self._hub, self._project, last.manifest)
            raise
        return Labeled(manifest, missing=missing)

    def _records(self, touched: Iterable[Touched]) -> Iterator[Record | LeftOut]:
        for one in touched:
            if one.example is not None:
                self._unseen |= any(vote.unseen and not vote.ground_truth for vote in one.example.votes)
                yield self._labeling.record(one.example, self._truth)

    def _unfit(self, record: Record | LeftOut, found: Item | LeftOut) -> None:
        """Note a task whose labels would do, and whose file does not: it may be another one next time."""
        if isinstance(record, Record) and isinstance(found, LeftOut):
            self._again.append(found.task)

    def _reading(
        self, labeled: Labeled, whole: float, tasks: int, newest: int, unseen: str, counts: AnnotationCounts
    ) -> Reading:
        manifest, again = labeled.manifest, tuple(self._again)
        cached_pictures(self._hub).note_whole(self._project, manifest.hash)
        return Reading(
            manifest.hash,
            self._feed.at,
            self._now,
            whole,
            self._asked(),
            tasks,
            newest,
            len(manifest.items),
            again,
            unseen,
            counts,
        )

    def _asked(self) -> str:
        """Name what decides what labels are, beside annotations: another release may read these otherwise."""
        labeling, subject = self._labeling, subject_of(self._hub, self._project)
        said = [self._feed.asked, labeling.kind, labeling.choice, labeling.classes, subject.tag, subject.foreign]
        return hashlib.sha256(canonical([__version__, *said]).encode()).hexdigest()

    def _withheld(self) -> str:
        return control_mark(self._hub.store, self._project)

    def _at_hand(self, manifest: str) -> bool:
        return self._labeling.kind in OF_TEXTS or cached_pictures(self._hub).is_whole(self._project, manifest)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _ago(moment: str, seconds: float) -> str:
    return spelled(datetime.fromisoformat(moment) - timedelta(seconds=seconds))
