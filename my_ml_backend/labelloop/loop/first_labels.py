"""Which tasks come first before a project's first version: typical and different ones, and held-out ones at random.

No version orders tasks yet. So those that wait get empty predictions of FIRST_LABELS, which is no version, with the
scores by which Label Studio orders them. ``/setup`` answers that name, and our ML backend has it as its title, until a
version is announced. Features are of the kind's first weights, which nobody's label has touched.

At most SAMPLE tasks that chance chooses are compared; the others have no prediction, and come last, by chance. Tasks
that come later are compared with each other and with what is labeled. The places of each batch are spread evenly over
the same scores, so new ones come in between the earlier ones, which keep theirs.
"""

import hashlib
import heapq
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from labelloop.data.labeling import Labeling
from labelloop.data.site import Interface, Site
from labelloop.errors import LabelConfigError, MediaError, SettingsError, TrainingError, UnknownKind
from labelloop.kinds.base import find
from labelloop.loop.attempts import project_settings
from labelloop.loop.hub import Hub
from labelloop.loop.imports import Imports
from labelloop.loop.order import end_first, is_held_out, note_first, order_score, read_order, without_version
from labelloop.loop.project_endpoint import subject_of
from labelloop.loop.project_labels import cached_pictures, fetcher_of, labeling_of, read_labels
from labelloop.loop.project_registry import site_of
from labelloop.models.task_contents import TaskContents
from labelloop.run.fetch import noted
from labelloop.sources.reader import READERS
from labelloop.types import FIRST_LABELS, NO_VERSION, Item, Json, Progress, ProjectKey

_log = logging.getLogger(__name__)

SAMPLE = 1000
"""Tasks that wait in an order at a time; their pictures are kept for the first run. As many labeled ones at most are
compared with them: of all pairs something is held in memory."""

_FEW = 10
"""One in so many of them: when no more are lacking, none is added."""

_SECONDS = 60.0
"""To read the file of one task in."""


def is_wanted(hub: Hub, project: ProjectKey) -> bool:
    """Whether tasks are to be ordered without a version. Raises StoreError."""
    return hub.settings.first_labels and hub.pointer(project).read().champion is None


def order_first(hub: Hub, project: ProjectKey, progress: Progress) -> int:
    """Give tasks that wait a place, as many as may have one, and say to how many it was given.

    Where nothing tells how alike they are, none gets one, which is logged; a project that is not connected is left
    alone. The caller holds the project's lease. Cut off and called again, it gives the same places. Raises StudioError,
    StoreError and QueueError.
    """
    site = site_of(hub, project.id)
    if site.connection() is None:
        return 0
    known = _known(hub, project)
    given: dict[int, float] = {}
    lacking = SAMPLE - (site.count_waiting(NO_VERSION) - site.count_waiting(FIRST_LABELS))
    if lacking > SAMPLE // _FEW:
        # What has a place and no prediction is what was cut off, or what somebody has deleted the prediction of.
        without = (task for task in site.waiting(FIRST_LABELS) if not _is_again(task["id"], known, given))
        sample = heapq.nsmallest(lacking, without, key=lambda task: _rank(task["id"]))
        new = _compared(hub, project, site, sample, progress)
        if new:
            note_first(hub.store, project, new)
            given |= new
    if not known and not given:
        return 0
    progress("tasks", 0, len(given))
    with Imports(site, project) as imports:
        for task, score in given.items():
            imports.add(task, without_version(score))
    hub.state(project).announce(FIRST_LABELS)
    site.announce(FIRST_LABELS)
    return len(given)


def give_up(hub: Hub, project: ProjectKey) -> None:
    """End the order, for something predicts by now. Raises StoreError and QueueError."""
    end_first(hub.store, project)
    hub.state(project).announce(NO_VERSION)


def _known(hub: Hub, project: ProjectKey) -> dict[int, float]:
    order = read_order(hub.store, project, FIRST_LABELS)
    return {int(task): score for task, score in order.scores.items()} if order else {}


def _is_again(task: int, known: Mapping[int, float], given: dict[int, float]) -> bool:
    """Whether a task has a place already, which it is given again."""
    if task in known:
        given[task] = known[task]
    return task in known


def _compared(
    hub: Hub, project: ProjectKey, site: Site, sample: Sequence[Json], progress: Progress
) -> dict[int, float]:
    """Place tasks by what they show, each somewhere in [0, 1); none where nothing can be told of that."""
    try:
        return _places(hub, project, site, sample, progress)
    except (ImportError, TrainingError, UnknownKind, LabelConfigError, SettingsError, MediaError) as error:
        _log.info("project %s: tasks are not ordered before the first version: %s", project, error)
        return {}


def _places(hub: Hub, project: ProjectKey, site: Site, sample: Sequence[Json], progress: Progress) -> dict[int, float]:
    labeling, settings = labeling_of(hub, project), project_settings(hub, project)
    kind, interface = find(labeling.kind), site.interface(subject_of(hub, project))
    notes = hub.task_contents(project) if hub.settings.early_features and kind.featured(settings) else None
    reader = _Reader(hub, project, labeling, interface, notes)
    # Who cannot compare them says so of one, before a thousand files are read.
    if one := reader.read(sample[:1], progress):
        kind.features(one, settings, progress, hub.features(project))
    done = read_labels(hub, project, labeling, progress).manifest.items if sample else ()
    labeled = {one.content for one in done}
    waiting = [one for one in reader.read(sample, progress) if one.content not in labeled]
    if not waiting:
        return {}
    some = heapq.nsmallest(SAMPLE, done, key=lambda one: _rank(one.task))
    # A file that several tasks show is one item: it is labeled once.
    asked = list({one.content: one for one in (*waiting, *some)}.values())
    found, features = kind.features(asked, settings, progress, hub.features(project))

    from labelloop.train.first_labels import first_labels

    held_out = [is_held_out(one.content) for one in found]
    known = [at for at, one in enumerate(found) if one.content in labeled]
    order = [found[at] for at in first_labels(features, held_out, len(found), settings.seed, known)]
    return {
        one.task: round((at + order_score(one.content, FIRST_LABELS, ())) / len(order), 6)
        for at, one in enumerate(order)
    }


def _rank(task: int) -> bytes:
    return hashlib.sha256(f"labelloop first labels 1\n{task}".encode()).digest()


class _Reader:
    """Brings the inputs of tasks onto this machine, and notes whose they are: nobody reads them again.

    What files show is noted in ``contents``, too, where features are taken of all tasks (loop/early_features.py).
    """

    def __init__(
        self,
        hub: Hub,
        project: ProjectKey,
        labeling: Labeling,
        interface: Interface,
        contents: TaskContents | None,
    ) -> None:
        self._project, self._interface, self._contents = project, interface, contents
        self._cache, self._check = cached_pictures(hub), fetcher_of(hub, project, labeling).check

    def read(self, tasks: Sequence[Json], progress: Progress) -> list[Item]:
        """Read them, several at a time; what cannot be read is left out."""
        items: list[Item] = []
        with ThreadPoolExecutor(READERS, thread_name_prefix="first") as readers:
            for done, item in enumerate(readers.map(self._item, tasks), 1):
                items += [item] if item else []
                progress("tasks to compare", done, len(tasks))
        self._note({int(task["id"]): self._interface.shows(task) for task in tasks}, items)
        return items

    def _item(self, task: Json) -> Item | None:
        address = self._interface.shows(task)
        if address and (known := self._cache.find(self._project, noted(address))) is not None:
            return Item(task["id"], known, ())
        try:
            given = self._interface.input_of(task, time.monotonic() + _SECONDS, referable=False)
            if given.text is not None:
                return Item.of_text(task["id"], given.text, ())
            self._check(given.content)
        except MediaError as error:
            _log.info("task %d is not compared: %s", task["id"], error)
            return None
        content = self._cache.add(given.content)
        if address:
            self._cache.remember(self._project, noted(address), content)
        return Item(task["id"], content, ())

    def _note(self, addresses: Mapping[int, str], items: Sequence[Item]) -> None:
        if self._contents is None:
            return
        shown = [(item.task, addresses[item.task]) for item in items]
        known = self._contents.find(shown)
        new = [at for at, item in enumerate(items) if known[at] != item.content]
        self._contents.note([shown[at] for at in new], [items[at].content for at in new])
