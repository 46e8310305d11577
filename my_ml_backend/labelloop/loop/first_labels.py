"""Which tasks to label before a project's first version: typical and different ones, and held-out ones at random.

No version orders them yet. The features are of the network's first weights, which nobody's label has touched.
"""

import hashlib
import heapq
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from labelloop.data.picture_cache import PictureCache
from labelloop.data.site import Interface, Site
from labelloop.errors import MediaError, SettingsError
from labelloop.kinds.base import find
from labelloop.loop.attempts import project_settings
from labelloop.loop.hub import Hub
from labelloop.loop.order import is_held_out
from labelloop.loop.project_endpoint import require_learning
from labelloop.loop.project_labels import labeling_of, read_labels
from labelloop.loop.project_registry import site_of
from labelloop.sources.reader import READERS
from labelloop.types import NO_VERSION, Item, Json, Progress, ProjectKey

_log = logging.getLogger(__name__)

SAMPLE = 1000
"""Waiting tasks that are looked at, chosen by chance; their pictures are kept for the first run. As many labeled ones
at most are compared with them: of all pairs something is held in memory."""

_SECONDS = 60.0
"""To read the file of one task in."""


@dataclass(frozen=True, slots=True)
class FirstTasks:
    """``tasks`` to label first, of ``compared`` ones that wait; ``held_out`` of them were chosen by chance.

    ``labeled`` are there already; what is like them comes late. ``left_out`` are those looked at that cannot be read,
    or show what another one does.
    """

    tasks: tuple[int, ...]
    compared: int
    held_out: int
    labeled: int
    left_out: int


def first_tasks(hub: Hub, project: ProjectKey, count: int, progress: Progress) -> FirstTasks:
    """Choose at most ``count`` tasks; the same tasks and labels give the same ones.

    Raises SettingsError where there is a version already, which orders tasks by itself, TrainingError where the kind or
    the settings have no features, LabelConfigError where nothing can be learned; StudioError, MediaError, StoreError.
    Raises ImportError without torch.
    """
    require_learning(hub, project)
    if champion := hub.pointer(project).read().champion:
        raise SettingsError(f"project {project.id} has {champion}, by whose scores Label Studio orders its tasks")
    labeling, site = labeling_of(hub, project), site_of(hub, project.id)
    done = read_labels(hub, project, labeling, progress).manifest.items
    labeled = {one.content for one in done}
    sample = _sample(site)
    waiting = [one for one in _read(hub, site.interface(trained=True), sample, progress) if one.content not in labeled]
    some = heapq.nsmallest(SAMPLE, done, key=lambda one: _rank(one.task))
    # A file that several tasks show is one item: it is labeled once.
    items = {one.content: one for one in (*waiting, *some)}
    settings = project_settings(hub, project)
    found, features = find(labeling.kind).features(list(items.values()), settings, progress)

    from labelloop.train.first_labels import first_labels

    held_out = [is_held_out(one.content) for one in found]
    known = [at for at, one in enumerate(found) if one.content in labeled]
    chosen = first_labels(features, held_out, count, settings.seed, known)
    compared = len(found) - len(known)
    at_random = sum(held_out[at] for at in chosen)
    tasks = tuple(found[at].task for at in chosen)
    return FirstTasks(tasks, compared, at_random, len(labeled), len(sample) - compared)


def _sample(site: Site) -> list[Json]:
    """Choose waiting tasks by chance; more of them than these are never held."""
    return heapq.nsmallest(SAMPLE, site.waiting(NO_VERSION), key=lambda task: _rank(task["id"]))


def _rank(task: int) -> bytes:
    return hashlib.sha256(f"labelloop first labels 1\n{task}".encode()).digest()


def _read(hub: Hub, interface: Interface, tasks: Sequence[Json], progress: Progress) -> list[Item]:
    """Bring the inputs of tasks onto this machine, several at a time; what cannot be read is left out."""
    cache = PictureCache(hub.settings.directory / "cache" / "pictures")

    def read(task: Json) -> Item | None:
        try:
            given = interface.input_of(task, time.monotonic() + _SECONDS, referable=False)
        except MediaError as error:
            _log.info("task %d is not compared: %s", task["id"], error)
            return None
        if given.text is not None:
            return Item.of_text(task["id"], given.text, ())
        return Item(task["id"], cache.add(given.content), ())

    items: list[Item] = []
    with ThreadPoolExecutor(READERS, thread_name_prefix="first") as readers:
        for done, item in enumerate(readers.map(read, tasks), 1):
            items += [item] if item else []
            progress("pictures", done, len(tasks))
    return items
