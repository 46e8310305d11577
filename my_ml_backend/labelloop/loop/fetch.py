"""From Label Studio's annotations to a manifest: the truth, read whole, with every picture on this machine."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from labelloop.data.cache import PictureCache
from labelloop.data.manifest import Manifest
from labelloop.errors import MediaError
from labelloop.loop.hub import Hub
from labelloop.pictures import decode
from labelloop.studio.client import ProjectInfo
from labelloop.studio.control import Control, parse_control, picture_url
from labelloop.studio.media import shown
from labelloop.studio.truth import labels_of
from labelloop.types import Item, Json, LeftOut, Progress, ProjectKey

_log = logging.getLogger(__name__)

_THREADS = 8
_AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class Fetched:
    """A project as it was when its annotations were read; ``info`` is from just before, so that nothing is missed."""

    info: ProjectInfo
    control: Control
    manifest: Manifest


def fetch_manifest(hub: Hub, project: ProjectKey, cache: PictureCache, report: Progress) -> Fetched:
    """Read all labeled tasks and their pictures; what cannot be used is listed in the manifest with its reason.

    Raises StudioError, LabelConfigError.
    """
    info = hub.studio.project(project.id)
    control = parse_control(info.label_config)
    items: list[Item] = []
    left_out: list[LeftOut] = []
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch") as pool:
        for tasks in _chunks(hub.studio.labeled_tasks(project.id)):
            for found in pool.map(lambda task: _read(hub, project, control, cache, task), tasks):
                (items if isinstance(found, Item) else left_out).append(found)  # type: ignore[arg-type]
            report("pictures", len(items) + len(left_out), info.labeled_tasks)
    classes = tuple(label.name for label in control.labels)
    return Fetched(info, control, Manifest.of(project, control.kind, classes, items, left_out))


def _read(hub: Hub, project: ProjectKey, control: Control, cache: PictureCache, task: Json) -> Item | LeftOut:
    task_id = int(task["id"])
    truth = labels_of(control, task.get("annotations") or [])
    if truth.reason:
        return LeftOut(task_id, truth.reason)
    url = picture_url(control, task)
    if url is None:
        return LeftOut(task_id, f"no {control.data_key!r} in its data")
    try:
        return Item(task_id, _picture(hub, project, cache, url, task_id), truth.labels)
    except MediaError as error:
        _log.warning("project %s: task %d is left out: %s", project, task_id, error)
        return LeftOut(task_id, f"{shown(url)}: {error}")


def _picture(hub: Hub, project: ProjectKey, cache: PictureCache, url: str, task_id: int) -> str:
    known = cache.find(project, url)
    if known is not None:
        return known
    content = hub.media.read(url, task_id)
    decode(content)
    picture = cache.add(content)
    cache.remember(project, url, picture)
    return picture


def _chunks(tasks: Iterator[Json]) -> Iterator[list[Json]]:
    while chunk := list(islice(tasks, _AT_ONCE)):
        yield chunk
