"""From Label Studio's annotations to a manifest: the truth, read whole, with every picture on this machine."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from labelloop.chunks import chunks
from labelloop.data.cache import PictureCache
from labelloop.data.manifest import Manifest
from labelloop.errors import MediaError, Unreadable
from labelloop.loop.hub import Hub
from labelloop.pictures import decode
from labelloop.studio.client import ProjectInfo
from labelloop.studio.control import Control, parse_control, picture_url
from labelloop.studio.media import shown
from labelloop.studio.truth import labels_of
from labelloop.types import Item, Json, LeftOut, Progress, ProjectKey, TaskKey

_THREADS = 8
_AT_ONCE = 128

_FEW, _SHARE = 5, 0.1
"""Pictures that may be missing, and the share of those at hand, before a run waits for better times."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A project as it was when its annotations were read; ``info`` is from just before, so that nothing is missed."""

    info: ProjectInfo
    control: Control
    manifest: Manifest


class Unfetched(LeftOut):
    """A task whose picture could not be fetched this time."""


def fetch_manifest(hub: Hub, project: ProjectKey, cache: PictureCache, report: Progress) -> Fetched:
    """Read all labeled tasks and their pictures; what cannot be used is listed in the manifest with its reason.

    Raises StudioError, LabelConfigError, and MediaError when so many pictures could not be fetched that the place they
    come from must be out of order: a manifest without them would pass for the truth.
    """
    info = hub.studio.project(project.id)
    control = parse_control(info.label_config)
    items: list[Item] = []
    left_out: list[LeftOut] = []
    unfetched: list[LeftOut] = []
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch") as pool:
        for tasks in chunks(hub.studio.labeled_tasks(project.id), _AT_ONCE):
            for found in pool.map(lambda task: _read(hub, project, control, cache, task), tasks):
                if isinstance(found, Item):
                    items.append(found)
                else:
                    (unfetched if isinstance(found, Unfetched) else left_out).append(found)
            report("pictures", len(items) + len(left_out) + len(unfetched), info.labeled_tasks)
    if len(unfetched) > max(_FEW, _SHARE * len(items)):
        raise MediaError(
            f"{len(unfetched)} of the project's pictures could not be fetched, the first because: {unfetched[0].reason}"
        )
    classes = tuple(label.name for label in control.labels)
    return Fetched(info, control, Manifest.of(project, control.kind, classes, items, [*left_out, *unfetched]))


def _read(hub: Hub, project: ProjectKey, control: Control, cache: PictureCache, task: Json) -> Item | LeftOut:
    task_id = int(task["id"])
    truth = labels_of(control, task.get("annotations") or [])
    if truth.reason:
        return LeftOut(task_id, truth.reason)
    url = picture_url(control, task)
    if url is None:
        return LeftOut(task_id, f"no {control.data_key!r} in its data")
    picture = cache.find(project, url)
    try:
        picture = picture or _fetch_picture(hub, project, cache, url, task_id)
    except Unreadable as error:
        return LeftOut(task_id, f"{shown(url)}: {error}")
    except MediaError as error:
        return Unfetched(task_id, str(error))
    return Item(task_id, picture, truth.labels)


def _fetch_picture(hub: Hub, project: ProjectKey, cache: PictureCache, url: str, task_id: int) -> str:
    content = hub.media.read(url, TaskKey(project.id, task_id))
    decode(content)
    picture = cache.add(content)
    cache.remember(project, url, picture)
    return picture
