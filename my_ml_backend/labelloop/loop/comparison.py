"""Compares what annotators say with the last manifest: of single tasks, or of all of them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labelloop.data.labeling import Example, Touched
from labelloop.data.listing import Record
from labelloop.data.manifest import truth_by_task
from labelloop.data.manifest_file import ManifestFile
from labelloop.data.split import Tally, lacking_labels
from labelloop.errors import Damaged, NotFound
from labelloop.kinds.base import find
from labelloop.kinds.majority import Truth
from labelloop.loop.hub import Hub
from labelloop.loop.project_labels import kept_manifest, labeling_of
from labelloop.models.runs import RunRecord, manifest_path
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ComparedTask:
    """A task that was compared: ``why`` it counts as changed, empty where it does not, None where nobody can tell.

    ``annotations`` are those it has, by number, as far as they are known.
    """

    task: int
    why: str | None
    annotations: tuple[int, ...] = ()


class LastManifest:
    """What the project's last run was made of, against which single tasks are compared.

    ``read_at`` is the site's moment at which that was read. Raises StudioError, StoreError, LabelConfigError.
    """

    def __init__(self, hub: Hub, project: ProjectKey, record: RunRecord | None, read_at: str) -> None:
        self._labeling = labeling_of(hub, project)
        self._truth = find(self._labeling.kind).truth
        path = _path(hub, project, record)
        self._table = ManifestFile(path) if path is not None else None
        self._read_at = read_at

    def compared(self, one: Touched) -> ComparedTask:
        """Say whether a task that was touched has another truth than in the manifest."""
        held, before = self._table.find(one.task) if self._table is not None else (False, None)
        return ComparedTask(one.task, self._why(one, held, before), tuple(one.made))

    def _why(self, one: Touched, held: bool, before: Truth | None) -> str:
        found = self._labeling.record(one.example, self._truth) if one.example is not None else None
        if not isinstance(found, Record):
            if before is None:
                return ""
            return "not usable any more" if found else "skipped" if one.made else "deleted"
        if not held:
            # The manifest would have it, had it been more than skipped.
            return "un-skipped" if any(made < self._read_at for made in one.made.values()) else "created"
        if before is None:
            # It may have been left out for want of its picture.
            return "usable now" if one.example is not None and one.example.at > self._read_at else ""
        return "" if before == _said(found) else "edited"


def compare_all(hub: Hub, project: ProjectKey, record: RunRecord | None, read_at: str) -> Iterator[ComparedTask]:
    """Give all tasks that changed, and those of which nobody can tell; ``read_at`` is as for ``LastManifest``.

    Labels and manifest are both read in order of task, one at a time. Notes what is learned, and what a first version
    lacks. Raises StudioError, StoreError, LabelConfigError.
    """
    labeling = labeling_of(hub, project)
    hub.state(project).note("learns", labeling.told)
    seen, path = Tally(), _path(hub, project, record)
    known = truth_by_task(path) if path is not None else iter(())
    truth = find(labeling.kind).truth
    for task, example, held, before in _side_by_side(labeling.examples(), known):
        found = labeling.record(example, truth) if example is not None else None
        if example is not None and isinstance(found, Record):
            seen.add(found.labels)
            if not held:
                yield ComparedTask(task, "created")
            elif before is None:
                # What the last manifest left out, for want of its picture perhaps, may be as it was.
                yield ComparedTask(task, "usable now" if read_at and example.at > read_at else None)
            elif before != _said(found):
                yield ComparedTask(task, "edited")
        elif before is not None:
            yield ComparedTask(task, "not usable any more" if found else "deleted or skipped")
    if hub.pointer(project).read().champion is None:
        lacking = lacking_labels(
            seen.items,
            seen.labels,
            labeling.classes,
            hub.settings.min_labels,
            find(labeling.kind),
            per_class=hub.settings.min_labels_per_class,
        )
        hub.state(project).note("missing", lacking)


def _side_by_side(
    examples: Iterator[Example], known: Iterator[tuple[int, Truth | None]]
) -> Iterator[tuple[int, Example | None, bool, Truth | None]]:
    """Give each task that is labeled or in the manifest: what it says, whether it is in there, and its truth there."""
    before = next(known, None)
    for found in examples:
        while before is not None and before[0] < found.task:
            yield before[0], None, True, before[1]
            before = next(known, None)
        if before is not None and before[0] == found.task:
            yield found.task, found, True, before[1]
            before = next(known, None)
        else:
            yield found.task, found, False, None
    if before is not None:
        yield before[0], None, True, before[1]
    yield from ((task, None, True, truth) for task, truth in known)


def _said(record: Record) -> Truth:
    return Truth(record.labels, result=record.result, confirmed=record.confirmed)


def _path(hub: Hub, project: ProjectKey, record: RunRecord | None) -> Path | None:
    """Bring the last run's manifest onto this machine; None where there is none, or one that is damaged."""
    if record is None:
        return None
    try:
        return kept_manifest(hub, project, record.manifest)
    except NotFound:
        return None
    except Damaged as error:
        path = manifest_path(project, record.manifest)
        _log.warning("%s is damaged (%s): all labels count as changed, and the next run writes one anew", path, error)
        return None
